#include "proto/rtmp/wire.hpp"

#include "golden/golden.hpp"
#include "unit/proto/rtmp/support.hpp"

namespace sluice::rtmp::test {
namespace {

struct wire_case {
  size_t payload;
  uint32_t chunk_size, timestamp, chunk_stream_id;
};

std::string name_of(const testing::TestParamInfo<wire_case>& info) {
  const auto& c = info.param;
  return std::to_string(c.payload) + "_" + std::to_string(c.chunk_size) + "_" + std::to_string(c.timestamp) + "_" +
         std::to_string(c.chunk_stream_id);
}

class wire_form : public testing::TestWithParam<wire_case> {
 protected:
  const bytes payload_ = counted(GetParam().payload, 3);
  wire_message make() const {
    const auto& c = GetParam();
    return wire_message::serialise(base::slice::copy_of(payload_, message_headroom), video, c.timestamp,
                                   c.chunk_stream_id, 7, c.chunk_size);
  }
  bytes written() const {
    const auto& c = GetParam();
    bytes out;
    write_message(out, video, c.chunk_stream_id, 7, c.timestamp, payload_, c.chunk_size);
    return out;
  }
};

bytes collect(std::span<const iovec> parts) {
  bytes out;
  for (const auto& p : parts) {
    EXPECT_GT(p.iov_len, 0u);
    const auto* from = static_cast<const uint8_t*>(p.iov_base);
    out.insert(out.end(), from, from + p.iov_len);
  }
  return out;
}

TEST_P(wire_form, is_what_the_writer_writes_from_every_offset) {
  const auto m = make();
  const auto expected = written();
  ASSERT_EQ(m.size(), expected.size());
  for (size_t offset = 0; offset <= expected.size(); ++offset) {
    std::vector<iovec> parts(2 + 2 * expected.size());
    size_t taken = 0;
    const size_t count = m.gather(offset, parts, 1, &taken);
    ASSERT_EQ(taken, expected.size() - offset);
    const auto got = collect(std::span(parts).subspan(1, count - 1));
    ASSERT_EQ(got, bytes(expected.begin() + static_cast<std::ptrdiff_t>(offset), expected.end())) << offset;
  }
}

TEST_P(wire_form, is_gathered_into_few_parts_at_a_time) {
  const auto m = make();
  const auto expected = written();
  for (size_t room = 1; room <= 5; ++room) {
    for (size_t short_write : {size_t{1}, size_t{6}, SIZE_MAX}) {  // a socket takes less than it was offered
      bytes got;
      while (got.size() < m.size()) {
        std::vector<iovec> parts(room);
        size_t taken = 0;
        const size_t count = m.gather(got.size(), parts, 0, &taken);
        ASSERT_LE(count, room);
        auto part = collect(std::span(parts).first(count));
        ASSERT_EQ(part.size(), taken);
        ASSERT_GT(taken, 0u);
        part.resize(std::min(part.size(), short_write));
        got += part;
      }
      ASSERT_EQ(got, expected);
    }
  }
}

TEST_P(wire_form, is_read_again_wherever_it_is_cut) {
  const auto stream = peer::number(set_chunk_size, GetParam().chunk_size) + written();
  for_every_cut(stream, [&](const auto& pieces) {
    chunk_reader reader(1 << 20, 4);
    recorder sink;
    for (auto p : pieces) ASSERT_TRUE(reader.receive(p, sink));
    ASSERT_EQ(plain(sink.got), (std::vector<plain_message>{{video, 7, GetParam().timestamp, payload_}}));
  });
}

INSTANTIATE_TEST_SUITE_P(shapes, wire_form,
                         testing::Values(wire_case{0, 128, 0, 4}, wire_case{1, 128, 5, 4}, wire_case{127, 128, 5, 63},
                                         wire_case{128, 128, 5, 64}, wire_case{129, 128, 5, 319},
                                         wire_case{256, 128, 0xFFFFFE, 6}, wire_case{257, 128, 0xFFFFFF, 6},
                                         wire_case{600, 128, 0x1000000, 319}, wire_case{40, 1, 0xFFFFFFFF, 6},
                                         wire_case{40, 7, 9, 6}, wire_case{500, 60000, 0xFFFFFFFF, 6}),
                         name_of);

TEST(wire_message, leaves_the_payload_where_it_was) {
  auto payload = base::slice::copy_of(counted(10), message_headroom);
  const auto* where = payload.data();
  const auto m = wire_message::serialise(std::move(payload), audio, 0, 4, 1, 128);
  EXPECT_EQ(m.payload().data(), where);
}

TEST(wire_message, does_not_write_into_a_block_that_others_hold) {
  auto block = base::block_ref::allocate(64);
  std::fill_n(block.data(), 64, uint8_t{0x55});
  const base::slice shared(block, 32, 32);
  const auto m = wire_message::serialise(shared, audio, 0, 4, 1, 128);
  EXPECT_NE(m.payload().data(), shared.data());
  EXPECT_EQ(bytes(block.data(), block.data() + 64), bytes(64, 0x55));
  // ... nor in front of a payload without room.
  const auto tight = base::slice::copy_of(counted(10), 3);
  EXPECT_EQ(wire_message::serialise(base::slice(tight), audio, 0, 4, 1, 128).size(), 12u + 10u);
}

TEST(wire_message, a_default_one_is_empty) {
  size_t taken = 9;
  iovec part[1];
  EXPECT_EQ(wire_message().size(), 0u);
  EXPECT_EQ(wire_message().gather(0, part, 0, &taken), 0u);
  EXPECT_EQ(taken, 0u);
}

// RTMP 1.0 §5.3.1: bytes written by hand.
TEST(wire_message, has_the_bytes_of_the_specification) {
  bytes out;
  write_message(out, audio, 4, 1, 0x01020304, counted(130), 128);
  const auto expected = sluice::test::hex("04 ffffff 000082 08 01000000 01020304") + [] {
    auto v = counted(130);
    const auto next = sluice::test::hex("c4 01020304");
    v.insert(v.begin() + 128, next.begin(), next.end());
    return v;
  }();
  EXPECT_EQ(out, expected);
}

}  // namespace
}  // namespace sluice::rtmp::test
