#pragma once

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "media/hub.hpp"
#include "media/reader.hpp"
#include "proto/amf0/value.hpp"
#include "proto/rtmp/chunk_reader.hpp"
#include "proto/rtmp/chunk_writer.hpp"

/// Messages of a stream, made up, and a player that takes a hub's bytes apart again.
namespace sluice::media::test {

using bytes = std::vector<uint8_t>;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// What is compared of a message: all that a player sees of it.
struct packet {
  uint8_t type = 0;
  uint32_t timestamp = 0;
  bytes body;
  bool operator==(const packet&) const = default;
};

inline void PrintTo(const packet& p, std::ostream* out) {
  *out << "type " << int{p.type} << " at " << p.timestamp << ", " << p.body.size() << " bytes";
  for (size_t i = 0; i < std::min<size_t>(p.body.size(), 9); ++i) *out << (i ? " " : ": ") << int{p.body[i]};
}

inline packet packet_of(const rtmp::message& m) {
  const auto v = m.payload.view();
  return {m.type, m.timestamp, {v.begin(), v.end()}};
}

inline rtmp::message message_of(const packet& p) {
  return {p.timestamp, p.type, 1, 4, base::slice::copy_of(p.body, rtmp::message_headroom)};
}

/// `head`, then `serial` in four bytes, then filler up to `size`.
inline bytes numbered(bytes head, uint32_t serial, size_t size) {
  base::byte_writer(head).u32(serial);
  while (head.size() < size) head.push_back(static_cast<uint8_t>(head.size() * 7 + serial));
  return head;
}

inline packet key(uint32_t timestamp, uint32_t serial = 0, size_t size = 200) {
  return {rtmp::video, timestamp, numbered({0x17, 1, 0, 0, 0}, serial, size)};
}
inline packet inter(uint32_t timestamp, uint32_t serial = 0, size_t size = 50) {
  return {rtmp::video, timestamp, numbered({0x27, 1, 0, 0, 0}, serial, size)};
}
inline packet sound(uint32_t timestamp, uint32_t serial = 0, size_t size = 20) {
  return {rtmp::audio, timestamp, numbered({0xAF, 1}, serial, size)};
}
inline packet video_header(uint32_t serial = 0) { return {rtmp::video, 0, numbered({0x17, 0, 0, 0, 0}, serial, 20)}; }
inline packet audio_header(uint32_t serial = 0) { return {rtmp::audio, 0, numbered({0xAF, 0}, serial, 8)}; }

inline packet script(const std::vector<amf0::value>& values) {
  packet p{rtmp::data_amf0, 0, {}};
  amf0::encode_all(values, p.body);
  return p;
}
inline amf0::value properties(int serial) {
  return amf0::value(amf0::value::storage(amf0::ecma_array{{{"width", 640}, {"serial", serial}}}));
}
inline packet metadata(int serial = 0) { return script({"onMetaData", properties(serial)}); }
inline packet set_data_frame(int serial = 0) { return script({"@setDataFrame", "onMetaData", properties(serial)}); }

inline packet at(packet p, uint32_t timestamp) {
  p.timestamp = timestamp;
  return p;
}

using all = std::vector<packet>;

inline const all headers = {metadata(), video_header(), audio_header()};

inline all restamped(all packets, uint32_t timestamp) {
  for (auto& p : packets) p.timestamp = timestamp;
  return packets;
}

/// Counts what a hub asks for; the test calls flush().
struct manual_driver final : hub_driver {
  int asked = 0;
  void on_frames_pending(hub&) override { ++asked; }
};

/// A player without a socket: whatever bytes it takes of its reader are put together to messages at once.
class player final : public reader_owner, rtmp::message_sink {
 public:
  explicit player(hub& h, reader_start start = reader_start::keyframe) : reader_(h, *this, start) {
    // The wire forms of a hub have their chunk size agreed by the connection that carries them.
    bytes hello;
    bytes payload;
    base::byte_writer(payload).u32(wire_chunk_size);
    rtmp::write_message(hello, rtmp::set_chunk_size, 2, 0, 0, payload, rtmp::default_chunk_size);
    EXPECT_TRUE(chunks_.receive(hello, *this));
  }

  void on_frames() override {
    ++shown;
    if (takes_all) take();
  }

  /// Sends at most `limit` bytes, control first where it may stand, as a connection does; returns the bytes sent.
  size_t take(size_t limit = SIZE_MAX, size_t parts_max = 256) {
    size_t all = 0;
    std::vector<iovec> parts(parts_max);
    for (;;) {
      const bool boundary = reader_.at_boundary();
      reader_.prepare(control_);
      const size_t from_control = boundary ? std::min(control_.size(), limit - all) : 0;
      receive(control_.pending().first(from_control));
      control_.consume(from_control);
      all += from_control;
      if (boundary && !control_.empty()) return all;
      size_t offered = 0;
      const size_t count = reader_.gather(parts, &offered, !boundary && !control_.empty());
      const size_t now = std::min(offered, limit - all);
      size_t left = now, seen = 0;
      for (size_t i = 0; i < count; ++i) {
        seen += parts[i].iov_len;
        const size_t n = std::min(left, parts[i].iov_len);
        receive({static_cast<const uint8_t*>(parts[i].iov_base), n});
        left -= n;
      }
      EXPECT_EQ(seen, offered);
      if (now > 0) reader_.consume(now);
      all += now;
      if (count == 0 || all == limit) return all;
    }
  }

  /// What came since the last call.
  std::vector<packet> got() { return std::exchange(got_, {}); }
  reader& source() { return reader_; }
  bool half_sent() const { return !reader_.at_boundary(); }

  int shown = 0;
  bool takes_all = true;

 private:
  void receive(base::bytes_view in) {
    const auto ok = chunks_.receive(in, *this);
    EXPECT_TRUE(ok) << ok.error().reason;
  }
  base::result<void> on_message(rtmp::message&& m) override {
    EXPECT_EQ(m.stream_id, wire_stream_id);
    got_.push_back(packet_of(m));
    return {};
  }

  reader reader_;
  base::send_buffer control_;
  rtmp::chunk_reader chunks_{8u << 20, 64};
  std::vector<packet> got_;
};

/// A hub under a clock of the test's own.
class hub_test : public ::testing::Test {
 protected:
  hub& stream() {
    if (!hub_) {
      hub_ = std::make_unique<hub>(limits, driver);
      hub_->begin_source(now);
    }
    return *hub_;
  }
  /// Appends messages, `step` apart, each with its arrival; nothing is shown yet.
  void append(const std::vector<packet>& all, base::duration step = milliseconds(0)) {
    for (const auto& p : all) {
      stream().append(message_of(p), now);
      now += step;
    }
  }
  void send(const std::vector<packet>& all, base::duration step = milliseconds(0)) {
    append(all, step);
    stream().flush();
  }
  /// `count` frames 40 ms apart by both clocks, the first one a keyframe.
  std::vector<packet> gop(uint32_t first_timestamp, size_t count, uint32_t serial = 0) {
    std::vector<packet> all;
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t t = first_timestamp + 40 * i;
      all.push_back(i == 0 ? key(t, serial) : inter(t, serial + i));
    }
    return all;
  }

  hub_limits limits;
  manual_driver driver;
  base::time_point now = base::time_point(seconds(1000));

 private:
  std::unique_ptr<hub> hub_;
};

inline std::vector<packet> operator+(std::vector<packet> a, const std::vector<packet>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace sluice::media::test
