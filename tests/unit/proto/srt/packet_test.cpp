#include "proto/srt/packet.hpp"

#include <gtest/gtest.h>

#include "base/bytes.hpp"
#include "capture.hpp"
#include "proto/srt/handshake.hpp"

namespace sluice::srt {
namespace {

std::string_view fault(control_type type, std::vector<uint32_t> words, uint32_t sent = 1000, uint32_t own = 2000,
                       uint16_t subtype = 0, size_t cut = 0) {
  static std::vector<uint8_t> body;
  body.clear();
  base::byte_writer w(body);
  for (uint32_t v : words) w.u32(v);
  packet p;
  p.control = true;
  p.type = type;
  p.subtype = subtype;
  p.body = base::bytes_view(body).first(body.size() - cut);
  return fault_of(p, sent, own);
}

TEST(srt_packet, reads_headers) {
  const auto d = test::hex("574695ca c0000001 00042aad 22b3e0f9 ae56");
  const auto p = parse_packet(d);
  ASSERT_TRUE(p);
  EXPECT_FALSE(p->control);
  EXPECT_EQ(p->sequence, 0x574695cau);
  EXPECT_EQ(p->second_word, 0xc0000001u);
  EXPECT_EQ(p->timestamp, 0x42aadu);
  EXPECT_EQ(p->destination, 0x22b3e0f9u);
  EXPECT_EQ(p->body.size(), 2u);
  for (size_t size = 0; size < header_bytes; ++size) EXPECT_FALSE(parse_packet(base::bytes_view(d).first(size)));
}

TEST(srt_packet, a_shutdown_is_that_of_libsrt) {
  const capture c("encrypted.txt");
  const auto& theirs = c.lines.back().bytes;
  const auto p = parse_packet(theirs);
  ASSERT_EQ(p->type, control_type::shutdown);
  const auto ours = plain_control(control_type::shutdown, p->destination, p->timestamp);
  EXPECT_EQ(std::vector<uint8_t>(ours.begin(), ours.end()), theirs);
}

TEST(srt_packet, nothing_real_is_at_fault) {
  for (const char* name : {"plain.txt", "encrypted.txt"}) {
    const capture c(name);
    uint32_t sent = 0;
    for (const auto& line : c.lines) {
      const auto p = parse_packet(line.bytes);
      if (!p->control) sent = p->sequence;
      // The media are cut short in the files: the caller has sent a few more.
      if (p->control && !line.from_caller) EXPECT_EQ(fault_of(*p, sent + 100, 0), "");
      if (p->control && line.from_caller) EXPECT_EQ(fault_of(*p, 0, sent), "");
    }
  }
}

TEST(srt_packet, forged_acknowledgements) {
  using enum control_type;
  EXPECT_EQ(fault(ack, {1001}), "");
  EXPECT_EQ(fault(ack, {900}), "");
  EXPECT_EQ(fault(ack, {1002}), "bad_sequence");
  EXPECT_EQ(fault(ack, {0x8000'0001}), "bad_sequence");
  EXPECT_EQ(fault(ack, {1001, 1, 2, 3, 4, 5, 6}), "");
  EXPECT_EQ(fault(ack, {}), "bad_length");
  EXPECT_EQ(fault(ack, {1001, 1}, 1000, 0, 0, 1), "bad_length");
  EXPECT_EQ(fault(ack, std::vector<uint32_t>(17, 1)), "bad_length");
  // Over the end of the circle.
  EXPECT_EQ(fault(ack, {0}, 0x7fff'ffff), "");
  EXPECT_EQ(fault(ack, {1}, 0x7fff'ffff), "bad_sequence");
}

TEST(srt_packet, forged_loss_reports) {
  using enum control_type;
  EXPECT_EQ(fault(nak, {1000}), "");
  EXPECT_EQ(fault(nak, {1001}), "bad_sequence");
  EXPECT_EQ(fault(nak, {0x8000'0000 | 10, 20, 30, 0x8000'0000 | 40, 50}), "");
  EXPECT_EQ(fault(nak, {0x8000'0000 | 20, 10}), "bad_sequence");
  EXPECT_EQ(fault(nak, {0x8000'0000 | 10}), "bad_length");
  EXPECT_EQ(fault(nak, {0x8000'0000 | 10, 0x8000'0000 | 20}), "bad_sequence");
  EXPECT_EQ(fault(nak, {0x8000'0000 | 10, 2000}), "bad_sequence");
  EXPECT_EQ(fault(nak, {}), "bad_length");
}

TEST(srt_packet, reversed_drop_requests) {
  using enum control_type;
  EXPECT_EQ(fault(drop_request, {1990, 2000}), "");
  EXPECT_EQ(fault(drop_request, {2000, 2000}), "");
  EXPECT_EQ(fault(drop_request, {2000, 1990}), "bad_sequence");
  EXPECT_EQ(fault(drop_request, {2000, 2100}), "");
  EXPECT_EQ(fault(drop_request, {2000, 2001 + drop_ahead_max}), "bad_sequence");
  EXPECT_EQ(fault(drop_request, {0x8000'0000 | 1990, 2000}), "bad_sequence");
  EXPECT_EQ(fault(drop_request, {2000}), "bad_length");
}

TEST(srt_packet, unknown_and_oversized_control) {
  using enum control_type;
  EXPECT_EQ(fault(user_defined, std::vector<uint32_t>(26, 0), 0, 0, 3), "");
  EXPECT_EQ(fault(user_defined, std::vector<uint32_t>(27, 0), 0, 0, 3), "bad_length");
  EXPECT_EQ(fault(user_defined, {}, 0, 0, 4), "bad_length");
  EXPECT_EQ(fault(user_defined, {1, 2, 3}, 0, 0, 1), "unknown_type");
  EXPECT_EQ(fault(static_cast<control_type>(9), {}), "unknown_type");
  EXPECT_EQ(fault(keepalive, {0}), "");
}

}  // namespace
}  // namespace sluice::srt
