#include "media/frame.hpp"

#include <gtest/gtest.h>

#include <set>

#include "unit/media/support.hpp"

namespace sluice::media::test {
namespace {

bytes operator+(bytes a, std::string_view text) {
  a.insert(a.end(), text.begin(), text.end());
  return a;
}
bytes operator+(bytes a, const bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

frame classified(const packet& p, bool strip = true) {
  return make_frame(message_of(p), p.timestamp, base::time_point(seconds(7)), strip);
}

struct expectation {
  const char* what;
  packet in;
  bool keyframe, header;
};

class classification : public ::testing::TestWithParam<expectation> {};

TEST_P(classification, tells_keyframes_and_headers) {
  const auto& e = GetParam();
  const frame f = classified(e.in);
  EXPECT_EQ(f.keyframe, e.keyframe);
  EXPECT_EQ(f.header, e.header);
  EXPECT_EQ(f.type, e.in.type);
  const auto body = f.body().view();
  EXPECT_EQ(bytes(body.begin(), body.end()), e.in.body) << "the body goes on as it came";
}

packet video(bytes body) { return {rtmp::video, 5, std::move(body)}; }
packet audio(bytes body) { return {rtmp::audio, 5, std::move(body)}; }

// Enhanced RTMP v2, "Enhanced Video" and "Enhanced Audio": 0x80 | frame type << 4 | packet type, FourCC; 0x90 | packet
// type, FourCC.
const expectation table[] = {
    {"avc_header", video_header(), false, true},
    {"avc_key", key(5), true, false},
    {"avc_inter", inter(5), false, false},
    {"avc_end_of_sequence", video({0x17, 2, 0, 0, 0}), false, false},
    {"avc_header_without_configuration", video({0x17, 0, 0, 0, 0}), false, true},
    {"video_info_command", video({0x57, 0}), false, false},
    {"h263_key", video({0x12, 1, 2}), true, false},
    {"aac_header", audio_header(), false, true},
    {"aac_frame", sound(5), false, false},
    {"mp3_frame", audio({0x2F, 0xFF}), false, false},
    {"audio_silence", audio({}), false, false},
    {"hevc_header", video(bytes{0x90} + "hvc1" + bytes{1, 2, 3}), false, true},
    {"hevc_key", video(bytes{0x91} + "hvc1" + bytes{0, 0, 40, 9}), true, false},
    {"hevc_key_x", video(bytes{0x93} + "hvc1" + bytes{9, 9}), true, false},
    {"hevc_inter_x", video(bytes{0xA3} + "hvc1" + bytes{9, 9}), false, false},
    {"av1_header", video(bytes{0x90} + "av01" + bytes{0x81, 0, 0, 0}), false, true},
    {"vp9_key", video(bytes{0x91} + "vp09" + bytes{1}), true, false},
    {"colour_info", video(bytes{0x94} + "hvc1" + bytes{2, 0, 1, 'x'}), false, true},
    {"sequence_end", video(bytes{0x92} + "hvc1"), false, false},
    {"unknown_fourcc_key", video(bytes{0x91} + "zzzz" + bytes{1}), true, false},
    {"mod_ex_key", video(bytes{0x97, 2, 0, 0, 9, 0x03} + "av01" + bytes{1}), true, false},
    {"one_track_key", video(bytes{0x96, 0x01} + "av01" + bytes{3, 1, 1}), true, false},
    {"one_track_header", video(bytes{0x96, 0x00} + "av01" + bytes{3, 1, 1}), false, true},
    {"opus_header", audio(bytes{0x90} + "Opus" + bytes{1}), false, true},
    {"opus_frame", audio(bytes{0x91} + "Opus" + bytes{1}), false, false},
    {"opus_channels", audio(bytes{0x94} + "Opus" + bytes{1, 2, 0, 0, 0, 3}), false, true},
    {"audio_track_header", audio(bytes{0x95, 0x00} + "Opus" + bytes{2, 1}), false, true},
    {"cut_avc", video({0x17, 1}), false, false},
    {"cut_fourcc", video({0x91, 'h', 'v'}), false, false},
    {"empty_video", video({}), false, false},
    {"metadata", metadata(), false, true},
    {"other_script", script({"onTextData", "hello"}), false, false},
    {"script_that_is_none", packet{rtmp::data_amf0, 5, {9, 9, 9}}, false, false},
    {"empty_script", packet{rtmp::data_amf0, 5, {}}, false, false},
    {"unknown_type", packet{0x63, 5, {1, 2}}, false, false},
};

INSTANTIATE_TEST_SUITE_P(bodies, classification, ::testing::ValuesIn(table),
                         [](const auto& test) { return test.param.what; });

TEST(frame, keeps_type_time_and_arrival) {
  const frame f = classified(key(0xFFFFFFF0u));
  EXPECT_EQ(f.timestamp, 0xFFFFFFF0u);
  EXPECT_EQ(f.arrival, base::time_point(seconds(7)));
}

TEST(frame, strips_set_data_frame_where_asked) {
  const auto stripped = classified(set_data_frame(3)).body();
  EXPECT_EQ(bytes(stripped.view().begin(), stripped.view().end()), metadata(3).body);
  const auto kept = classified(set_data_frame(3), false);
  EXPECT_TRUE(kept.header);
  EXPECT_EQ(bytes(kept.body().view().begin(), kept.body().view().end()), set_data_frame(3).body);
}

TEST(frame, reads_amf3_metadata_behind_its_format_byte) {
  packet p = metadata();
  p.type = rtmp::data_amf3;
  p.body.insert(p.body.begin(), 0);
  const frame f = classified(p);
  EXPECT_TRUE(f.header);
  EXPECT_EQ(f.body().size(), p.body.size()) << "nothing is cut from a message whose first byte would be lost";
}

// A header replaces the one of its slot only.
TEST(frame, gives_each_kind_of_header_a_slot_of_its_own) {
  const std::vector<packet> headers = {
      metadata(),
      video_header(),
      audio_header(),
      video(bytes{0x94} + "hvc1" + bytes{2, 0, 1, 'x'}),
      video(bytes{0x96, 0x00} + "av01" + bytes{1, 1}),
      video(bytes{0x96, 0x00} + "av01" + bytes{2, 1}),
      audio(bytes{0x95, 0x00} + "Opus" + bytes{1, 1}),
      audio(bytes{0x94} + "Opus" + bytes{1, 2, 0, 0, 0, 3}),
  };
  std::set<uint32_t> slots;
  for (const auto& h : headers) slots.insert(classified(h).header_slot);
  EXPECT_EQ(slots.size(), headers.size());
  EXPECT_EQ(classified(video_header(1)).header_slot, classified(video_header(2)).header_slot);
  EXPECT_EQ(classified(video_header(1)).header_slot, classified(video(bytes{0x90} + "hvc1" + bytes{1})).header_slot)
      << "a change of codec replaces the old configuration";
}

TEST(frame, is_serialised_for_players) {
  struct : rtmp::message_sink {
    std::vector<packet> got;
    base::result<void> on_message(rtmp::message&& m) override {
      EXPECT_EQ(m.chunk_stream_id, chunk_stream_of(m.type));
      got.push_back(packet_of(m));
      return {};
    }
  } sink;
  rtmp::chunk_reader reader(1 << 20, 8);
  bytes wire, size;
  base::byte_writer(size).u32(wire_chunk_size);
  rtmp::write_message(wire, rtmp::set_chunk_size, 2, 0, 0, size, rtmp::default_chunk_size);
  const std::vector<packet> sent = {key(0xFFFFFFFE, 1, 150'000), sound(70), metadata(), inter(0x1000000)};
  for (const auto& p : sent) {
    const frame f = classified(p);
    std::vector<iovec> parts(16);
    size_t taken = 0;
    const size_t count = f.wire.gather(0, parts, 0, &taken);
    EXPECT_EQ(taken, f.wire.size());
    for (size_t i = 0; i < count; ++i) {
      const auto* from = static_cast<const uint8_t*>(parts[i].iov_base);
      wire.insert(wire.end(), from, from + parts[i].iov_len);
    }
  }
  ASSERT_TRUE(reader.receive(wire, sink));
  EXPECT_EQ(sink.got, sent);
}

}  // namespace
}  // namespace sluice::media::test
