#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "proto/rtmp/chunk_reader.hpp"
#include "proto/rtmp/wire.hpp"

namespace {

using namespace sluice;

constexpr uint32_t message_max = 256 * 1024;

struct run final : rtmp::message_sink {
  rtmp::chunk_reader reader{message_max, 8};
  std::vector<rtmp::message> got;
  std::string_view reason;

  base::result<void> on_message(rtmp::message&& m) override {
    if (m.payload.headroom() != rtmp::message_headroom || !m.payload.block().unique()) std::abort();
    got.push_back(std::move(m));
    return {};
  }
  void feed(base::bytes_view in) {
    if (!reason.empty()) return;
    if (auto ok = reader.receive(in, *this); !ok) reason = ok.error().reason;
    if (reader.buffered_bytes() > message_max + (1u << 20)) std::abort();
  }
};

bool same(const rtmp::message& a, const rtmp::message& b) {
  const auto x = a.payload.view(), y = b.payload.view();
  return a.timestamp == b.timestamp && a.type == b.type && a.stream_id == b.stream_id &&
         a.chunk_stream_id == b.chunk_stream_id && std::equal(x.begin(), x.end(), y.begin(), y.end());
}

bool same(const run& a, const run& b) {
  return a.reason == b.reason && std::equal(a.got.begin(), a.got.end(), b.got.begin(), b.got.end(),
                                            [](const auto& x, const auto& y) { return same(x, y); });
}

/// What was read is written, shared form included, and read again.
void write_again(const std::vector<rtmp::message>& messages) {
  std::vector<uint8_t> out;
  for (const auto& m : messages) {
    if (m.chunk_stream_id >= 320) {
      rtmp::write_message(out, m.type, m.chunk_stream_id, m.stream_id, m.timestamp, m.payload.view(), 128);
      continue;
    }
    const auto wire = rtmp::wire_message::serialise(base::slice::copy_of(m.payload.view(), rtmp::message_headroom),
                                                    m.type, m.timestamp, m.chunk_stream_id, m.stream_id, 128);
    for (size_t offset = 0; offset < wire.size();) {
      iovec parts[3];
      size_t taken = 0;
      const size_t count = wire.gather(offset, parts, 0, &taken);
      for (size_t i = 0; i < count; ++i) {
        const auto* from = static_cast<const uint8_t*>(parts[i].iov_base);
        out.insert(out.end(), from, from + parts[i].iov_len);
      }
      offset += taken;
    }
  }
  run again;
  again.feed(out);
  if (!again.reason.empty() || again.got.size() != messages.size()) std::abort();
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!same(messages[i], again.got[i])) std::abort();
  }
}

}  // namespace

// The first byte says how the input is cut; what is read must not depend on it, nor what is refused.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const base::bytes_view in(data + 1, size - 1);
  run whole, parts;
  whole.feed(in);
  const size_t step = 1 + data[0];
  for (size_t at = 0; at < in.size(); at += step) parts.feed(in.subspan(at, std::min(step, in.size() - at)));
  if (!same(whole, parts)) std::abort();
  write_again(whole.got);
  return 0;
}
