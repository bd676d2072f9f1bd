#include <algorithm>
#include <cstdlib>

#include "proto/rtmp/handshake.hpp"

namespace {

using namespace sluice;

struct run {
  bool failed = false, done = false;
  size_t taken = 0;
  std::vector<uint8_t> said;
  bool operator==(const run&) const = default;
};

void feed(rtmp::handshake& h, base::bytes_view in, run& r) {
  if (r.failed || h.done()) return;
  const auto used = h.receive(in, r.said);
  if (!used) {
    r.failed = true;
    return;
  }
  r.taken += *used;
  if (*used > in.size() || (*used < in.size() && !h.done())) std::abort();
}

template <typename Make>
void compare(Make&& make, base::bytes_view in, size_t cut) {
  auto first = make();
  auto second = make();
  run whole, parts;
  feed(first, in, whole);
  feed(second, in.first(cut), parts);
  feed(second, in.subspan(cut), parts);
  whole.done = first.done();
  parts.done = second.done();
  if (whole != parts) std::abort();
  if (whole.said.size() > 1 + 2 * rtmp::handshake_block_size) std::abort();
}

}  // namespace

// Two bytes say where the input is cut; what a side takes and answers must not depend on it.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const base::bytes_view in(data + 2, size - 2);
  const size_t cut = std::min<size_t>(in.size(), data[0] * 256u + data[1]);
  using rtmp::handshake_form;
  compare([] { return rtmp::server_handshake(1); }, in, cut);
  compare([] { return rtmp::client_handshake(handshake_form::simple, 1); }, in, cut);
  compare([] { return rtmp::client_handshake(handshake_form::digest, 1); }, in, cut);
  return 0;
}
