#include "media/bridge/ts.hpp"

#include <gtest/gtest.h>

#include "golden/golden.hpp"
#include "proto/flv/file.hpp"

// How the packets are made is the multiplexer's test; what libavformat makes of them, tests/e2e/test_ts.py.
namespace sluice::media::test {
namespace {

using bytes = std::vector<uint8_t>;
using sluice::test::golden;
using sluice::test::hex;

frame make(uint8_t type, uint32_t timestamp, const bytes& body) {
  rtmp::message m{timestamp, type, 1, 4, base::slice::copy_of(body, rtmp::message_headroom)};
  return make_frame(std::move(m), timestamp, {}, true);
}
frame video(uint32_t timestamp, const bytes& body) { return make(rtmp::video, timestamp, body); }
frame audio(uint32_t timestamp, const bytes& body) { return make(rtmp::audio, timestamp, body); }

bytes operator+(bytes a, const bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
bytes operator+(bytes a, std::string_view text) {
  a.insert(a.end(), text.begin(), text.end());
  return a;
}

struct pes {
  uint16_t pid = 0;
  bool random_access = false;
  uint64_t pts = 0, dts = 0;
  bytes payload;
};

uint64_t timestamp(base::byte_reader& in) {
  const uint64_t high = in.u8() >> 1 & 7, middle = in.u16() >> 1, low = in.u16() >> 1;
  return high << 30 | middle << 15 | low;
}

// The PES packets of well-formed TS, in the order of their beginnings; the tables by PID 0 and 0x1000.
std::vector<pes> read(const bytes& ts) {
  std::vector<pes> all;
  std::array<size_t, 0x2000> open;
  open.fill(SIZE_MAX);
  for (size_t at = 0; at < ts.size(); at += mpegts::packet_size) {
    const auto p = base::bytes_view(ts).subspan(at, mpegts::packet_size);
    const size_t payload = p[3] & 0x20 ? 5 + size_t{p[4]} : 4;
    const auto pid = static_cast<uint16_t>((p[1] & 0x1F) << 8 | p[2]);
    if (p[1] & 0x40) {
      open[pid] = all.size();
      all.push_back({pid, p[3] & 0x20 && p[4] > 0 && p[5] & 0x40, 0, 0, {}});
    }
    if (open[pid] == SIZE_MAX) continue;
    auto& to = all[open[pid]].payload;
    to.insert(to.end(), p.begin() + static_cast<ptrdiff_t>(payload), p.end());
  }
  for (pes& one : all) {
    if (one.pid == mpegts::pat_pid || one.pid == mpegts::pmt_pid) continue;
    base::byte_reader in(one.payload);
    in.skip(7);
    const bool has_dts = in.u8() & 0x40;
    const uint8_t size = in.u8();
    one.pts = timestamp(in);
    one.dts = has_dts ? timestamp(in) : one.pts;
    one.payload.erase(one.payload.begin(), one.payload.begin() + 9 + size);
  }
  return all;
}

struct harness {
  explicit harness(ts_options options = {}) : bridge(options) {}
  /// PES packets of what this frame brought out, tables left out.
  std::vector<pes> put(const frame& f) {
    bytes out;
    bridge.write(f, out);
    return only_media(out);
  }
  std::vector<pes> flush() {
    bytes out;
    bridge.flush(out);
    return only_media(out);
  }
  std::vector<pes> only_media(const bytes& out) {
    auto all = read(out);
    std::erase_if(all, [&](const pes& p) {
      if (p.pid == mpegts::pmt_pid) pmt = p.payload;
      return p.pid == mpegts::pat_pid || p.pid == mpegts::pmt_pid;
    });
    return all;
  }
  /// Stream type and PID of each track in the last PMT.
  std::vector<std::pair<int, int>> tracks() const {
    std::vector<std::pair<int, int>> found;
    base::byte_reader in(base::bytes_view(pmt).subspan(2));
    const size_t length = in.u16() & 0xFFF;
    in = base::byte_reader(in.bytes(length - 4));
    in.skip(9);
    while (in.remaining() > 0) {
      const int type = in.u8(), pid = in.u16() & 0x1FFF;
      in.skip(in.u16() & 0xFFF);
      found.emplace_back(type, pid);
    }
    return found;
  }
  ts_bridge bridge;
  bytes pmt;
};

using found = std::vector<std::pair<int, int>>;
constexpr int video_pid = mpegts::video_pid, audio_pid = mpegts::audio_pid;
constexpr uint64_t at_ms(uint64_t ms) { return (ms + 1000) * 90; }

const bytes sps{0x67, 0x42, 0xC0, 0x1E}, pps{0x68, 0xCB};
const bytes avcc = hex("0142c01effe10004") + sps + hex("010002") + pps;
const bytes start_code{0, 0, 0, 1};

bytes unit(const bytes& nal) { return bytes{0, 0, 0, static_cast<uint8_t>(nal.size())} + nal; }
bytes avc_key(const bytes& units) { return bytes{0x17, 1, 0, 0, 0} + units; }
bytes avc_inter(const bytes& units) { return bytes{0x27, 1, 0, 0, 0} + units; }
const frame avc_header = video(0, bytes{0x17, 0, 0, 0, 0} + avcc);
const bytes idr{0x65, 1, 2, 3}, slice{0x41, 9}, sei{0x06, 5, 1, 7, 0x80};
const bytes avc_delimiter = hex("0000000109f0");

const frame aac_header = audio(0, {0xAF, 0, 0x12, 0x10});  // LC, 44,100 Hz, stereo
bytes aac(const bytes& raw) { return bytes{0xAF, 1} + raw; }

TEST(ts_bridge, brings_parameter_sets_with_keyframes) {
  harness h;
  EXPECT_TRUE(h.put(avc_header).empty());
  auto got = h.put(video(0, avc_key(unit(sei) + unit(idr))));
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(h.tracks(), (found{{0x1B, video_pid}}));
  EXPECT_TRUE(got[0].random_access);
  EXPECT_EQ(got[0].payload, avc_delimiter + start_code + sps + start_code + pps + start_code + sei + start_code + idr);
  got = h.put(video(40, avc_inter(unit(slice))));
  ASSERT_EQ(got.size(), 1u);
  EXPECT_FALSE(got[0].random_access);
  EXPECT_EQ(got[0].payload, avc_delimiter + start_code + slice);
}

TEST(ts_bridge, leaves_what_the_frame_brings_itself) {
  harness h;
  h.put(avc_header);
  const bytes own_sps{0x67, 1}, own_pps{0x68, 1}, own_delimiter{0x09, 0x10};
  auto got = h.put(video(0, avc_key(unit(own_delimiter) + unit(own_sps) + unit(own_pps) + unit(idr))));
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].payload, avc_delimiter + start_code + own_sps + start_code + own_pps + start_code + idr);
  got = h.put(video(40, avc_key(unit(own_sps) + unit(idr))));
  EXPECT_EQ(got[0].payload,
            avc_delimiter + start_code + sps + start_code + pps + start_code + own_sps + start_code + idr)
      << "a picture parameter set is missing: all of the record's";
}

TEST(ts_bridge, follows_a_change_of_configuration) {
  harness h;
  h.put(avc_header);
  h.put(video(0, avc_key(unit(idr))));
  const bytes other{0x67, 0x64, 0, 0x1F};
  h.put(video(40, bytes{0x17, 0, 0, 0, 0} + hex("0164001fffe10004") + other + hex("010002") + pps));
  const auto got = h.put(video(40, avc_key(unit(idr))));
  EXPECT_EQ(got.at(0).payload, avc_delimiter + start_code + other + start_code + pps + start_code + idr);
  EXPECT_EQ(h.pmt[6], 0xC1) << "the PMT says nothing of parameter sets: version 0";
}

TEST(ts_bridge, follows_a_change_of_codec) {
  harness h;
  h.put(avc_header);
  h.put(video(0, avc_key(unit(idr))));
  h.put(video(40, bytes{0x90} + "hvc1" + golden("codec/h265_main_1080p.hvcc.hex")));
  const bytes irap{0x26, 1, 0xAF};
  const auto got = h.put(video(40, bytes{0x93} + "hvc1" + unit(irap)));
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(h.tracks(), (found{{0x24, video_pid}}));
  EXPECT_EQ(h.pmt[6], 0xC3) << "version 1";
  const bytes& p = got[0].payload;
  EXPECT_EQ(bytes(p.begin(), p.begin() + 12), hex("00000001460150 00000001 40")) << "delimiter, then the VPS";
  EXPECT_EQ(bytes(p.end() - 7, p.end()), start_code + irap);
  h.put(video(80, bytes{0x90} + "av01" + golden("codec/av1.av1c.hex")));
  EXPECT_FALSE(h.bridge.can_carry_anything());
  EXPECT_EQ(h.bridge.left_out(), std::vector<std::string>{"video AV1"});
  EXPECT_TRUE(h.put(video(80, bytes{0x91} + "av01" + bytes{1, 2})).empty());
  EXPECT_EQ(h.bridge.broken(), 0u);
}

TEST(ts_bridge, times) {
  const struct {
    uint32_t timestamp;
    int32_t composition;
    uint64_t dts, pts;
  } cases[] = {
      {0, 0, at_ms(0), at_ms(0)},
      {1000, 80, at_ms(1000), at_ms(1080)},
      {1000, -40, at_ms(960), at_ms(960)},     // no picture is shown before it is decoded
      {1000, -501, at_ms(1000), at_ms(1000)},  // nonsense
      {0, -500, at_ms(0) - 45'000, at_ms(0) - 45'000},
      {0xFFFFFFFF, 0, at_ms(0) - 90, at_ms(0) - 90},  // 2^32 ms are 45 * 2^33 ticks
      {95'443'718, 0, (at_ms(95'443'718)) % (uint64_t{1} << 33), at_ms(95'443'718) % (uint64_t{1} << 33)},
  };
  for (const auto& c : cases) {
    harness h;
    h.put(avc_header);
    bytes body = avc_key(unit(idr));
    for (int i = 0; i < 3; ++i) body[2 + i] = static_cast<uint8_t>(c.composition >> (16 - 8 * i));
    const auto got = h.put(video(c.timestamp, body));
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(got[0].dts, c.dts) << c.timestamp << ' ' << c.composition;
    EXPECT_EQ(got[0].pts, c.pts);
  }
}

TEST(ts_bridge, adds_the_nanoseconds_of_mod_ex) {
  harness h;
  h.put(audio(0, bytes{0x90} + "Opus" + golden("codec/opus_stereo.opushead.hex")));
  // ModEx of type 0 with 500,000 ns, then coded frames.
  const auto got = h.put(audio(20, bytes{0x97, 2, 0x07, 0xA1, 0x20, 0x01} + "Opus" + bytes{0xFC, 1}));
  EXPECT_EQ(got.at(0).pts, at_ms(20) + 45);
}

TEST(ts_bridge, wraps_aac) {
  harness h;
  h.put(aac_header);
  EXPECT_TRUE(h.bridge.can_carry_anything());
  const auto got = h.put(audio(23, aac({1, 2, 3})));
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(h.tracks(), (found{{0x0F, audio_pid}}));
  EXPECT_TRUE(got[0].random_access) << "there is no video";
  EXPECT_EQ(got[0].payload, hex("fff15080015ffc 010203"));
  EXPECT_EQ(got[0].pts, at_ms(23));
  EXPECT_FALSE(h.put(audio(46, aac(bytes(8184, 7)))).empty());
  EXPECT_TRUE(h.put(audio(69, aac(bytes(8185, 7)))).empty()) << "13 bits for the length";
  EXPECT_EQ(h.bridge.broken(), 1u);
}

TEST(ts_bridge, signals_high_efficiency_aac_implicitly) {
  harness h;
  h.put(audio(0, bytes{0xAF, 0} + hex("2b920800")));  // SBR explicitly: 22,050 -> 44,100 Hz
  const auto got = h.put(audio(0, aac({1})));
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].payload, hex("fff15c80011ffc 01")) << "LC at 22,050 Hz";
}

