// A client and a server session joined in memory: every message that one publishes or serves reaches the other
// unchanged, whatever the link does to the bytes.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "proto/rtmp/wire.hpp"
#include "scenario/rtmp_link.hpp"

namespace sluice::scenario {
namespace {

using namespace std::chrono_literals;
using rtmp::client_event;
using rtmp::client_intent;
using rtmp::client_request;
using rtmp::message;
using rtmp::server_event;
using rtmp::session_config;

struct sample {
  uint8_t type;
  uint32_t timestamp;
  std::vector<uint8_t> payload;
  bool operator==(const sample&) const = default;
};

sample sample_of(const message& m) {
  const auto v = m.payload.view();
  return {m.type, m.timestamp, {v.begin(), v.end()}};
}

/// Media with sizes around every boundary, and timestamps that pass 0xFFFFFF and 2^32.
std::vector<sample> make_samples(std::mt19937_64& random, size_t count) {
  static constexpr uint32_t starts[] = {0, 0xFFFFFF - 2000, 0xFFFFFFFF - 20'000, 0x7FFFFFFF - 5000};
  static constexpr uint8_t types[] = {rtmp::audio, rtmp::video, rtmp::video, rtmp::data_amf0, rtmp::data_amf3, 33};
  uint32_t time = starts[random() % std::size(starts)];
  std::vector<sample> out;
  for (size_t i = 0; i < count; ++i) {
    size_t size = 1 + random() % 900;
    if (random() % 16 == 0) size = 60'000 + random() % 3 - 1;
    if (random() % 64 == 0) size = random() % 300'000;
    if (random() % 64 == 0) size = 0;
    sample s{types[random() % std::size(types)], time, std::vector<uint8_t>(size)};
    for (size_t k = 0; k < size; k += 7) s.payload[k] = static_cast<uint8_t>(random());
    out.push_back(std::move(s));
    time += static_cast<uint32_t>(random() % 50);
  }
  return out;
}

client_request request_for(client_intent intent) {
  client_request r;
  r.intent = intent;
  r.app = "live";
  r.tc_url = "rtmp://media.example.com/live";
  r.name = "stream?token=a";
  return r;
}

/// What the driver of a server does, as far as these tests need one.
struct answering_server {
  session_pair& link;
  std::vector<sample> got;
  uint32_t stream = 0;
  std::string name;
  bool playing = false, closed = false;

  void drain() {
    while (auto e = link.server.next_event()) std::visit([&](auto& v) { on(v); }, *e);
  }
  void on(rtmp::connect_request& r) {
    EXPECT_EQ(r.app, "live");
    EXPECT_EQ(r.tc_url, "rtmp://media.example.com/live");
    link.server.accept_connect({{"sluice", "here"}});
  }
  void on(rtmp::publish_request& r) {
    stream = r.stream_id;
    name = r.name;
    link.server.accept_publish(stream);
  }
  void on(rtmp::play_request& r) {
    stream = r.stream_id;
    name = r.name;
    playing = true;
    link.server.accept_play(stream);
  }
  void on(rtmp::media_message& m) { got.push_back(sample_of(m.msg)); }
  void on(rtmp::stream_closed&) { closed = true; }
  void on(rtmp::pause_request&) {}
  void on(rtmp::receive_request&) {}
};

class rtmp_pair : public testing::TestWithParam<uint64_t> {};

TEST_P(rtmp_pair, publishes_every_message_unchanged) {
  std::mt19937_64 random(GetParam());
  session_config config;
  const auto samples = make_samples(random, 1500);
  session_pair link(config, request_for(client_intent::publish), GetParam());
  answering_server server{link};
  bool connected = false, started = false;
  size_t sent = 0;
  for (;;) {
    auto more = link.step();
    ASSERT_TRUE(more) << more.error().reason;
    server.drain();
    while (auto e = link.client.next_event()) {
      if (auto* c = std::get_if<rtmp::client_connected>(&*e)) {
        connected = true;
        ASSERT_TRUE(c->information.find("sluice"));
      }
      started |= std::holds_alternative<rtmp::client_started>(*e);
    }
    for (size_t n = random() % 20; started && n > 0 && sent < samples.size(); --n, ++sent) {
      const auto& s = samples[sent];
      link.client.send_message(s.type, 4 + s.type % 3, s.timestamp, s.payload);
    }
    if (!*more && (sent == samples.size() || !started)) break;
  }
  ASSERT_TRUE(connected && started);
  EXPECT_EQ(server.name, "stream?token=a");
  EXPECT_EQ(link.client.stream_id(), server.stream);
  EXPECT_TRUE(link.server.publishing());
  ASSERT_EQ(server.got.size(), samples.size());
  for (size_t i = 0; i < samples.size(); ++i) ASSERT_TRUE(server.got[i] == samples[i]) << i;
  EXPECT_GT(link.client.acknowledged(), 0u);

  link.client.close_stream();
  for (auto more = link.step(); more && *more; more = link.step()) server.drain();
  EXPECT_TRUE(server.closed);
  EXPECT_FALSE(link.server.publishing());
}

TEST_P(rtmp_pair, plays_every_message_unchanged) {
  std::mt19937_64 random(GetParam());
  session_config config;
  config.chunk_size_out = 128 + static_cast<uint32_t>(random() % 60'000);
  const auto samples = make_samples(random, 1500);
  session_pair link(config, request_for(client_intent::play), GetParam());
  answering_server server{link};
  std::vector<sample> got;
  bool started = false;
  size_t sent = 0;
  for (;;) {
    auto more = link.step();
    ASSERT_TRUE(more) << more.error().reason;
    server.drain();
    while (auto e = link.client.next_event()) {
      started |= std::holds_alternative<rtmp::client_started>(*e);
      if (auto* m = std::get_if<rtmp::media_message>(&*e)) {
        ASSERT_TRUE(started);
        EXPECT_EQ(m->msg.stream_id, server.stream);
        got.push_back(sample_of(m->msg));
      }
    }
    for (size_t n = random() % 20; server.playing && n > 0 && sent < samples.size(); --n, ++sent) {
      const auto& s = samples[sent];
      // As a fan-out does it: serialised once, written in parts wherever the socket stops.
      const auto wire = rtmp::wire_message::serialise(base::slice::copy_of(s.payload, rtmp::message_headroom), s.type,
                                                      s.timestamp, 6, server.stream, config.chunk_size_out);
      for (size_t offset = 0; offset < wire.size();) {
        iovec parts[4];
        size_t taken = 0;
        const size_t count = wire.gather(offset, parts, 0, &taken);
        for (size_t i = 0; i < count; ++i) {
          link.server.output().append({static_cast<const uint8_t*>(parts[i].iov_base), parts[i].iov_len});
        }
        offset += taken;
      }
    }
    if (!*more && (sent == samples.size() || !server.playing)) break;
  }
  ASSERT_TRUE(started);
  ASSERT_EQ(got.size(), samples.size() + 1);  // |RtmpSampleAccess comes first
  EXPECT_EQ(got[0].type, rtmp::data_amf0);
  for (size_t i = 0; i < samples.size(); ++i) ASSERT_TRUE(got[i + 1] == samples[i]) << i;
}

INSTANTIATE_TEST_SUITE_P(seeds, rtmp_pair, testing::Range<uint64_t>(1, 9));

}  // namespace
}  // namespace sluice::scenario
