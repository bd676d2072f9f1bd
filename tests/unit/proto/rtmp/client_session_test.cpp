#include "proto/rtmp/client_session.hpp"

#include <limits>

#include "golden/golden.hpp"
#include "unit/proto/rtmp/support.hpp"

namespace sluice::rtmp::test {
namespace {

using namespace std::chrono_literals;
using base::time_point;
using strings = std::vector<std::string>;

constexpr time_point start{1000s};

client_request request_for(client_intent intent) {
  client_request r;
  r.intent = intent;
  r.app = "live";
  r.tc_url = "rtmp://h/live";
  r.name = "s?k=v";
  return r;
}

std::string describe(const client_event& e) {
  if (std::holds_alternative<client_connected>(e)) return "connected";
  if (std::holds_alternative<client_started>(e)) return "started";
  if (const auto* s = std::get_if<client_status>(&e)) {
    return std::string(s->refused ? "refused " : "status ") + s->level + " " + s->code;
  }
  const auto& m = std::get<media_message>(e).msg;
  return "media " + std::to_string(m.type) + " " + std::to_string(m.timestamp) + " " + std::to_string(m.payload.size());
}

/// A session and, by hand, the server that it talks to.
struct dialogue {
  explicit dialogue(client_request r) : session(config, std::move(r), start, 9) {}

  session_config config;
  client_session session;
  peer server;
  time_point now = start;