TEST(ts_bridge, moves_the_program_config_element_into_each_frame) {
  // LC, 48 kHz, channel configuration 0; one front pair, no comment: 10 + 12 + 9 + 3 + 5 bits from bit 16 on.
  harness h;
  h.put(audio(0, bytes{0xAF, 0} + hex("1180 04c40000 2000")));
  const auto got = h.put(audio(0, aac({0xAB})));
  ASSERT_EQ(got.size(), 1u) << h.bridge.broken();
  // The element's 39 bits behind the id 5 (three bits), up to the byte; the comment's length.
  EXPECT_EQ(got[0].payload, hex("fff14c0001fffc a0988000040000 ab"));
}

TEST(ts_bridge, names_aac_that_adts_cannot_say) {
  for (const char* config : {"f8e85000", "1214", "17807d0090"}) {  // ELD; 960 samples; a rate of 64,001 Hz
    harness h;
    h.put(audio(0, bytes{0xAF, 0} + hex(config)));
    EXPECT_TRUE(h.put(audio(0, aac({1}))).empty()) << config;
    EXPECT_FALSE(h.bridge.can_carry_anything());
    EXPECT_EQ(h.bridge.left_out(), std::vector<std::string>{"audio AAC"}) << config;
    EXPECT_EQ(h.bridge.broken(), 0u);
  }
}

