#include "unit/proto/rtmp/server_fixture.hpp"

namespace sluice::rtmp::test {
namespace {

// ---- control messages: faults rows 8, 9 ----

TEST_F(server, acknowledges_every_half_window) {
  connected();
  feed(peer::number(window_ack_size, 1000));
  client.heard(session.output());
  int acks = 0;
  uint64_t last = 0;
  for (int i = 0; i < 100; ++i) {
    feed(peer::message(video, 9, 0, counted(86)));  // 98 bytes
    for (const auto& m : client.heard(session.output())) {
      ASSERT_EQ(m.type, acknowledgement);
      base::byte_reader in(m.payload.view());
      last = in.u32();
      EXPECT_EQ(last, session.bytes_received());
      ++acks;
    }
  }
  EXPECT_GE(acks, 16);
  EXPECT_LE(acks, 20);
}

TEST_F(server, a_window_of_zero_or_one_neither_stalls_nor_grows) {
  connected();
  feed(peer::number(window_ack_size, 0));
  for (int i = 0; i < 100; ++i) feed(peer::message(video, 9, 0, counted(1000)));
  EXPECT_TRUE(session.output().empty());
  feed(peer::number(window_ack_size, 1));
  for (int i = 0; i < 20'000; ++i) feed(peer::message(video, 9, 0, counted(1)));  // ... and never reads
  EXPECT_LE(session.output().size(), 65u * 1024);
  EXPECT_GT(session.output().size(), 60u * 1024);
}

TEST_F(server, answers_pings_but_not_without_bound) {
  connected();
  feed(peer::user_control(6, 0x01020304));
  const auto got = client.heard(session.output());
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(plain(got[0]), (plain_message{user_control, 0, 0, sluice::test::hex("0007 01020304")}));
  for (int i = 0; i < 20'000; ++i) feed(peer::user_control(6, 1) + peer::command("nonsense", 7, {amf0::value()}));
  EXPECT_LE(session.output().size(), 65u * 1024);
}

TEST_F(server, pings_and_hears_the_answer) {
  connected();
  session.send_ping(start + 1500ms);
  const auto got = client.heard(session.output());
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(plain(got[0]), (plain_message{user_control, 0, 0, sluice::test::hex("0006 000005dc")}));
  now += 2s;
  EXPECT_EQ(session.last_pong(), start);
  feed(peer::user_control(7, 1500));
  EXPECT_EQ(session.last_pong(), now);
}

TEST_F(server, remembers_what_the_client_acknowledged) {
  connected();
  feed(peer::number(acknowledgement, 123456));
  EXPECT_EQ(session.acknowledged(), 123456u);
}

TEST_F(server, answers_a_peer_bandwidth_with_a_window_once) {
  connected();
  feed(peer::number(set_peer_bandwidth, 5000) + peer::number(set_peer_bandwidth, 5000));
  const auto got = client.heard(session.output());
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(plain(got[0]), (plain_message{window_ack_size, 0, 0, sluice::test::hex("00001388")}));
}

TEST_F(server, control_messages_that_are_too_short_are_refused) {
  for (uint8_t type : bytes{acknowledgement, window_ack_size, set_peer_bandwidth}) {
    server_session fresh(config, start, 1);
    auto ok = fresh.receive(peer::handshake() + peer::message(type, 0, 0, counted(3)), now);
    ASSERT_FALSE(ok);
    EXPECT_EQ(ok.error().reason, "bad_control_message");
  }
  for (const char* payload : {"00", "0006", "0006000000"}) {
    server_session fresh(config, start, 1);
    auto ok = fresh.receive(peer::handshake() + peer::message(user_control, 0, 0, sluice::test::hex(payload)), now);
    ASSERT_FALSE(ok);
    EXPECT_EQ(ok.error().reason, "bad_control_message");
  }
}

// ---- time: faults row 1 ----

TEST_F(server, a_handshake_that_drips_is_closed_in_time_with_little_memory) {
  EXPECT_EQ(session.deadline(), start + 5s);
  for (int i = 0; i < 4; ++i) {
    now += 1s;
    feed({static_cast<uint8_t>(i == 0 ? 3 : 0)});
    EXPECT_EQ(session.deadline(), start + 5s) << "bytes do not move it";
    EXPECT_TRUE(session.on_timeout(now));
  }
  auto ok = session.on_timeout(start + 5s);
  ASSERT_FALSE(ok);
  EXPECT_EQ(ok.error().reason, "handshake_timeout");
  EXPECT_TRUE(session.output().empty());
}

TEST_F(server, a_client_that_only_connects_is_closed) {
  now += 3s;
  feed(peer::handshake());
  EXPECT_EQ(session.deadline(), now + 10s);
  EXPECT_TRUE(session.handshake_done());
  now += 4s;
  feed(connect_command());
  EXPECT_EQ(session.deadline(), base::never) << "it is our turn";
  now += 20s;
  EXPECT_TRUE(session.on_timeout(now));
  session.accept_connect();
  EXPECT_TRUE(session.on_timeout(now)) << "our time was not the client's";
  EXPECT_EQ(session.deadline(), now + 10s);
  now += 9s;
  feed(peer::user_control(7, 0));
  EXPECT_EQ(session.deadline(), now + 1s) << "bytes do not move it";
  auto ok = session.on_timeout(now + 1s);
  ASSERT_FALSE(ok);
  EXPECT_EQ(ok.error().reason, "command_timeout");
}

TEST_F(server, a_control_connection_may_stay) {
  connected();
  session.allow_idle();
  EXPECT_EQ(session.deadline(), base::never);
  EXPECT_TRUE(session.on_timeout(now + 1000s));
}

TEST_F(server, a_silent_publisher_is_closed) {
  connected();
  const auto id = publishing();
  EXPECT_EQ(session.deadline(), now + 30s);
  now += 29s;
  feed(peer::message(audio, id, 0, counted(3)));
  EXPECT_EQ(session.deadline(), now + 30s);
  now += 20s;
  feed(peer::user_control(7, 0));
  EXPECT_EQ(session.deadline(), now + 30s) << "a ping's answer is a sign of life";
  auto ok = session.on_timeout(now + 30s);
  ASSERT_FALSE(ok);
  EXPECT_EQ(ok.error().reason, "publisher_idle");
}

TEST_F(server, a_player_may_be_silent_until_it_stops) {
  connected();
  const auto id = playing();
  now += 10000s;
  EXPECT_EQ(session.deadline(), base::never);
  feed(peer::command("closeStream", 0, {amf0::value()}, id));
  next<stream_closed>();
  EXPECT_EQ(session.deadline(), now + 10s);
}

// ---- E-RTMP ----

TEST_F(server, asks_for_a_reconnect_if_the_client_can) {
  connected({{"capsEx", 1}});
  EXPECT_TRUE(session.request_reconnect("rtmp://other/live", "draining"));
  const auto got = client.heard(session.output());
  ASSERT_EQ(got.size(), 1u);
  const auto c = parse_command(got[0]).value();
  EXPECT_EQ(c.name, "onStatus");
  EXPECT_EQ(c.argument(0).find("code")->string_or(""), "NetConnection.Connect.ReconnectRequest");
  EXPECT_EQ(c.argument(0).find("tcUrl")->string_or(""), "rtmp://other/live");
  EXPECT_EQ(got[0].stream_id, 0u);
}

TEST_F(server, does_not_ask_others) {
  connected({{"capsEx", 2}});
  EXPECT_FALSE(session.request_reconnect("", ""));
  EXPECT_TRUE(session.output().empty());
}

// ---- recorded clients ----

struct recording {
  const char* file;
  bool publishes;
  const char* name;
  const char* flash_ver;
  size_t media;
};
class recorded_client : public testing::TestWithParam<recording> {};

strings replay(const std::vector<base::bytes_view>& pieces) {
  session_config config;
  server_session session(config, start, 1);
  strings out;
  for (auto p : pieces) {
    const bytes copy(p.begin(), p.end());
    if (auto ok = session.receive(copy, start); !ok) out.push_back("error " + std::string(ok.error().reason));
    while (auto e = session.next_event()) {
      if (auto* c = std::get_if<connect_request>(&*e)) {
        out.push_back("connect " + c->app + " " + c->flash_ver);
        session.accept_connect();
      } else if (auto* b = std::get_if<publish_request>(&*e)) {
        out.push_back("publish " + b->name);
        session.accept_publish(b->stream_id);
      } else if (auto* l = std::get_if<play_request>(&*e)) {
        out.push_back("play " + l->name);
        session.accept_play(l->stream_id);
      } else if (auto* m = std::get_if<media_message>(&*e)) {
        size_t sum = 0;
        for (uint8_t byte : m->msg.payload.view()) sum = sum * 31 + byte;
        out.push_back("media " + std::to_string(m->msg.type) + " " + std::to_string(m->msg.timestamp) + " " +
                      std::to_string(sum));
      } else if (std::holds_alternative<stream_closed>(*e)) {
        out.push_back("closed");
      }
    }
    session.output().consume(session.output().size());
  }
  return out;
}

/// Up to where a client had to wait for the answer to publish or play: what came later must not be read before it is
/// accepted.
size_t size_of_requests(base::bytes_view all) {
  size_t too_few = 0, enough = all.size();
  while (enough - too_few > 1) {
    const size_t size = (too_few + enough) / 2;
    (replay({all.first(size)}).size() < 2 ? too_few : enough) = size;
  }
  return enough;
}

TEST_P(recorded_client, is_understood_however_its_bytes_are_cut) {
  const auto& expected = GetParam();
  const auto recorded = sluice::test::golden(expected.file);
  const base::bytes_view all(recorded);
  const size_t wait = size_of_requests(all);
  const auto requests = all.first(wait), rest = all.subspan(wait);
  const auto once = replay({requests, rest});
  ASSERT_GE(once.size(), 2u);
  EXPECT_EQ(once[0], std::string("connect live ") + expected.flash_ver);
  EXPECT_EQ(once[1], std::string(expected.publishes ? "publish " : "play ") + expected.name);
  size_t media = 0;
  std::map<char, uint64_t> last_time;  // by type
  for (const auto& line : once) {
    if (!line.starts_with("media ")) continue;
    ++media;
    const uint64_t time = std::stoull(line.substr(line.find(' ', 6)));
    EXPECT_LE(time, 3000u);
    EXPECT_LE(last_time[line[6]], time);
    last_time[line[6]] = time;
  }
  EXPECT_EQ(media, expected.media);
  for_every_cut(
      requests,
      [&](auto pieces) {
        pieces.push_back(rest);
        ASSERT_EQ(replay(pieces), once);
      },
      3);
  for_every_cut(
      rest,
      [&](auto pieces) {
        pieces.insert(pieces.begin(), requests);
        ASSERT_EQ(replay(pieces), once);
      },
      3);
}

INSTANTIATE_TEST_SUITE_P(clients, recorded_client,
                         testing::Values(recording{"rtmp/ffmpeg_publish.bin", true, "s1?tok=1",
                                                   "FMLE/3.0 (compatible; Lavf59.27.100)", 53},
                                         recording{"rtmp/gstreamer_publish.bin", true, "g1", "LNX 10,0,32,18", 11},
                                         recording{"rtmp/ffmpeg_play.bin", false, "s1", "LNX 9,0,124,2", 0},
                                         recording{"rtmp/rtmpdump_play.bin", false, "s1", "LNX 10,0,32,18", 0}),
                         [](const auto& info) {
                           auto name = std::string(info.param.file).substr(5);
                           return name.substr(0, name.find('.'));
                         });

}  // namespace
}  // namespace sluice::rtmp::test