  std::string feed(const bytes& b) {
    auto ok = session.receive(b, now);
    return ok ? "" : std::string(ok.error().reason);
  }
  strings heard() { return server.commands_heard(session.output()); }
  strings events() {
    strings out;
    while (auto e = session.next_event()) out.push_back(describe(*e));
    return out;
  }
  static bytes connect_result() {
    return peer::command("_result", 1,
                         {amf0::object{{"fmsVer", "FMS/3,5,3,888"}},
                          amf0::object{{"level", "status"}, {"code", "NetConnection.Connect.Success"}, {"sluice", 1}}});
  }
  static bytes stream_result(double id = 1) { return peer::command("_result", 4, {amf0::value(), id}); }
  static bytes status(const char* level, const char* code, uint32_t stream = 1) {
    return peer::command("onStatus", 0, {amf0::value(), status_object(level, code, "text")}, stream);
  }
  void until_created() {
    EXPECT_EQ(feed(peer::handshake() + connect_result() + stream_result()), "");
    EXPECT_EQ(events(), strings{"connected"});
    heard();
  }
};

TEST(client_session, says_what_an_encoder_says) {
  dialogue d(request_for(client_intent::publish));
  EXPECT_EQ(d.session.output().size(), 1 + handshake_block_size);
  EXPECT_EQ(d.feed(peer::handshake()), "");
  auto got = d.server.heard(d.session.output());
  ASSERT_EQ(got.size(), 1u);
  const auto connect = parse_command(got[0]).value();
  EXPECT_EQ(connect.name, "connect");
  EXPECT_EQ(connect.transaction, 1);
  EXPECT_EQ(connect.object().find("app")->string_or(""), "live");
  EXPECT_EQ(connect.object().find("tcUrl")->string_or(""), "rtmp://h/live");
  EXPECT_TRUE(connect.object().find("flashVer"));
  EXPECT_EQ(connect.values.size(), 1u);

  EXPECT_EQ(d.feed(dialogue::connect_result()), "");
  got = d.server.heard(d.session.output());
  ASSERT_EQ(got.size(), 4u);
  EXPECT_EQ(plain(got[0]), (plain_message{window_ack_size, 0, 0, sluice::test::hex("002625a0")}));
  EXPECT_EQ(d.server.chunk_size(), d.config.chunk_size_out);
  EXPECT_EQ(d.session.chunk_size_out(), d.config.chunk_size_out);
  EXPECT_EQ(peer::describe(got[1]), "releaseStream 2 s?k=v");
  EXPECT_EQ(peer::describe(got[2]), "FCPublish 3 s?k=v");
  EXPECT_EQ(peer::describe(got[3]), "createStream 4");

  EXPECT_EQ(d.feed(dialogue::stream_result(7)), "");
  got = d.server.heard(d.session.output());
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(peer::describe(got[0]), "publish 5 s?k=v");
  EXPECT_EQ(got[0].stream_id, 7u);
  EXPECT_EQ(d.session.stream_id(), 7u);
  EXPECT_EQ(parse_command(got[0]).value().argument(1).string_or(""), "live");
  EXPECT_EQ(d.events(), strings{"connected"});
  EXPECT_EQ(d.feed(dialogue::status("status", "NetStream.Publish.Start", 7)), "");
  EXPECT_EQ(d.events(), strings{"started"});

  d.session.send_message(video, 6, 40, counted(200));
  d.session.send_command("pause", {true, 5.0});
  d.session.close_stream();
  got = d.server.heard(d.session.output());
  ASSERT_EQ(got.size(), 4u);
  EXPECT_EQ(plain(got[0]), (plain_message{video, 7, 40, counted(200)}));
  EXPECT_EQ(peer::describe(got[1]), "pause 0");
  EXPECT_EQ(got[1].stream_id, 7u);
  EXPECT_EQ(peer::describe(got[2]), "FCUnpublish 0 s?k=v");
  EXPECT_EQ(peer::describe(got[3]), "deleteStream 0 7");
}

TEST(client_session, says_what_a_player_says) {
  auto r = request_for(client_intent::play);
  r.play_start = -1000;
  dialogue d(std::move(r));
  EXPECT_EQ(d.feed(peer::handshake() + dialogue::connect_result()), "");
  EXPECT_EQ(d.heard(), (strings{"connect 1", "createStream 4"}));
  EXPECT_EQ(d.feed(dialogue::stream_result()), "");
  const auto got = d.server.heard(d.session.output());
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(plain(got[0]), (plain_message{user_control, 0, 0, sluice::test::hex("0003 00000001 00000bb8")}));
  const auto play = parse_command(got[1]).value();
  EXPECT_EQ(play.name, "play");
  EXPECT_EQ(play.argument(0).string_or(""), "s?k=v");
  EXPECT_EQ(play.argument(1).number_or(0), -1000);
  EXPECT_EQ(play.values.size(), 3u) << "no duration unless one was asked for";
  EXPECT_EQ(
      d.feed(dialogue::status("status", "NetStream.Play.Reset") + dialogue::status("status", "NetStream.Play.Start") +
             peer::message(data_amf0, 1, 0, counted(4)) + peer::message(video, 1, 40, counted(9))),
      "");
  EXPECT_EQ(d.events(), (strings{"connected", "started", "media 18 0 4", "media 9 40 9"}));
}

TEST(client_session, passes_on_a_clients_own_connect) {
  auto r = request_for(client_intent::play);
  r.play_duration = 30;
  r.command_object = amf0::object{{"app", "evil"},
                                  {"tcUrl", "evil"},
                                  {"flashVer", "OBS"},
                                  {"capsEx", 3},
                                  {"sluice", amf0::object{{"session", "x"}}}};
  r.arguments = "further";
  dialogue d(std::move(r));
  EXPECT_EQ(d.feed(peer::handshake()), "");
  const auto got = d.server.heard(d.session.output());
  ASSERT_EQ(got.size(), 1u);
  const auto c = parse_command(got[0]).value();
  EXPECT_EQ(c.object().find("app")->string_or(""), "live");
  EXPECT_EQ(c.object().find("tcUrl")->string_or(""), "rtmp://h/live");
  EXPECT_EQ(c.object().find("flashVer")->string_or(""), "OBS");
  EXPECT_EQ(c.object().find("capsEx")->number_or(0), 3);
  EXPECT_EQ(c.object().find("sluice")->find("session")->string_or(""), "x");
  EXPECT_EQ(c.argument(0).string_or(""), "further");
  EXPECT_EQ(d.feed(dialogue::connect_result() + dialogue::stream_result()), "");
  const auto more = d.server.heard(d.session.output());
  EXPECT_EQ(parse_command(more.back()).value().argument(2).number_or(0), 30);
}

TEST(client_session, passes_on_many_members_each_once) {
  auto r = request_for(client_intent::publish);
  amf0::object o{{"flashVer", "OBS"}};
  for (int i = 0; i < 120; ++i) o.emplace_back("m" + std::to_string(i), i);
  o.emplace_back("type", "other");
  r.command_object = o;
  dialogue d(std::move(r));
  EXPECT_EQ(d.feed(peer::handshake()), "");
  const auto got = d.server.heard(d.session.output());
  ASSERT_EQ(got.size(), 1u);
  const auto c = parse_command(got[0]).value();
  EXPECT_EQ(c.object().members().size(), 4u + 120);
  EXPECT_EQ(c.object().find("flashVer")->string_or(""), "OBS");
  EXPECT_EQ(c.object().find("type")->string_or(""), "other");
  EXPECT_EQ(c.object().find("m119")->number_or(0), 119);
}

TEST(client_session, takes_large_media_of_what_it_plays_only) {
  const auto frame = peer::message(video, 1, 40, counted(200'000));
  dialogue player(request_for(client_intent::play));
  EXPECT_EQ(player.feed(peer::handshake() + frame + dialogue::connect_result() + dialogue::stream_result() + frame),
            "");
  EXPECT_EQ(player.events(), (strings{"connected", "started", "media 9 40 200000"}));
  dialogue publisher(request_for(client_intent::publish));
  publisher.until_created();
  EXPECT_EQ(publisher.feed(frame), "");
  EXPECT_TRUE(publisher.events().empty());
  EXPECT_EQ(publisher.feed(sluice::test::hex("03 000000 010001 14 00000000")), "command_too_large");
}

TEST(client_session, sends_the_address_prefix_before_the_handshake) {
  auto r = request_for(client_intent::play);
  r.prefix = {0xF3, 0, 4, 127, 0, 0, 1};
  dialogue d(std::move(r));
  const auto out = d.session.output().pending();
  ASSERT_EQ(out.size(), 7 + 1 + handshake_block_size);
  EXPECT_EQ(out[0], 0xF3);
  EXPECT_EQ(out[6], 1);
  EXPECT_EQ(out[7], 3);
}

TEST(client_session, first_media_starts_a_play_that_no_status_started) {
  dialogue d(request_for(client_intent::play));
  d.until_created();
  EXPECT_EQ(d.feed(peer::message(audio, 1, 5, counted(2))), "");
  EXPECT_EQ(d.feed(dialogue::status("status", "NetStream.Play.Start")), "");
  EXPECT_EQ(d.events(), (strings{"started", "media 8 5 2"}));
}

TEST(client_session, media_to_a_publisher_or_before_play_is_dropped) {
  dialogue publisher(request_for(client_intent::publish));
  publisher.until_created();
  EXPECT_EQ(publisher.feed(peer::message(audio, 1, 5, counted(2))), "");
  EXPECT_TRUE(publisher.events().empty());
  dialogue player(request_for(client_intent::play));
  EXPECT_EQ(player.feed(peer::handshake() + peer::message(audio, 1, 5, counted(2))), "");
  EXPECT_TRUE(player.events().empty());
}

TEST(client_session, takes_aggregates_apart) {
  dialogue d(request_for(client_intent::play));
  d.until_created();
  EXPECT_EQ(d.feed(peer::message(aggregate, 1, 100,
                                 sluice::test::hex("08 000001 000000 00 000000 aa 0000000c"
                                                   "09 000002 000014 00 000000 bbbb 0000000d"))),
            "");
  EXPECT_EQ(d.events(), (strings{"started", "media 8 100 1", "media 9 120 2"}));
}

// ---- refusals ----

TEST(client_session, reports_refusals_as_the_server_put_them) {
  const auto refused_in = [](const bytes& answer, bool created) {
    dialogue d(request_for(client_intent::publish));
    EXPECT_EQ(d.feed(peer::handshake()), "");
    if (created) EXPECT_EQ(d.feed(dialogue::connect_result() + dialogue::stream_result()), "");
    d.events();
    EXPECT_EQ(d.feed(answer), "");
    return d.events();
  };
  const auto info = status_object("error", "NetConnection.Connect.Rejected", "no");
  EXPECT_EQ(refused_in(peer::command("_error", 1, {amf0::value(), info}), false),
            strings{"refused error NetConnection.Connect.Rejected"});
  EXPECT_EQ(refused_in(peer::command("_error", 1, {info}), false),
            strings{"refused error NetConnection.Connect.Rejected"})
      << "without a command object";
  EXPECT_EQ(refused_in(peer::command("_error", 1, {}), false), strings{"refused error NetConnection.Connect.Rejected"});
  EXPECT_EQ(refused_in(dialogue::status("error", "NetStream.Publish.BadName"), true),
            strings{"refused error NetStream.Publish.BadName"});
  EXPECT_EQ(
      refused_in(peer::command("_error", 5, {amf0::value(), status_object("error", "NetStream.Publish.Denied", "")}),
                 true),
      strings{"refused error NetStream.Publish.Denied"});
  EXPECT_EQ(refused_in(peer::command("close", 0, {amf0::value()}), false),
            strings{"refused error NetConnection.Connect.Closed"});
}

TEST(client_session, what_servers_say_besides_is_not_a_refusal) {
  dialogue d(request_for(client_intent::publish));
  EXPECT_EQ(
      d.feed(peer::handshake() + dialogue::connect_result() + peer::command("onBWDone", 0, {amf0::value()}) +
             peer::command("_error", 2, {amf0::value(), status_object("error", "NetConnection.Call.Failed", "")}) +
             peer::command("_error", 3, {amf0::value(), status_object("error", "NetConnection.Call.Failed", "")}) +
             dialogue::stream_result() +
             peer::command("onFCPublish", 0, {amf0::value(), status_object("status", "NetStream.Publish.Start", "")}) +
             dialogue::status("status", "NetStream.Publish.Start")),
      "");
  EXPECT_EQ(d.events(), (strings{"connected", "started"}));
}

TEST(client_session, an_end_after_the_start_is_a_status) {
  dialogue d(request_for(client_intent::play));
  d.until_created();
  EXPECT_EQ(d.feed(dialogue::status("status", "NetStream.Play.Start") +
                   dialogue::status("status", "NetStream.Play.UnpublishNotify") +
                   dialogue::status("error", "NetStream.Play.Failed")),
            "");
  EXPECT_EQ(d.events(),
            (strings{"started", "status status NetStream.Play.UnpublishNotify", "status error NetStream.Play.Failed"}));
}

TEST(client_session, malformed_answers_close_the_connection) {
  for (const amf0::value& id : {amf0::value(), amf0::value("1"), amf0::value(0), amf0::value(-1), amf0::value(1e300),
                                amf0::value(std::numeric_limits<double>::quiet_NaN())}) {
    dialogue d(request_for(client_intent::play));
    EXPECT_EQ(d.feed(peer::handshake() + dialogue::connect_result()), "");
    EXPECT_EQ(d.feed(peer::command("_result", 4, {amf0::value(), id})), "bad_stream_id");
  }
  dialogue d(request_for(client_intent::play));
  EXPECT_EQ(d.feed({9}), "bad_version");
}

TEST(client_session, answers_out_of_turn_change_nothing) {
  dialogue d(request_for(client_intent::play));
  EXPECT_EQ(d.feed(peer::handshake() + dialogue::stream_result()), "");
  EXPECT_TRUE(d.events().empty());
  EXPECT_EQ(d.session.stream_id(), 0u);
  EXPECT_EQ(d.feed(dialogue::connect_result() + dialogue::stream_result()), "");
  EXPECT_EQ(d.events(), strings{"connected"});
  d.heard();
  EXPECT_EQ(d.feed(dialogue::connect_result() + dialogue::stream_result(2)), "");
  EXPECT_TRUE(d.events().empty());
  EXPECT_EQ(d.session.stream_id(), 1u);
  EXPECT_TRUE(d.heard().empty());
}

// ---- time, pings, acknowledgements ----

TEST(client_session, deadlines_cover_connect_and_start) {
  dialogue d(request_for(client_intent::publish));
  EXPECT_EQ(d.session.deadline(), start + 5s);
  d.now += 3s;
  EXPECT_EQ(d.feed(peer::handshake()), "");
  EXPECT_EQ(d.session.deadline(), start + 5s) << "up to the answer to connect";
  EXPECT_TRUE(d.session.on_timeout(start + 4s));
  EXPECT_EQ(d.session.on_timeout(start + 5s).error().reason, "handshake_timeout");
  EXPECT_EQ(d.feed(dialogue::connect_result()), "");
  EXPECT_EQ(d.session.deadline(), d.now + 10s);
  const auto connected_at = d.now;
  d.now += 5s;
  EXPECT_EQ(d.feed(dialogue::stream_result()), "");
  EXPECT_EQ(d.session.on_timeout(connected_at + 10s).error().reason, "command_timeout");
  EXPECT_EQ(d.feed(dialogue::status("status", "NetStream.Publish.Start")), "");
  EXPECT_EQ(d.session.deadline(), base::never);
  EXPECT_TRUE(d.session.on_timeout(d.now + 10000s));
}

TEST(client_session, a_control_connection_connects_and_pings) {
  dialogue d(request_for(client_intent::control));
  EXPECT_EQ(d.feed(peer::handshake() + dialogue::connect_result()), "");
  EXPECT_EQ(d.heard(), strings{"connect 1"}) << "no stream is created";
  EXPECT_EQ(d.events(), strings{"connected"});
  EXPECT_EQ(d.session.deadline(), base::never);
  d.session.send_ping(start + 2s);
  const auto got = d.server.heard(d.session.output());
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(plain(got[0]), (plain_message{user_control, 0, 0, sluice::test::hex("0006 000007d0")}));
  d.now += 3s;
  EXPECT_EQ(d.session.last_pong(), start);
  EXPECT_EQ(d.feed(peer::user_control(7, 2000)), "");
  EXPECT_EQ(d.session.last_pong(), d.now);
  EXPECT_EQ(d.session.last_received(), d.now);
}

TEST(client_session, knows_what_the_server_acknowledged) {
  dialogue d(request_for(client_intent::publish));
  d.until_created();
  EXPECT_EQ(d.session.acknowledged(), 0u);
  EXPECT_EQ(d.feed(peer::number(acknowledgement, 77)), "");
  EXPECT_EQ(d.session.acknowledged(), 77u);
}

// ---- recorded servers ----

struct recording {
  const char* file;
  client_intent intent;
  strings first_events;
};
class recorded_server : public testing::TestWithParam<recording> {};

TEST_P(recorded_server, is_understood_however_its_bytes_are_cut) {
  const auto all = sluice::test::golden(GetParam().file);
  strings once;
  for_every_cut(
      all,
      [&](const auto& pieces) {
        dialogue d(request_for(GetParam().intent));
        for (auto p : pieces) ASSERT_EQ(d.feed({p.begin(), p.end()}), "");
        const auto events = d.events();
        if (once.empty()) once = events;
        ASSERT_EQ(events, once);
      },
      3);
  ASSERT_GE(once.size(), GetParam().first_events.size());
  once.resize(GetParam().first_events.size());
  EXPECT_EQ(once, GetParam().first_events);
}

INSTANTIATE_TEST_SUITE_P(
    servers, recorded_server,
    testing::Values(recording{"rtmp/nginx_rtmp_publish.bin", client_intent::publish, {"connected", "started"}},
                    recording{"rtmp/nginx_rtmp_refused.bin",
                              client_intent::publish,
                              {"connected", "refused error NetStream.Publish.BadName"}},
                    recording{"rtmp/nginx_rtmp_play.bin", client_intent::play, {"connected", "started"}}),
    [](const auto& info) {
      auto name = std::string(info.param.file).substr(5);
      return name.substr(0, name.find('.'));
    });

}  // namespace
}  // namespace sluice::rtmp::test