TEST(ts_bridge, gathers_sound_where_that_is_asked_for) {
  harness h({.audio_pes_ms = 100});
  h.put(aac_header);
  std::vector<pes> got;
  for (uint32_t i = 0; i < 6; ++i) {
    for (auto& p : h.put(audio(i * 23, aac({static_cast<uint8_t>(i)})))) got.push_back(std::move(p));
  }
  ASSERT_EQ(got.size(), 1u) << "0, 23, 46, 69, 92; with 115 they are 100 ms old";
  EXPECT_EQ(got[0].pts, at_ms(0));
  EXPECT_EQ(got[0].payload.size(), 5 * 8u);
  const auto rest = h.flush();
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].pts, at_ms(115));
  EXPECT_TRUE(h.flush().empty());
  h.put(audio(138, aac({1})));
  EXPECT_EQ(h.put(audio(100, aac({1}))).size(), 1u) << "time went back";
  EXPECT_EQ(h.put(aac_header).size(), 1u) << "what waits was made under the old header";
}

TEST(ts_bridge, tells_mpeg_versions_apart) {
  harness h({.audio_pes_ms = 100});
  const bytes mpeg1 = hex("2f fffb9064 01"), mpeg2 = hex("2f fff36064 01");
  EXPECT_FALSE(h.bridge.can_carry_anything()) << "there is no header that would say so";
  h.put(audio(0, mpeg1));
  EXPECT_TRUE(h.bridge.can_carry_anything());
  EXPECT_EQ(h.put(audio(26, mpeg2)).size(), 1u);
  EXPECT_EQ(h.tracks(), (found{{0x03, audio_pid}}));
  EXPECT_EQ(h.flush().at(0).payload, hex("fff36064 01"));
  EXPECT_EQ(h.tracks(), (found{{0x04, audio_pid}}));
  h.put(audio(52, hex("2f 12345678")));
  EXPECT_EQ(h.bridge.broken(), 1u);
}

