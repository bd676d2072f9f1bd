#include "proto/rtmp/chunk_reader.hpp"

#include <random>

#include "golden/golden.hpp"
#include "unit/proto/rtmp/support.hpp"

namespace sluice::rtmp::test {
namespace {

using sluice::test::hex;

constexpr uint32_t message_max = 8u << 20;

struct reading {
  std::string error;  // empty: none
  std::vector<plain_message> got;
};

reading read(const std::vector<base::bytes_view>& pieces, uint32_t bytes_max = message_max, uint32_t streams_max = 64) {
  chunk_reader reader(bytes_max, streams_max);
  recorder sink;
  reading out;
  for (auto piece : pieces) {
    // A copy of the exact size: a read beyond it is seen by the address sanitizer.
    const bytes copy(piece.begin(), piece.end());
    if (auto ok = reader.receive(copy, sink); !ok) {
      out.error = ok.error().reason;
      break;
    }
  }
  for (const auto& m : sink.got) {
    EXPECT_EQ(m.payload.headroom(), message_headroom);
    EXPECT_TRUE(m.payload.block().unique());
  }
  out.got = plain(sink.got);
  return out;
}

void expect_messages(const bytes& stream, const std::vector<plain_message>& expected) {
  for_every_cut(stream, [&](const auto& pieces) {
    const auto r = read(pieces);
    ASSERT_EQ(r.error, "");
    ASSERT_EQ(r.got, expected) << pieces.size() << " pieces, the first of " << pieces[0].size();
  });
}

void expect_error(const bytes& stream, const std::string& reason, uint32_t bytes_max = message_max,
                  uint32_t streams_max = 64) {
  for_every_cut(stream, [&](const auto& pieces) { ASSERT_EQ(read(pieces, bytes_max, streams_max).error, reason); });
}

// RTMP 1.0 §5.3.2.1: four audio messages of 32 bytes, with headers of types 0, 2, 3 and 3.
TEST(chunk_reader, reads_the_first_example_of_the_specification) {
  const auto a = counted(32, 1), b = counted(32, 40), c = counted(32, 80), d = counted(32, 120);
  expect_messages(hex("03 0003e8 000020 08 39300000") + a + hex("83 000014") + b + hex("c3") + c + hex("c3") + d,
                  {{8, 12345, 1000, a}, {8, 12345, 1020, b}, {8, 12345, 1040, c}, {8, 12345, 1060, d}});
}

// §5.3.2.2: a video message of 307 bytes in three chunks.
TEST(chunk_reader, reads_the_second_example_of_the_specification) {
  const auto v = counted(307);
  const bytes first(v.begin(), v.begin() + 128), second(v.begin() + 128, v.begin() + 256),
      third(v.begin() + 256, v.end());
  expect_messages(hex("04 0003e8 000133 09 3a300000") + first + hex("c4") + second + hex("c4") + third,
                  {{9, 12346, 1000, v}});
}

TEST(chunk_reader, knows_all_forms_of_the_basic_header) {
  expect_messages(hex("3f 000001 000001 08 01000000 aa"       // 63
                      "00 00 000002 000001 08 01000000 bb"    // 64
                      "00 ff 000003 000001 08 01000000 cc"    // 319
                      "01 ffff 000004 000001 08 01000000 dd"  // 65599
                      "01 0000 000005 000001 08 01000000 ee"  // 64 again, in the long form
                      "c0 00 ff"),
                  {{8, 1, 1, {0xaa}},
                   {8, 1, 2, {0xbb}},
                   {8, 1, 3, {0xcc}},
                   {8, 1, 4, {0xdd}},
                   {8, 1, 5, {0xee}},
                   {8, 1, 10, {0xff}}});
}

TEST(chunk_reader, a_type_3_message_adds_the_timestamp_of_the_type_0_before_it) {
  expect_messages(hex("04 000017 000001 08 01000000 aa  c4 bb  c4 cc"),
                  {{8, 1, 23, {0xaa}}, {8, 1, 46, {0xbb}}, {8, 1, 69, {0xcc}}});
}

TEST(chunk_reader, type_1_changes_length_and_type_and_keeps_the_stream) {
  expect_messages(hex("04 000005 000001 08 07000000 aa  44 000003 000002 09 bbbb  84 000001 cccc"),
                  {{8, 7, 5, {0xaa}}, {9, 7, 8, {0xbb, 0xbb}}, {9, 7, 9, {0xcc, 0xcc}}});
}

TEST(chunk_reader, interleaves_chunk_streams) {
  const auto v = counted(200), a = counted(130, 9);
  const bytes v1(v.begin(), v.begin() + 128), v2(v.begin() + 128, v.end());
  const bytes a1(a.begin(), a.begin() + 128), a2(a.begin() + 128, a.end());
  expect_messages(hex("06 000000 0000c8 09 01000000") + v1 + hex("04 000001 000082 08 01000000") + a1 + hex("c6") + v2 +
                      hex("c4") + a2,
                  {{9, 1, 0, v}, {8, 1, 1, a}});
}

TEST(chunk_reader, empty_messages_are_messages) {
  expect_messages(hex("04 000005 000000 08 01000000  c4  84 000001"), {{8, 1, 5, {}}, {8, 1, 10, {}}, {8, 1, 11, {}}});
}

TEST(chunk_reader, librtmp_may_begin_a_chunk_stream_with_type_1) {
  expect_messages(hex("42 000000 000006 21 0003 00000001"), {{0x21, 0, 0, hex("000300000001")}});
}

// ---- extended timestamps: faults row 6 ----

TEST(chunk_reader, extended_timestamp_repeated_in_type_3_chunks) {
  const auto v = counted(200, 0x30);
  const bytes v1(v.begin(), v.begin() + 128), v2(v.begin() + 128, v.end());
  expect_messages(hex("06 ffffff 0000c8 09 01000000 01000000") + v1 + hex("c6 01000000") + v2, {{9, 1, 0x01000000, v}});
}

TEST(chunk_reader, extended_timestamp_left_out_of_type_3_chunks) {
  auto v = counted(300, 0x30);
  // The payload where the timestamp would be begins like it: told apart by the first byte that differs.
  v[128] = 0x01, v[129] = 0x00, v[130] = 0x00, v[131] = 0x77;
  // From then on it is known to be absent, so even its exact bytes are payload.
  v[256] = 0x01, v[257] = 0x00, v[258] = 0x00, v[259] = 0x00;
  const bytes v1(v.begin(), v.begin() + 128), v2(v.begin() + 128, v.begin() + 256), v3(v.begin() + 256, v.end());
  expect_messages(hex("06 ffffff 00012c 09 01000000 01000000") + v1 + hex("c6") + v2 + hex("c6") + v3 +
                      hex("46 000001 000001 09 aa"),
                  {{9, 1, 0x01000000, v}, {9, 1, 0x01000001, {0xaa}}});
}

TEST(chunk_reader, extended_timestamp_left_out_before_a_short_last_chunk) {
  auto v = counted(130);
  v[128] = 0x01, v[129] = 0x00;  // all there is of the last chunk looks like the timestamp's beginning
  const bytes v1(v.begin(), v.begin() + 128), v2(v.begin() + 128, v.end());
  expect_messages(hex("06 ffffff 000082 09 01000000 01000000") + v1 + hex("c6") + v2 + hex("46 000001 000001 09 aa"),
                  {{9, 1, 0x01000000, v}, {9, 1, 0x01000001, {0xaa}}});
}

TEST(chunk_reader, extended_step_repeated_as_step_or_as_timestamp) {
  const auto v = counted(200, 0x30);
  const bytes v1(v.begin(), v.begin() + 128), v2(v.begin() + 128, v.end());
  const auto lead = hex("06 000010 000001 09 01000000 aa  46 ffffff 0000c8 09 02000000");
  expect_messages(lead + v1 + hex("c6 02000000") + v2, {{9, 1, 16, {0xaa}}, {9, 1, 0x02000010, v}});
  expect_messages(lead + v1 + hex("c6 02000010") + v2, {{9, 1, 16, {0xaa}}, {9, 1, 0x02000010, v}});
}

TEST(chunk_reader, type_3_message_behind_an_extended_timestamp_repeats_the_time) {
  expect_messages(hex("06 ffffff 000001 09 01000000 10000000 aa  c6 10000000 bb"),
                  {{9, 1, 0x10000000, {0xaa}}, {9, 1, 0x10000000, {0xbb}}});
  expect_messages(hex("06 ffffff 000001 09 01000000 10000000 aa  c6 bb  86 000001 cc"),
                  {{9, 1, 0x10000000, {0xaa}}, {9, 1, 0x10000000, {0xbb}}, {9, 1, 0x10000001, {0xcc}}});
}

TEST(chunk_reader, an_empty_message_whose_extended_timestamp_is_left_out) {
  // The next header looks like the beginning of the timestamp.
  expect_messages(hex("06 ffffff 000000 09 01000000 03040000  c6  03 040506 000001 08 01000000 aa"),
                  {{9, 1, 0x03040000, {}}, {9, 1, 0x03040000, {}}, {8, 1, 0x040506, {0xaa}}});
}

TEST(chunk_reader, timestamps_wrap_at_2_to_the_32) {
  expect_messages(hex("04 ffffff 000001 08 01000000 fffffff0 aa  84 000014 bb  c4 cc"),
                  {{8, 1, 0xFFFFFFF0, {0xaa}}, {8, 1, 4, {0xbb}}, {8, 1, 24, {0xcc}}});
  // librtmp writes a step backwards as a step of nearly 2^32.
  expect_messages(hex("04 000100 000001 08 01000000 aa  84 ffffff fffffff0 bb"),
                  {{8, 1, 0x100, {0xaa}}, {8, 1, 0xF0, {0xbb}}});
}

// ---- SetChunkSize and Abort: faults rows 2, 8 ----

TEST(chunk_reader, a_chunk_size_holds_at_once_even_inside_a_message) {
  const auto v = counted(200);
  const bytes v1(v.begin(), v.begin() + 128), v2(v.begin() + 128, v.begin() + 132),
      v3(v.begin() + 132, v.begin() + 136), v4(v.begin() + 136, v.end());
  expect_messages(hex("06 000000 0000c8 09 01000000") + v1 + hex("02 000000 000004 01 00000000 00000004") + hex("c6") +
                      v2 + hex("c6") + v3 + hex("02 000000 000004 01 00000000 00ffffff") + hex("c6") + v4,
                  {{9, 1, 0, v}});
}

TEST(chunk_reader, chunk_sizes_out_of_range_are_refused) {
  expect_error(hex("02 000000 000004 01 00000000 00000000"), "bad_chunk_size");
  expect_error(hex("02 000000 000004 01 00000000 80000000"), "bad_chunk_size");
  expect_error(hex("02 000000 000004 01 00000000 ffffffff"), "bad_chunk_size");
  expect_error(hex("02 000000 000003 01 00000000 000001"), "bad_control_message");
  chunk_reader reader(message_max, 64);
  recorder sink;
  ASSERT_TRUE(reader.receive(hex("02 000000 000004 01 00000000 00ffffff"), sink));
  EXPECT_EQ(reader.chunk_size(), 0xFFFFFFu);
  ASSERT_TRUE(reader.receive(hex("02 000000 000004 01 00000000 7fffffff"), sink));
  EXPECT_EQ(reader.chunk_size(), 0xFFFFFFu);
  ASSERT_TRUE(reader.receive(hex("02 000000 000004 01 00000000 00000001"), sink));
  EXPECT_EQ(reader.chunk_size(), 1u);
}

TEST(chunk_reader, abort_drops_the_rest_of_a_message) {
  const auto v = counted(200);
  const bytes v1(v.begin(), v.begin() + 128);
  expect_messages(hex("06 000005 0000c8 09 01000000") + v1 + hex("02 000000 000004 02 00000000 00000006") +
                      hex("46 000002 000001 09 aa") + hex("02 000000 000004 02 00000000 00000006") +
                      hex("02 000000 000004 02 00000000 00009999"),
                  {{9, 1, 7, {0xaa}}});
  expect_error(hex("02 000000 000003 02 00000000 000006"), "bad_control_message");
}

TEST(chunk_reader, an_aborted_message_gives_its_memory_back) {
  chunk_reader reader(message_max, 64);
  recorder sink;
  ASSERT_TRUE(reader.receive(hex("06 000005 0000c8 09 01000000 aabbcc"), sink));
  EXPECT_EQ(reader.buffered_bytes(), 200 + message_headroom);
  ASSERT_TRUE(reader.receive(counted(125) + hex("02 000000 000004 02 00000000 00000006"), sink));
  EXPECT_EQ(reader.buffered_bytes(), 0u);
}

// ---- what is refused: faults rows 3, 4, 5 ----

TEST(chunk_reader, messages_above_the_limit_are_refused_before_anything_is_allocated) {
  expect_error(hex("06 000000 000401 09 01000000"), "message_too_large", 1024);
  expect_error(hex("06 000000 000001 09 01000000 aa 46 000000 000401 09"), "message_too_large", 1024);
  chunk_reader reader(message_max, 64);
  recorder sink;
  auto ok = reader.receive(hex("06 000000 800001 09 01000000 aa"), sink);
  ASSERT_FALSE(ok);
  EXPECT_EQ(ok.error().reason, "message_too_large");
  EXPECT_EQ(reader.buffered_bytes(), 0u);
}

TEST(chunk_reader, commands_and_control_messages_are_small) {
  expect_error(hex("03 000000 010001 14 00000000"), "command_too_large");
  expect_error(hex("03 000000 010001 11 00000000"), "command_too_large");
  expect_error(hex("02 000000 010001 04 00000000"), "message_too_large");
  // Also when a later header changes length and type.
  expect_error(hex("06 000000 000001 09 01000000 aa 46 000000 010001 14"), "command_too_large");
  const auto largest = peer::message(command_amf0, 0, 0, counted(64 * 1024));
  chunk_reader reader(message_max, 64);
  recorder sink;
  ASSERT_TRUE(reader.receive(largest, sink));
  ASSERT_EQ(sink.got.size(), 1u);
  EXPECT_EQ(sink.got[0].payload.size(), 64u * 1024);
}

TEST(chunk_reader, large_media_that_nobody_wants_is_read_past) {
  const auto small = [](uint8_t first) { return peer::message(video, 1, 0, counted(64 * 1024, first)); };
  const auto all = small(1) + peer::message(video, 1, 0, counted(300'000)) +
                   peer::message(aggregate, 1, 0, counted(64 * 1024 + 1)) + small(2);
  std::vector<plain_message> once;
  for (size_t step : {all.size(), size_t{1}, size_t{7}, size_t{1000}}) {
    chunk_reader reader(message_max, 64);
    reader.want_media(false);
    recorder sink;
    for (size_t at = 0; at < all.size(); at += step) {
      ASSERT_TRUE(reader.receive(base::bytes_view(all).subspan(at, std::min(step, all.size() - at)), sink));
      ASSERT_LE(reader.buffered_bytes(), 64 * 1024 + 4096u);
    }
    const auto got = plain(sink.got);
    ASSERT_EQ(got.size(), 2u);
    EXPECT_EQ(got[0].payload, counted(64 * 1024, 1));
    EXPECT_EQ(got[1].payload, counted(64 * 1024, 2));
  }
}

TEST(chunk_reader, large_media_is_taken_in_from_the_first_message_that_begins_when_it_is_wanted) {
  chunk_reader reader(message_max, 64);
  reader.want_media(false);
  recorder sink;
  const auto first = peer::message(video, 1, 0, counted(100'000, 1));
  ASSERT_TRUE(reader.receive(base::bytes_view(first).first(50'000), sink));
  reader.want_media(true);
  ASSERT_TRUE(reader.receive(base::bytes_view(first).subspan(50'000), sink));
  EXPECT_TRUE(sink.got.empty());
  ASSERT_TRUE(reader.receive(peer::message(video, 1, 0, counted(100'000, 2)), sink));
  ASSERT_EQ(sink.got.size(), 1u);
  EXPECT_EQ(plain(sink.got[0]).payload, counted(100'000, 2));
}

TEST(chunk_reader, unfinished_messages_of_a_client_without_media_are_few) {
  chunk_reader reader(message_max, 64);
  reader.want_media(false);
  recorder sink;
  ASSERT_TRUE(reader.receive(hex("02 000000 000004 01 00000000 00010000"), sink));
  std::string error;
  for (uint8_t id = 3; id < 40 && error.empty(); ++id) {
    bytes part = hex("00 000000 010000 14 00000000");
    part[0] = id;
    part.resize(part.size() + 0xFFFF);
    // All but its last byte, then the next chunk stream.
    ASSERT_TRUE(reader.receive(hex("02 000000 000004 01 00000000 0000ffff"), sink));
    if (auto ok = reader.receive(part, sink); !ok) error = ok.error().reason;
    EXPECT_LE(reader.buffered_bytes(), 256u * 1024);
  }
  EXPECT_EQ(error, "message_too_large");
}

TEST(chunk_reader, a_claimed_length_costs_only_what_arrives) {
  chunk_reader reader(message_max, 64);
  recorder sink;
  ASSERT_TRUE(reader.receive(hex("02 000000 000004 01 00000000 00ffffff"), sink));
  ASSERT_TRUE(reader.receive(hex("06 000000 800000 09 01000000"), sink));
  EXPECT_EQ(reader.buffered_bytes(), 0u);
  ASSERT_TRUE(reader.receive(hex("aa"), sink));
  EXPECT_LE(reader.buffered_bytes(), 66'000u);
  const bytes block(1 << 20);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(reader.receive(block, sink));
  EXPECT_LE(reader.buffered_bytes(), (3u << 21) + 66'000u);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(reader.receive(block, sink));
  ASSERT_TRUE(reader.receive(bytes((1 << 20) - 1), sink));
  ASSERT_EQ(sink.got.size(), 1u);
  EXPECT_EQ(sink.got[0].payload.size(), 8u << 20);
  EXPECT_EQ(sink.got[0].payload.block().capacity(), (8u << 20) + message_headroom);
  EXPECT_EQ(reader.buffered_bytes(), 0u);
}

TEST(chunk_reader, many_unfinished_messages_are_bounded_together) {
  chunk_reader reader(message_max, 64);
  recorder sink;
  ASSERT_TRUE(reader.receive(hex("02 000000 000004 01 00000000 00300000"), sink));
  size_t largest = 0;
  std::string error;
  for (uint8_t id = 3; id < 40 && error.empty(); ++id) {
    bytes part = hex("00 000000 800000 09 01000000");
    part[0] = id;
    part.resize(part.size() + 0x300000);
    if (auto ok = reader.receive(part, sink); !ok) error = ok.error().reason;
    largest = std::max(largest, reader.buffered_bytes());
  }
  EXPECT_EQ(error, "message_too_large");
  EXPECT_LE(largest, message_max + (1u << 20));
}

TEST(chunk_reader, chunk_streams_are_counted) {
  bytes stream;
  for (uint8_t id = 3; id < 3 + 5; ++id) {
    bytes one = hex("00 000000 000001 08 01000000 aa");
    one[0] = id;
    stream += one;
  }
  EXPECT_EQ(read({stream}, message_max, 5).got.size(), 5u);
  expect_error(stream, "too_many_chunk_streams", message_max, 4);
}

TEST(chunk_reader, chunks_of_unknown_chunk_streams_need_a_header) {
  expect_error(hex("c6 aa"), "missing_chunk_header");
  expect_error(hex("86 000001 aa"), "missing_chunk_header");
}

TEST(chunk_reader, a_header_inside_an_unfinished_message_is_refused) {
  const auto lead = hex("06 000000 0000c8 09 01000000") + counted(128);
  expect_error(lead + hex("46 000000 0000c9 09"), "message_length_changed");
  expect_error(lead + hex("46 000000 0000c8 09"), "message_length_changed");
  expect_error(lead + hex("06 000000 000001 09 01000000"), "message_length_changed");
  expect_error(lead + hex("86 000000"), "message_length_changed");
}

TEST(chunk_reader, an_error_of_the_sink_stops_the_reading) {
  struct refusing final : message_sink {
    int calls = 0;
    base::result<void> on_message(message&&) override {
      return ++calls == 2 ? base::fail("enough") : base::result<void>();
    }
  } sink;
  chunk_reader reader(message_max, 64);
  auto ok = reader.receive(hex("04 000000 000001 08 01000000 aa c4 bb c4 cc"), sink);
  ASSERT_FALSE(ok);
  EXPECT_EQ(ok.error().reason, "enough");
  EXPECT_EQ(sink.calls, 2);
}

// ---- writer and reader agree ----

TEST(chunk_writer, what_it_writes_is_read_again) {
  std::mt19937 random(5);
  for (uint32_t chunk_size : {1u, 2u, 127u, 128u, 129u, 4096u, 0xFFFFFFu}) {
    bytes stream = peer::number(set_chunk_size, chunk_size);
    std::vector<plain_message> expected;
    for (uint32_t id : {2u, 3u, 63u, 64u, 319u, 320u, 65599u}) {
      for (uint32_t time : {0u, 1u, 0xFFFFFEu, 0xFFFFFFu, 0x1000000u, 0xFFFFFFFFu}) {
        for (size_t size : {0u, 1u, 127u, 128u, 129u, 300u}) {
          expected.push_back(
              {9, static_cast<uint32_t>(random() % 3), time, counted(size, static_cast<uint8_t>(random()))});
          write_message(stream, 9, id, expected.back().stream_id, time, expected.back().payload, chunk_size);
        }
      }
    }
    const auto r = read({stream});
    ASSERT_EQ(r.error, "");
    ASSERT_EQ(r.got, expected) << chunk_size;
  }
}

}  // namespace
}  // namespace sluice::rtmp::test
