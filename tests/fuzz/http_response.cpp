#include <cstdlib>
#include <optional>
#include <string>

#include "runtime/http_response_reader.hpp"

namespace {

using namespace sluice;

constexpr size_t header_max = 4096;

void check(bool ok) {
  if (!ok) std::abort();
}

struct outcome {
  bool refused = false, done = false, ends_by_close = false;
  int status = 0;
  std::string body;
};

outcome read(base::bytes_view bytes, bool head_request, size_t piece) {
  runtime::http_response_reader reader(head_request, header_max);
  outcome o;
  for (size_t at = 0; at < bytes.size() && !reader.done(); at += piece) {
    const auto ok = reader.feed(bytes.subspan(at, std::min(piece, bytes.size() - at)), [&](base::bytes_view b) {
      check(reader.head() && !b.empty());
      o.body += base::as_text(b);
    });
    if (!ok) {
      o.refused = true;
      return o;
    }
  }
  check(o.body.size() <= bytes.size());
  if (const auto* head = reader.head()) {
    o.status = head->status;
    check(head->status >= 200 && head->status < 1000);
    for (const auto& [name, value] : head->headers) check(!name.empty() && value.find('\n') == std::string::npos);
    o.done = reader.done();
    o.ends_by_close = reader.finish();
    check(!o.done || o.ends_by_close);
  }
  return o;
}

}  // namespace

// The first byte says whether the request was HEAD; the rest is the response: whole, and byte by byte.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const base::bytes_view bytes(data + 1, size - 1);
  const bool head_request = data[0] & 1;
  const auto whole = read(bytes, head_request, SIZE_MAX / 2), dripped = read(bytes, head_request, 1);
  // How early an error or a limit is met depends on how the bytes are divided; but nobody is content with what another
  // refuses.
  if (whole.refused || dripped.refused) {
    check((!whole.done && !dripped.done) || size > header_max / 2);
    return 0;
  }
  check(whole.status == dripped.status && whole.done == dripped.done && whole.ends_by_close == dripped.ends_by_close);
  check(whole.body == dripped.body);
  return 0;
}