TEST(ts_bridge, puts_control_headers_before_opus) {
  harness h;
  h.put(audio(0, bytes{0x90} + "Opus" + golden("codec/opus_51.opushead.hex")));
  const auto got = h.put(audio(0, bytes{0x91} + "Opus" + bytes(510, 9)));
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].payload, hex("7fe0ffff00") + bytes(510, 9));
  EXPECT_EQ(bytes(h.pmt.begin() + 18, h.pmt.begin() + 28), hex("05044f7075737f028006")) << "6 channels";
  // A mapping that is not Vorbis's.
  harness other;
  other.put(audio(0, bytes{0x90} + "Opus" + hex("4f70757348656164 01 02 0000 80bb0000 0000 01 0200 0001")));
  EXPECT_EQ(other.bridge.left_out(), std::vector<std::string>{"audio Opus"});
  EXPECT_EQ(other.bridge.broken(), 0u);
}

TEST(ts_bridge, reads_ac3_from_its_frames) {
  const struct {
    const char *fourcc, *file;
    int type;
  } cases[] = {{"ac-3", "codec/ac3_51_448k_48000.frame.hex", 0x81},
               {"ec-3", "codec/eac3_stereo_96k_48000.frame.hex", 0x87}};
  for (const auto& c : cases) {
    harness h;
    const bytes data = golden(c.file);
    const auto got = h.put(audio(0, bytes{0x91} + c.fourcc + data));
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(got[0].payload, data);
    EXPECT_EQ(h.tracks(), (found{{c.type, audio_pid}}));
  }
}

