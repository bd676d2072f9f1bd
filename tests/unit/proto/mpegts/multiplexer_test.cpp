#include "proto/mpegts/multiplexer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "golden/golden.hpp"

namespace sluice::mpegts::test {
namespace {

using bytes = std::vector<uint8_t>;

bytes filler(size_t size, uint8_t serial = 0) {
  bytes b(size);
  for (size_t i = 0; i < size; ++i) b[i] = static_cast<uint8_t>(i * 7 + serial);
  return b;
}

// Packets of one PID put together again, as far as these tests need: tests/e2e/lib/tscheck.py is the strict reader.
struct packet {
  uint16_t pid = 0;
  bool start = false, discontinuity = false, random_access = false, has_payload = false;
  uint8_t counter = 0;
  std::optional<uint64_t> pcr;
  bytes payload;
};

std::vector<packet> read(const bytes& ts) {
  std::vector<packet> all;
  EXPECT_EQ(ts.size() % packet_size, 0u);
  for (size_t at = 0; at + packet_size <= ts.size(); at += packet_size) {
    const base::bytes_view p = base::bytes_view(ts).subspan(at, packet_size);
    packet out;
    EXPECT_EQ(p[0], 0x47);
    out.start = p[1] & 0x40;
    out.pid = static_cast<uint16_t>((p[1] & 0x1F) << 8 | p[2]);
    out.counter = p[3] & 15;
    out.has_payload = p[3] & 0x10;
    size_t payload = 4;
    if (p[3] & 0x20) {
      payload += 1 + size_t{p[4]};
      EXPECT_LE(payload, out.has_payload ? packet_size - 1 : packet_size);
      if (p[4] > 0) {
        out.discontinuity = p[5] & 0x80;
        out.random_access = p[5] & 0x40;
        base::byte_reader pcr(p.subspan(6, 6));
        if (p[5] & 0x10) out.pcr = (uint64_t{pcr.u32()} << 16 | pcr.u16()) >> 15;
      }
    }
    out.payload.assign(p.begin() + static_cast<ptrdiff_t>(payload), p.end());
    all.push_back(std::move(out));
  }
  return all;
}

bytes payload_of(const std::vector<packet>& all, uint16_t pid) {
  bytes out;
  for (const packet& p : all) {
    if (p.pid == pid) out.insert(out.end(), p.payload.begin(), p.payload.end());
  }
  return out;
}

size_t count(const std::vector<packet>& all, uint16_t pid) {
  return static_cast<size_t>(std::count_if(all.begin(), all.end(), [&](const packet& p) { return p.pid == pid; }));
}

const program both{track{content::h264}, track{content::aac_adts}};
const program sound{std::nullopt, track{content::aac_adts}};

struct muxer : multiplexer {
  explicit muxer(const program& p) { set_program(p); }
  std::vector<packet> put(kind k, ticks pts, ticks dts, base::bytes_view data, bool random_access = false) {
    bytes out;
    const base::bytes_view parts[] = {data.first(data.size() / 3), {}, data.subspan(data.size() / 3)};
    EXPECT_TRUE(write(k, {pts, dts, random_access, parts}, out));
    return read(out);
  }
  std::vector<packet> video(ticks dts, bool key = false) { return put(kind::video, dts, dts, filler(50), key); }
  std::vector<packet> audio(ticks dts) { return put(kind::audio, dts, dts, filler(50)); }
};

constexpr ticks ms(uint64_t n) { return n * ticks_per_ms; }

TEST(table, crc_of_the_catalogue) {
  EXPECT_EQ(crc32(base::as_bytes("123456789")), 0x0376E6E7u) << "CRC-32/MPEG-2's check value";
}

// Both tables as ffmpeg 5.1's muxer writes them for H.264 and AAC: `ffmpeg -i clip.flv -c copy -f mpegts`.
TEST(table, pat) { EXPECT_EQ(pat_section(), sluice::test::hex("00b00d0001c100000001f0002ab104b2")); }

TEST(table, pmt_of_each_content) {
  EXPECT_EQ(pmt_section(both, 0), sluice::test::hex("02b0170001c10000e100f0001be100f0000fe101f0002f44b99b"));
  const struct {
    content c;
    const char* entry;
  } cases[] = {
      {content::mpeg1_audio, "03e101f000"},
      {content::mpeg2_audio, "04e101f000"},
      {content::opus, "06e101f00a05044f7075737f028002"},
      {content::ac3, "81e101f006050441432d33"},
      {content::eac3, "87e101f006050445414333"},
  };
  for (const auto& c : cases) {
    const uint8_t channels = c.c == content::opus ? 2 : 0;
    const bytes section = pmt_section({std::nullopt, track{c.c, channels}}, 5);
    EXPECT_EQ(bytes(section.begin() + 12, section.end() - 4), sluice::test::hex(c.entry));
    EXPECT_EQ(section[5], 0xC1 | 5 << 1);
    EXPECT_EQ(section[8] << 8 | section[9], 0xE000 | audio_pid) << "audio has the PCR where there is no video";
    EXPECT_EQ(crc32(section), 0u);
    EXPECT_LE(section.size(), 64u);
  }
}

TEST(multiplexer, first_packets_byte_for_byte) {
  muxer m(both);
  bytes out;
  const bytes data{0xAA, 0xBB, 0xCC};
  const base::bytes_view parts[] = {data};
  ASSERT_TRUE(m.write(kind::video, {ms(580), ms(540), true, parts}, out));
  ASSERT_EQ(out.size(), 3 * packet_size);
  // Header with PUSI; adaptation of 161 bytes: random access, PCR 3600; PES header with PTS 52200 and DTS 48600.
  bytes expected = sluice::test::hex(
      "4741003000"
      "50000007087e00");
  expected[4] = 161;
  expected.insert(expected.end(), 161 - 7, 0xFF);
  const bytes pes = sluice::test::hex("000001e0000084c00a 31000397d1 1100037bb1 aabbcc");
  expected.insert(expected.end(), pes.begin(), pes.end());
  EXPECT_EQ(bytes(out.begin() + 2 * packet_size, out.end()), expected);
}

// Every size around the places where a packet more is needed, or stuffing has 0, 1 or 2 bytes.
TEST(multiplexer, carries_every_size) {
  for (const bool key : {false, true}) {
    for (size_t size = 0; size <= 600; ++size) {
      muxer m(both);
      m.video(ms(1000), true);
      const bytes data = filler(size, 3);
      const auto v = m.put(kind::video, ms(1060), ms(1020), data, key);
      bytes got = payload_of(v, video_pid);
      ASSERT_EQ(got.size(), 19 + size);
      ASSERT_EQ(bytes(got.begin() + 19, got.end()), data);
      ASSERT_EQ(got[4] << 8 | got[5], 0) << "unbounded";
      const size_t adaptation = key ? 8 : 0;
      ASSERT_EQ(count(v, video_pid), (19 + size + adaptation + 183) / 184) << size;

      const auto a = m.put(kind::audio, ms(1020), ms(1020), data);
      got = payload_of(a, audio_pid);
      ASSERT_EQ(bytes(got.begin() + 14, got.end()), data);
      ASSERT_EQ(got[4] << 8 | got[5], 3 + 5 + size) << "PES_packet_length";
    }
  }
}

TEST(multiplexer, refuses_what_it_cannot_carry) {
  muxer m(sound);
  bytes out;
  const bytes data = filler(multiplexer::audio_unit_bytes_max + 1);
  const base::bytes_view all[] = {data};
  EXPECT_FALSE(m.write(kind::audio, {0, 0, false, all}, out));
  EXPECT_FALSE(m.write(kind::video, {0, 0, false, {}}, out)) << "no such track";
  EXPECT_TRUE(out.empty());
  const base::bytes_view most[] = {base::bytes_view(data).subspan(1)};
  EXPECT_TRUE(m.write(kind::audio, {0, 0, false, most}, out));
  EXPECT_FALSE(multiplexer().write(kind::audio, {0, 0, false, most}, out)) << "no programme yet";
}

TEST(multiplexer, counts_each_pid_modulo_16) {
  muxer m(both);
  std::array<uint8_t, 0x1001> next{};
  for (unsigned i = 0; i < 100; ++i) {
    for (const auto& all :
         {m.put(kind::video, ms(i * 40), ms(i * 40), filler(500), i % 25 == 0), m.audio(ms(i * 40))}) {
      for (const packet& p : all) {
        ASSERT_EQ(p.counter, p.has_payload ? next[p.pid] : (next[p.pid] - 1) & 15);
        if (p.has_payload) next[p.pid] = (next[p.pid] + 1) & 15;
      }
    }
  }
}

uint64_t pts_of(const bytes& pes) {
  base::byte_reader in(base::bytes_view(pes).subspan(9));
  const uint64_t high = in.u8() >> 1 & 7, middle = in.u16() >> 1, low = in.u16() >> 1;
  return high << 30 | middle << 15 | low;
}

TEST(multiplexer, timestamps_wrap_at_33_bits) {
  constexpr uint64_t wrap = uint64_t{1} << 33;
  muxer m(sound);
  const ticks start = wrap + pcr_lead - ms(60);
  std::optional<uint64_t> last;
  for (unsigned i = 0; i < 60; ++i) {
    const ticks t = start + ms(i * 20);
    for (const packet& p : m.audio(t)) {
      EXPECT_FALSE(p.discontinuity);
      if (p.pid == audio_pid && p.start) {
        EXPECT_EQ(pts_of(p.payload), t % wrap);
      }
      if (!p.pcr) continue;
      EXPECT_LT(*p.pcr, wrap);
      if (last) {
        EXPECT_LE((*p.pcr - *last) % wrap, pcr_interval_max);
      }
      last = p.pcr;
    }
  }
  EXPECT_LT(*last, ms(1200)) << "it did wrap";
}

TEST(multiplexer, tables_come_first_at_keyframes_and_in_time) {
  muxer m(both);
  unsigned since = 0;
  for (unsigned t = 0; t < 10'000; t += 40) {
    const bool key = t % 2000 == 0;
    const auto all = m.video(ms(t), key);
    const bool tables = all[0].pid == pat_pid;
    if (key) {
      EXPECT_TRUE(tables);
    }
    if (tables) {
      EXPECT_EQ(all[1].pid, pmt_pid);
      since = t;
    }
    EXPECT_LT(t - since, 500u);
  }
}

TEST(multiplexer, two_keyframes_at_one_time_share_their_tables) {
  muxer m(both);
  EXPECT_EQ(count(m.video(ms(0), true), pat_pid), 1u);
  EXPECT_EQ(count(m.video(ms(0), true), pat_pid), 0u);
}

// Whatever the distance of the access units, PCRs are close enough, only grow, and stay behind each DTS.
TEST(multiplexer, pcr_is_regular) {
  for (const unsigned distance : {1u, 16u, 33u, 40u, 91u, 100u, 250u, 999u, 9999u}) {
    for (const program& p : {both, sound}) {
      muxer m(p);
      std::optional<uint64_t> last;
      for (unsigned i = 1; i < 40; ++i) {
        const ticks t = ms(5000) + i * ms(distance);
        const auto all = p.video ? m.video(t, i % 10 == 1) : m.audio(t);
        for (const packet& one : all) {
          EXPECT_FALSE(one.discontinuity);
          if (!one.pcr) continue;
          EXPECT_EQ(one.pid, p.video ? video_pid : audio_pid);
          if (last) {
            EXPECT_GT(*one.pcr, *last);
            EXPECT_LE(*one.pcr - *last, ms(100));
          }
          last = one.pcr;
        }
        ASSERT_TRUE(last);
        EXPECT_LE(*last, t - pcr_lead);
        EXPECT_LE(t - pcr_lead - *last, ms(100));
      }
    }
  }
}

TEST(multiplexer, sound_drives_the_clock_while_video_pauses) {
  muxer m(both);
  m.video(ms(1000), true);
  size_t pcrs = 0;
  for (unsigned t = 1000; t < 3000; t += 20) {
    for (const packet& p : m.audio(ms(t))) {
      if (!p.pcr) continue;
      EXPECT_EQ(p.pid, video_pid);
      EXPECT_FALSE(p.has_payload);
      ++pcrs;
    }
  }
  EXPECT_GE(pcrs, 20u);
}

TEST(multiplexer, late_sound_is_no_jump) {
  muxer m(both);
  for (unsigned t = 2000; t < 4000; t += 40) {
    for (const packet& p : m.video(ms(t))) EXPECT_FALSE(p.discontinuity);
    for (const packet& p : m.audio(ms(t - 1500))) EXPECT_FALSE(p.discontinuity || p.pcr);
  }
}

TEST(multiplexer, jumps_are_marked_where_the_new_clock_begins) {
  for (const ticks to : {ms(100), ms(9000 - 501), ms(19'001), ms(10'000'000)}) {
    muxer m(both);
    m.video(ms(9000), true);
    m.audio(ms(9000));
    // The first of the new time base is audio: its clock comes in a packet of the video's PID before it.
    const auto all = m.audio(to);
    ASSERT_EQ(all.size(), 4u);
    EXPECT_EQ(all[0].pid, pat_pid);
    EXPECT_EQ(all[2].pid, video_pid);
    EXPECT_TRUE(all[2].discontinuity && all[2].pcr && !all[2].has_payload);
    EXPECT_EQ(*all[2].pcr, (to - pcr_lead) % (uint64_t{1} << 33));
    for (const packet& p : m.video(to + ms(10))) EXPECT_FALSE(p.discontinuity);
  }
}

TEST(multiplexer, discontinuity_on_request) {
  muxer m(both);
  m.discontinuity();
  for (const packet& p : m.video(ms(1000), true)) EXPECT_FALSE(p.discontinuity) << "there was nothing before";
  m.discontinuity();
  const auto all = m.video(ms(1040));
  EXPECT_EQ(all[0].pid, pat_pid);
  EXPECT_TRUE(all[2].discontinuity && all[2].pcr);
  for (const packet& p : m.video(ms(1080))) EXPECT_FALSE(p.discontinuity);
}

uint8_t version_of(const std::vector<packet>& all) {
  for (const packet& p : all) {
    if (p.pid == pmt_pid) return p.payload[6] >> 1 & 31;
  }
  return 255;
}

TEST(multiplexer, another_programme_raises_the_version) {
  muxer m(sound);
  m.set_program(both);
  EXPECT_EQ(version_of(m.video(ms(1000), true)), 0) << "nobody has seen the first one";
  m.set_program(both);
  EXPECT_EQ(version_of(m.video(ms(1040))), 255);
  for (unsigned i = 1; i < 70; ++i) {
    m.set_program(i % 2 ? sound : both);
    EXPECT_EQ(version_of(m.audio(ms(1040 + i * 20))), i % 32);
  }
}

TEST(multiplexer, a_new_pcr_pid_has_a_clock_at_once) {
  muxer m(sound);
  m.audio(ms(1000));
  m.set_program(both);
  const auto all = m.audio(ms(1020));
  EXPECT_EQ(all[2].pid, video_pid);
  EXPECT_TRUE(all[2].pcr && !all[2].discontinuity);
}

TEST(multiplexer, a_segment_depends_on_nothing_before_it) {
  const auto segment = [](muxer& m) {
    bytes out;
    const bytes data = filler(700);
    const base::bytes_view parts[] = {data};
    for (unsigned i = 0; i < 100; ++i) {
      const ticks t = ms(50'000 + i * 40);
      m.write(kind::video, {t + ms(80), t, i % 50 == 0, parts}, out);
      m.write(kind::audio, {t, t, false, parts}, out);
    }
    return out;
  };
  muxer fresh(both);
  fresh.begin_segment();
  const bytes expected = segment(fresh);
  muxer used(sound);
  used.audio(ms(77));
  used.set_program(both);
  for (unsigned i = 0; i < 33; ++i) used.video(ms(49'000 + i * 40), i == 7);
  used.discontinuity();
  used.begin_segment();
  EXPECT_EQ(segment(used), expected);
  const auto all = read(expected);
  EXPECT_EQ(all[0].pid, pat_pid);
  EXPECT_EQ(all[1].pid, pmt_pid);
  EXPECT_EQ(all[2].counter, 0);
}

}  // namespace
}  // namespace sluice::mpegts::test
