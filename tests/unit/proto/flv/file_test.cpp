#include "proto/flv/file.hpp"

#include <gtest/gtest.h>

#include "golden/golden.hpp"
#include "proto/flv/script.hpp"
#include "proto/flv/tag.hpp"

namespace sluice::flv {
namespace {

using test::hex;

struct kept_tag {
  uint8_t type;
  uint32_t timestamp;
  std::vector<uint8_t> body;
  bool operator==(const kept_tag&) const = default;
};

void drain(reader& r, base::bytes_view bytes, std::vector<kept_tag>& tags) {
  for (;;) {
    const auto t = r.next(bytes);
    ASSERT_TRUE(t) << t.error().reason;
    if (!*t) break;
    const auto body = (*t)->body.view();
    tags.push_back({(*t)->type, (*t)->timestamp, {body.begin(), body.end()}});
  }
  EXPECT_TRUE(bytes.empty());
}

std::vector<kept_tag> read_in_pieces(base::bytes_view bytes, size_t first, size_t rest) {
  reader r;
  std::vector<kept_tag> tags;
  for (size_t at = 0, size = first; at < bytes.size(); at += size, size = rest) {
    size = std::min(size, bytes.size() - at);
    drain(r, bytes.subspan(at, size), tags);
  }
  return tags;
}

TEST(flv_file, reads_what_ffmpeg_writes) {
  const auto bytes = test::golden("flv/h264_aac.flv");
  const auto tags = read_in_pieces(bytes, bytes.size(), bytes.size());
  size_t keyframes = 0, video_frames = 0, audio_frames = 0, headers = 0, scripts = 0, ends = 0;
  for (const auto& t : tags) {
    if (t.type == script_tag_type) {
      const auto s = parse_script(t.body);
      EXPECT_TRUE(s.is_metadata());
      ++scripts;
    } else if (t.type == video_tag_type) {
      const auto v = parse_video_tag(t.body);
      ASSERT_TRUE(v);
      EXPECT_EQ(v->codec, codec::avc);
      keyframes += v->keyframe;
      video_frames += v->coded;
      headers += v->sequence_header;
      ends += v->end_of_sequence;
    } else {
      const auto a = parse_audio_tag(t.body);
      ASSERT_TRUE(a);
      EXPECT_EQ(a->codec, codec::aac);
      audio_frames += a->coded;
      headers += a->sequence_header;
    }
  }
  // As ffprobe counts them: 10 video packets, of which every fifth is a key frame, and 45 of audio.
  EXPECT_EQ(scripts, 1u);
  EXPECT_EQ(headers, 2u);
  EXPECT_EQ(keyframes, 2u);
  EXPECT_EQ(video_frames, 10u);
  EXPECT_EQ(audio_frames, 45u);
  EXPECT_EQ(ends, 1u);
}

TEST(flv_file, gives_the_same_tags_whatever_the_pieces) {
  const auto bytes = test::golden("flv/h264_aac.flv");
  const auto whole = read_in_pieces(bytes, bytes.size(), bytes.size());
  EXPECT_EQ(read_in_pieces(bytes, 1, 1), whole);
  for (size_t split = 1; split < bytes.size(); split += split < 600 ? 1 : 97) {
    EXPECT_EQ(read_in_pieces(bytes, split, bytes.size()), whole) << split;
  }
}

TEST(flv_file, writes_what_it_reads) {
  const auto bytes = test::golden("flv/h264_aac.flv");
  const auto header = file_header(true, true);
  std::vector<uint8_t> out(header.begin(), header.end());
  for (const auto& t : read_in_pieces(bytes, bytes.size(), bytes.size())) write_tag(out, t.type, t.timestamp, t.body);
  EXPECT_EQ(out, bytes);
}

TEST(flv_file, header_flags_and_extended_timestamp) {
  EXPECT_EQ(file_header(true, false)[4], 4);
  EXPECT_EQ(file_header(false, true)[4], 1);
  std::vector<uint8_t> out;
  write_tag(out, video_tag_type, 0x81020304, hex("17"));
  EXPECT_EQ(out, hex("09 000001 020304 81 000000 17 0000000c"));
}

TEST(flv_file, skips_a_longer_header) {
  reader r;
  std::vector<kept_tag> tags;
  drain(r, hex("464c5601 05 0000000b aaaa 00000000 08 000001 000000 00 000000 af 0000000c"), tags);
  EXPECT_EQ(tags, (std::vector<kept_tag>{{8, 0, {0xaf}}}));
}

TEST(flv_file, gives_a_tag_with_its_last_byte_and_headroom) {
  reader r(16, 24);
  const auto bytes = hex("464c5601 05 00000009 00000000 08 000002 000007 00 000000 af01 0000000d 09 000000 000008 00");
  base::bytes_view rest(bytes);
  const size_t first_end = 9 + 4 + 11 + 2;
  auto part = rest.first(first_end);
  const auto sound = r.next(part);
  ASSERT_TRUE(sound && *sound);
  EXPECT_EQ((*sound)->timestamp, 7u);
  EXPECT_EQ((*sound)->body.size(), 2u);
  EXPECT_EQ((*sound)->body.headroom(), 24u);
  EXPECT_TRUE((*sound)->body.block().unique());
  part = rest.subspan(first_end);
  EXPECT_FALSE(*r.next(part));
  const auto end_of_header = hex("000000 ff");
  rest = end_of_header;
  const auto empty = r.next(rest);
  ASSERT_TRUE(empty && *empty);
  EXPECT_EQ((*empty)->timestamp, 8u);
  EXPECT_TRUE((*empty)->body.empty());
  EXPECT_EQ(rest.size(), 1u);
}

struct bad_file {
  const char* bytes;
  const char* reason;
};

TEST(flv_file, refuses_bad_files_and_stays_refusing) {
  constexpr bad_file cases[] = {
      {"464c5701 05 00000009", "flv_bad_signature"},
      {"464c5601 05 00000008 00000000", "flv_bad_header"},
      {"464c5601 05 ffffffff 00000000", "flv_bad_header"},
      {"464c5601 05 00000009 00000000 09 000011 000000 00 000000", "flv_tag_too_large"},
      {"464c5601 05 00000009 00000000 29 000001 000000 00 000000", "flv_encrypted"},
  };
  for (const auto& c : cases) {
    reader r(16);
    const auto bytes = hex(c.bytes);
    base::bytes_view rest(bytes);
    for (int i = 0; i < 2; ++i) {
      const auto t = r.next(rest);
      ASSERT_FALSE(t) << c.bytes;
      EXPECT_EQ(t.error().reason, c.reason) << c.bytes;
    }
  }
}

// 0d = 13 letters of @setDataFrame, 0a = 10 of onMetaData.
constexpr const char* set_data_frame = "02 000d 40736574446174614672616d65 ";
constexpr const char* on_meta_data = "02 000a 6f6e4d65746144617461 ";

TEST(flv_script, strips_set_data_frame) {
  const auto plain = hex(std::string(on_meta_data) + "08 00000000 000009");
  const auto wrapped = hex(std::string(set_data_frame) + on_meta_data + "08 00000000 000009");
  for (const auto& body : {plain, wrapped}) {
    const auto s = parse_script(body);
    EXPECT_TRUE(s.is_metadata());
    EXPECT_EQ(s.set_data_frame, body.size() > plain.size());
    EXPECT_EQ(std::vector<uint8_t>(s.message.begin(), s.message.end()), plain);
    EXPECT_EQ(std::vector<uint8_t>(s.value.begin(), s.value.end()), hex("08 00000000 000009"));
  }
}

TEST(flv_script, other_messages_are_no_metadata) {
  const auto text = hex("02 0004 74657874 05");
  EXPECT_EQ(parse_script(text).name, "text");
  EXPECT_FALSE(parse_script(text).is_metadata());
  EXPECT_EQ(parse_script(text).value.size(), 1u);
  const auto number = hex("00 3ff0000000000000");
  EXPECT_TRUE(parse_script(number).name.empty());
  EXPECT_EQ(parse_script(number).message.size(), number.size());
  EXPECT_TRUE(parse_script({}).name.empty());
}

TEST(flv_script, a_cut_name_is_no_name) {
  const auto whole = hex(std::string(set_data_frame) + on_meta_data);
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::vector<uint8_t> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(parse_script(cut).is_metadata()) << size;
  }
  EXPECT_TRUE(parse_script(whole).is_metadata());
}

}  // namespace
}  // namespace sluice::flv