TEST(ts_bridge, takes_the_lowest_track_of_each_kind) {
  harness h;
  const auto track = [](uint8_t id, uint8_t packet, const bytes& body) {
    return bytes{static_cast<uint8_t>(0x96), packet} + "avc1" + bytes{id} + body;
  };
  h.put(video(0, track(2, 0x00, avcc)));
  h.put(video(0, track(1, 0x00, avcc)));
  EXPECT_TRUE(h.put(video(0, track(2, 0x01, bytes{0, 0, 0} + unit(idr)))).empty());
  EXPECT_EQ(h.put(video(0, track(1, 0x01, bytes{0, 0, 0} + unit(idr)))).size(), 1u);
  EXPECT_EQ(h.bridge.left_out(), std::vector<std::string>{"video track 2"});
  // Several tracks in a message: the first one's bytes only.
  const bytes one = bytes{0, 0, 0} + unit(slice);
  const auto got = h.put(video(40, bytes{0xA6, 0x11} + "avc1" + bytes{1, 0, 0, static_cast<uint8_t>(one.size())} + one +
                                       bytes{2, 0, 0, 1, 0xFF}));
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].payload, avc_delimiter + start_code + slice);
}

TEST(ts_bridge, drops_and_counts_what_is_broken) {
  harness h;
  uint64_t broken = 0;
  const auto drops = [&](const frame& f, const char* what) {
    EXPECT_TRUE(h.put(f).empty()) << what;
    EXPECT_EQ(h.bridge.broken(), ++broken) << what;
  };
  drops(video(0, avc_key(unit(idr))), "no header yet");
  drops(video(0, {0x17, 0, 0, 0, 0}), "an empty header");
  drops(audio(0, aac({1})), "no header yet");
  drops(audio(0, {0xAF, 0, 0}), "a header that is cut");
  h.put(avc_header);
  h.put(aac_header);
  drops(video(0, {0x17, 0, 0, 0, 0, 1}), "another one that is cut: the first holds");
  drops(video(0, {}), "no tag");
  drops(video(0, {0x17, 1}), "a cut tag");
  drops(video(0, avc_key({0, 0, 0, 9, 0x65})), "a length too large");
  drops(video(0, avc_key({})), "no unit");
  drops(video(0, avc_key(unit({0x09, 0xF0}))), "nothing but a delimiter");
  drops(audio(0, aac({})), "no frame");
  bytes many;
  for (int i = 0; i < 4097; ++i) many = std::move(many) + unit({0x41});
  drops(video(0, avc_key(many)), "too many units");
  EXPECT_EQ(h.put(video(0, avc_key(bytes(many.begin() + 5, many.end())))).size(), 1u);
  EXPECT_EQ(h.put(audio(0, aac({1}))).size(), 1u);
  // What is no media is nothing to be counted.
  for (const frame& f :
       {make(rtmp::data_amf0, 0, {2, 0, 1, 'x'}), audio(0, {}), video(0, {0x57, 0}), make(0x63, 0, {1})})
    EXPECT_TRUE(h.put(f).empty());
  EXPECT_EQ(h.bridge.broken(), broken);
}

TEST(ts_bridge, takes_a_hubs_headers) {
  ts_bridge b;
  b.headers({make(rtmp::data_amf0, 0, {2, 0, 1, 'x'}), avc_header, aac_header});
  EXPECT_TRUE(b.can_carry_anything());
  EXPECT_EQ(b.broken(), 0u);
}

TEST(ts_bridge, segments_are_the_same_whatever_was_before) {
  const bytes file = golden("flv/h264_aac.flv");
  const auto segments = [&](size_t skipped) {
    flv::reader in;
    base::bytes_view rest(file);
    ts_bridge b({.audio_pes_ms = 100});
    std::vector<bytes> all(1);
    size_t keys = 0;
    for (auto tag = in.next(rest); tag && *tag; tag = in.next(rest)) {
      const frame f =
          make((*tag)->type, (*tag)->timestamp, {(*tag)->body.data(), (*tag)->body.data() + (*tag)->body.size()});
      if (f.keyframe && ++keys > skipped) {
        b.flush(all.back());
        all.emplace_back();
        b.begin_segment();
      }
      if (f.header || keys > skipped) b.write(f, all.back());
    }
    b.flush(all.back());
    EXPECT_EQ(b.broken(), 0u);
    return all;
  };
  const auto all = segments(0), late = segments(1);
  ASSERT_EQ(all.size(), 3u);
  ASSERT_EQ(late.size(), 2u);
  EXPECT_TRUE(all[0].empty());
  EXPECT_EQ(all[2], late[1]);
  EXPECT_FALSE(late[1].empty());
}

}  // namespace
}  // namespace sluice::media::test
