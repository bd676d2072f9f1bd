#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "proto/rtmp/chunk_reader.hpp"
#include "proto/rtmp/chunk_writer.hpp"
#include "proto/rtmp/commands.hpp"
#include "proto/rtmp/handshake.hpp"

namespace sluice::rtmp::test {

using bytes = std::vector<uint8_t>;

/// Keeps what a reader delivers.
struct recorder final : message_sink {
  std::vector<message> got;
  base::result<void> on_message(message&& m) override {
    got.push_back(std::move(m));
    return {};
  }
};

struct plain_message {
  uint8_t type;
  uint32_t stream_id, timestamp;
  bytes payload;
  bool operator==(const plain_message&) const = default;
};

inline plain_message plain(const message& m) {
  const auto v = m.payload.view();
  return {m.type, m.stream_id, m.timestamp, {v.begin(), v.end()}};
}
inline std::vector<plain_message> plain(const std::vector<message>& all) {
  std::vector<plain_message> out;
  for (const auto& m : all) out.push_back(plain(m));
  return out;
}

/// Calls `run` with a list of pieces that make up `all`: whole, byte by byte, and cut in two at every `stride`-th
/// place.
template <typename Run>
void for_every_cut(base::bytes_view all, Run&& run, size_t stride = 1) {
  run(std::vector<base::bytes_view>{all});
  std::vector<base::bytes_view> single;
  for (size_t i = 0; i < all.size(); ++i) single.push_back(all.subspan(i, 1));
  run(single);
  for (size_t cut = 1; cut < all.size(); cut += stride) {
    run(std::vector<base::bytes_view>{all.first(cut), all.subspan(cut)});
  }
}

inline bytes counted(size_t size, uint8_t first = 0) {
  bytes out(size);
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<uint8_t>(first + i);
  return out;
}

inline bytes& operator+=(bytes& to, const bytes& more) {
  to.insert(to.end(), more.begin(), more.end());
  return to;
}
inline bytes operator+(bytes to, const bytes& more) { return std::move(to += more); }

/// One side of a connection, spoken by hand: says a handshake and commands, and understands what comes back.
class peer {
 public:
  /// C0 C1 C2, or S0 S1 S2, of zeros: the simple form.
  static bytes handshake() {
    bytes out(1 + 2 * handshake_block_size);
    out[0] = rtmp_version;
    return out;
  }
  static bytes message(uint8_t type, uint32_t stream_id, uint32_t timestamp, const bytes& payload) {
    bytes out;
    write_message(out, type, type < 8 ? 2 : 3, stream_id, timestamp, payload, default_chunk_size);
    return out;
  }
  static bytes command(std::string_view name, double transaction, const std::vector<amf0::value>& values,
                       uint32_t stream_id = 0) {
    return message(command_amf0, stream_id, 0, encode_command(name, transaction, values));
  }
  static bytes number(uint8_t type, uint32_t value) {
    bytes payload;
    base::byte_writer(payload).u32(value);
    return message(type, 0, 0, payload);
  }
  static bytes user_control(uint16_t event, uint32_t value) {
    bytes payload;
    base::byte_writer out(payload);
    out.u16(event);
    out.u32(value);
    return message(rtmp::user_control, 0, 0, payload);
  }

  /// The messages in what the session sent since the last call; the handshake's bytes are left out.
  std::vector<rtmp::message> heard(base::send_buffer& output) {
    auto in = output.pending();
    const size_t skipped = std::min(in.size(), skip_);
    skip_ -= skipped;
    recorder sink;
    auto ok = reader_.receive(in.subspan(skipped), sink);
    EXPECT_TRUE(ok) << ok.error().reason;
    output.consume(output.size());
    return std::move(sink.got);
  }
  /// Of these the commands, as "name transaction code", where code is that of the information object, or the number
  /// there.
  std::vector<std::string> commands_heard(base::send_buffer& output) {
    std::vector<std::string> out;
    for (const auto& m : heard(output)) {
      if (m.type == command_amf0) out.push_back(describe(m));
    }
    return out;
  }
  static std::string describe(const rtmp::message& m) {
    auto c = parse_command(m);
    if (!c) return std::string(c.error().reason);
    std::string text = c->name + " " + std::to_string(static_cast<int>(c->transaction));
    if (const auto* code = c->argument(0).find("code")) text += " " + std::string(code->string_or("?"));
    if (const auto* n = std::get_if<double>(&c->argument(0).get())) text += " " + std::to_string(static_cast<int>(*n));
    if (const auto* s = std::get_if<std::string>(&c->argument(0).get())) text += " " + *s;
    return text;
  }
  uint32_t chunk_size() const { return reader_.chunk_size(); }

 private:
  size_t skip_ = 1 + 2 * handshake_block_size;
  chunk_reader reader_{8u << 20, 64};
};

}  // namespace sluice::rtmp::test
