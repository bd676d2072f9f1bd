#include "media/bridge/flv.hpp"

#include "proto/flv/file.hpp"
#include "support.hpp"

namespace sluice::media::test {
namespace {

bytes header_of(flv_muxer& m) {
  bytes out;
  m.file_header(out);
  return out;
}

header_set set_of(const all& packets) {
  header_set set;
  for (const auto& p : packets) set.push_back(frame_of(p));
  return set;
}

all tags_of(const bytes& with_file_header) {
  flv::reader in(8u << 20);
  base::bytes_view rest(with_file_header);
  all tags;
  for (;;) {
    const auto tag = in.next(rest);
    EXPECT_TRUE(tag) << tag.error().reason;
    if (!tag || !*tag) return tags;
    tags.push_back({(*tag)->type, (*tag)->timestamp, {(*tag)->body.data(), (*tag)->body.data() + (*tag)->body.size()}});
  }
}

TEST(flv_muxer, writes_each_message_as_a_tag) {
  flv_muxer m;
  bytes body;
  m.headers(set_of(headers), 0, body);
  const all media{key(0), sound(5), inter(0x01020304), script({"onText", "x"})};
  for (const auto& p : media) m.write(frame_of(p), body);
  auto file = header_of(m);
  file.insert(file.end(), body.begin(), body.end());
  EXPECT_EQ(tags_of(file), headers + media);
  EXPECT_TRUE(m.carries_something());
  EXPECT_TRUE(m.left_out().empty());
}

TEST(flv_muxer, headers_get_the_time_of_what_follows) {
  flv_muxer m;
  auto file = header_of(m);
  m.headers(set_of(headers), 5000, file);
  m.write(frame_of(key(5000)), file);
  EXPECT_EQ(tags_of(file), all{metadata()} + restamped({video_header(), audio_header()}, 5000) + all{key(5000)});
}

TEST(flv_muxer, the_file_header_says_what_is_in_the_stream) {
  const auto flags = [](flv_muxer& m) { return int{header_of(m)[4]}; };
  flv_muxer unknown, picture, both, by_metadata, by_frames;
  bytes out;
  EXPECT_EQ(flags(unknown), 5) << "players wait for what is not announced";
  picture.headers(set_of({video_header()}), 0, out);
  EXPECT_EQ(flags(picture), 1);
  both.headers(set_of({video_header(), audio_header()}), 0, out);
  EXPECT_EQ(flags(both), 5);
  by_frames.write(frame_of(sound(0)), out);
  EXPECT_EQ(flags(by_frames), 4);
  const amf0::value properties(amf0::value::storage(amf0::ecma_array{{{"audiocodecid", 2}, {"width", 0}}}));
  by_metadata.headers(set_of({script({"onMetaData", properties})}), 0, out);
  EXPECT_EQ(flags(by_metadata), 4);
}

TEST(flv_muxer, amf3_data_becomes_amf0) {
  flv_muxer m;
  auto file = header_of(m);
  auto text = script({"onText", "x"});
  packet amf3{rtmp::data_amf3, 7, text.body};
  amf3.body.insert(amf3.body.begin(), 0);
  m.write(frame_of(amf3), file);
  EXPECT_EQ(tags_of(file), all{at(text, 7)});
}

TEST(flv_muxer, around_a_body_stands_what_makes_it_a_tag) {
  flv_muxer copying, around;
  for (const packet& p : all{key(0x01020304), sound(5), script({"onText", "x"}), {rtmp::audio, 7, {}}}) {
    bytes want, got{0xAA};
    copying.write(frame_of(p), want);
    const auto at = around.write_around_body(frame_of(p), got);
    ASSERT_TRUE(at);
    got.insert(got.begin() + static_cast<std::ptrdiff_t>(*at), p.body.begin(), p.body.end());
    got.erase(got.begin());
    EXPECT_EQ(got, want);
  }
  EXPECT_EQ(header_of(around), header_of(copying)) << "it has seen both tracks";
  bytes out;
  EXPECT_FALSE(around.write_around_body(frame_of({rtmp::data_amf3, 0, {0, 2, 0, 0}}), out));
  EXPECT_FALSE(around.write_around_body(frame_of({30, 0, {1}}), out));
  EXPECT_TRUE(out.empty());
}

TEST(flv_muxer, other_messages_are_left_out) {
  flv_muxer m;
  auto file = header_of(m);
  const auto before = file.size();
  m.write(frame_of({30, 0, {1, 2, 3}}), file);
  m.write(frame_of({rtmp::data_amf3, 0, {}}), file);
  EXPECT_EQ(file.size(), before);
}

}  // namespace
}  // namespace sluice::media::test
