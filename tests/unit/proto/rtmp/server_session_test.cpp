#include "unit/proto/rtmp/server_fixture.hpp"

namespace sluice::rtmp::test {
namespace {

// ---- connect ----

TEST_F(server, reports_connect_with_all_that_the_client_said) {
  feed(peer::handshake() + peer::command("connect", 1,
                                         {amf0::object{{"app", "live/a"},
                                                       {"tcUrl", "rtmp://h:1935/live/a?x=y"},
                                                       {"pageUrl", "http://p/\r\nx"},
                                                       {"swfUrl", "http://s/"},
                                                       {"flashVer", "FMLE/3.0"},
                                                       {"capsEx", 3}},
                                          "further"}));
  const auto r = next<connect_request>();
  EXPECT_EQ(r.app, "live/a");
  EXPECT_EQ(r.tc_url, "rtmp://h:1935/live/a?x=y");
  EXPECT_EQ(r.page_url, "") << "control characters";
  EXPECT_EQ(r.swf_url, "http://s/");
  EXPECT_EQ(r.flash_ver, "FMLE/3.0");
  EXPECT_EQ(r.command_object.find("capsEx")->number_or(0), 3);
  EXPECT_EQ(r.arguments.string_or(""), "further");
  no_event();
}

TEST_F(server, keeps_a_bounded_part_of_connect) {
  amf0::object o{{"app", "live"}, {"tcUrl", "rtmp://h/live"}};
  for (int i = 0; i < 500; ++i) o.emplace_back("m" + std::to_string(i), i);
  feed(peer::handshake() + peer::command("connect", 1, {o}));
  const auto r = next<connect_request>();
  EXPECT_EQ(r.app, "live");
  ASSERT_EQ(r.command_object.members().size(), 128u);
  EXPECT_EQ(r.command_object.members().back().first, "m125");
}

TEST_F(server, a_command_above_64_KiB_is_refused_when_its_header_comes) {
  EXPECT_EQ(error_of(peer::handshake() + sluice::test::hex("03 000000 010001 14 00000000")), "command_too_large");
}

TEST_F(server, large_media_is_taken_in_only_from_an_accepted_publish_on) {
  connected();
  const auto id = stream_created();
  const auto frame = peer::message(video, id, 0, counted(200'000));
  feed(frame);
  feed(peer::command("publish", 5, {amf0::value(), "s"}, id) + frame);
  next<publish_request>();
  no_event();
  session.accept_publish(id);
  feed(frame);  // may come at once, with the accept not yet sent
  EXPECT_EQ(next<media_message>().msg.payload.size(), 200'000u);
}

TEST_F(server, answers_an_accepted_connect_as_flash_servers_do) {
  feed(peer::handshake() + connect_command({{"objectEncoding", 3}}));
  next<connect_request>();
  EXPECT_TRUE(client.heard(session.output()).empty()) << "nothing before the answer is known";
  session.accept_connect({{"capsEx", 1}});
  const auto got = client.heard(session.output());
  ASSERT_EQ(got.size(), 3u);  // SetChunkSize went into the reader
  EXPECT_EQ(plain(got[0]), (plain_message{window_ack_size, 0, 0, sluice::test::hex("002625a0")}));
  EXPECT_EQ(plain(got[1]), (plain_message{set_peer_bandwidth, 0, 0, sluice::test::hex("002625a0 02")}));
  EXPECT_EQ(client.chunk_size(), config.chunk_size_out);
  const auto c = parse_command(got[2]).value();
  EXPECT_EQ(c.name, "_result");
  EXPECT_EQ(c.transaction, 1);
  EXPECT_EQ(c.object().find("fmsVer")->string_or(""), "FMS/3,5,3,888");
  EXPECT_EQ(c.object().find("capabilities")->number_or(0), 127);
  EXPECT_EQ(c.object().find("mode")->number_or(0), 1);
  EXPECT_EQ(c.argument(0).find("code")->string_or(""), "NetConnection.Connect.Success");
  EXPECT_EQ(c.argument(0).find("level")->string_or(""), "status");
  EXPECT_EQ(c.argument(0).find("objectEncoding")->number_or(0), 3);
  EXPECT_EQ(c.argument(0).find("capsEx")->number_or(0), 1);
  ASSERT_TRUE(std::holds_alternative<amf0::ecma_array>(c.argument(0).find("data")->get()));
  EXPECT_TRUE(c.argument(0).find("data")->find("version"));
  session.accept_connect();
  EXPECT_TRUE(session.output().empty()) << "once is enough";
}

TEST_F(server, answers_to_pipelined_calls_come_in_order_behind_that_to_connect) {
  feed(peer::handshake() + connect_command() + peer::command("releaseStream", 2, {amf0::value(), "s"}) +
       peer::command("createStream", 3, {amf0::value()}) + peer::command("nonsense", 4, {amf0::value()}) +
       peer::command("publish", 5, {amf0::value(), "s"}, 1));
  next<connect_request>();
  EXPECT_TRUE(heard().empty());
  session.accept_connect();
  EXPECT_EQ(heard(), (strings{"_result 1 NetConnection.Connect.Success", "_result 2", "_result 3 1",
                              "_error 4 NetConnection.Call.Failed"}));
  EXPECT_EQ(next<publish_request>().name, "s");
  session.accept_publish(1);
  feed(peer::command("createStream", 6, {amf0::value()}));
  EXPECT_EQ(heard(), (strings{"onStatus 0 NetStream.Publish.Start", "_result 6 2"}));
}

TEST_F(server, answers_that_wait_for_that_to_connect_are_bounded) {
  feed(peer::handshake() + connect_command());
  for (int i = 0; i < 20'000; ++i) feed(peer::command("getStreamLength", 2, {amf0::value()}));
  EXPECT_TRUE(session.output().size() < 4096);
  session.accept_connect();
  EXPECT_LE(session.output().size(), 80u * 1024);
}

TEST_F(server, rejects_a_connect_with_the_code_given) {
  feed(peer::handshake() + connect_command());
  session.reject_connect("NetConnection.Connect.Rejected", "full");
  EXPECT_EQ(heard(), strings{"_error 1 NetConnection.Connect.Rejected"});
  feed(peer::command("createStream", 2, {amf0::value()}));
  EXPECT_TRUE(heard().empty());
}

TEST_F(server, commands_before_connect_and_a_second_connect_are_violations) {
  for (const char* name : {"publish", "play", "createStream", "releaseStream"}) {
    server_session fresh(config, start, 1);
    auto ok = fresh.receive(peer::handshake() + peer::command(name, 2, {amf0::value(), "s"}, 1), start);
    ASSERT_FALSE(ok);
    EXPECT_EQ(ok.error().reason, "protocol_violation") << name;
  }
  connected();
  EXPECT_EQ(error_of(connect_command()), "protocol_violation");
}

TEST_F(server, streams_must_be_created_before_they_are_used) {
  connected();
  EXPECT_EQ(error_of(peer::command("publish", 5, {amf0::value(), "s", "live"}, 1)), "protocol_violation");
}

TEST_F(server, answers_the_calls_that_clients_make_besides) {
  connected();
  feed(peer::command("releaseStream", 2, {amf0::value(), "s"}) + peer::command("FCPublish", 3, {amf0::value(), "s"}) +
       peer::command("createStream", 4, {amf0::value()}) + peer::command("createStream", 5, {amf0::value()}) +
       peer::command("getStreamLength", 6, {amf0::value(), "s"}) + peer::command("_checkbw", 7, {amf0::value()}) +
       peer::command("FCSubscribe", 0, {amf0::value(), "s"}) + peer::command("unheardOf", 8, {amf0::value()}) +
       peer::command("unheardOf", 0, {amf0::value()}) + peer::command("onStatus", 9, {amf0::value()}) +
       peer::command("_result", 9, {amf0::value()}));
  EXPECT_EQ(heard(), (strings{"_result 2", "_result 3", "_result 4 1", "_result 5 2", "_result 6 0", "_result 7",
                              "_error 8 NetConnection.Call.Failed"}));
  no_event();
}

TEST_F(server, understands_amf3_typed_commands) {
  feed(peer::handshake() + connect_command());
  next<connect_request>();
  session.accept_connect();
  heard();
  auto payload = encode_command("createStream", 2, {amf0::value()});
  payload.insert(payload.begin(), 0);
  feed(peer::message(command_amf3, 0, 0, payload));
  EXPECT_EQ(heard(), strings{"_result 2 1"});
}

TEST_F(server, bounds_the_streams_of_one_connection) {
  connected();
  for (int i = 0; i < 8; ++i) stream_created();
  feed(peer::command("createStream", 20, {amf0::value()}));
  EXPECT_EQ(heard(), strings{"_error 20 NetConnection.Call.Failed"});
  feed(peer::command("deleteStream", 0, {amf0::value(), 3}) + peer::command("createStream", 21, {amf0::value()}));
  EXPECT_EQ(heard(), strings{"_result 21 9"});
}

// ---- publish ----

TEST_F(server, publish_is_answered_with_both_starts) {
  connected();
  feed(peer::command("FCPublish", 3, {amf0::value(), "s?k=v"}));
  const auto id = stream_created();
  feed(peer::command("publish", 5, {amf0::value(), "s?k=v", "record"}, id));
  const auto r = next<publish_request>();
  EXPECT_EQ(r.name, "s?k=v");
  EXPECT_EQ(r.type, "record");
  EXPECT_EQ(r.stream_id, id);
  EXPECT_FALSE(session.publishing());
  session.accept_publish(id);
  EXPECT_TRUE(session.publishing());
  EXPECT_EQ(heard(), (strings{"onFCPublish 0 NetStream.Publish.Start", "onStatus 0 NetStream.Publish.Start"}));
  session.accept_publish(id);
  EXPECT_TRUE(heard().empty());
}

TEST_F(server, refused_publish_leaves_the_connection_usable) {
  connected();
  const auto id = stream_created();
  feed(peer::command("publish", 5, {amf0::value(), "s"}, id));
  EXPECT_EQ(next<publish_request>().type, "live");
  session.reject_publish(id, "NetStream.Publish.BadName", "taken");
  EXPECT_EQ(heard(), strings{"onStatus 0 NetStream.Publish.BadName"});
  feed(peer::message(video, id, 0, counted(5)));
  no_event();
  feed(peer::command("publish", 6, {amf0::value(), "other"}, id));
  EXPECT_EQ(next<publish_request>().name, "other");
}

TEST_F(server, media_reaches_the_events_unharmed) {
  connected();
  const auto id = publishing();
  std::vector<plain_message> sent;
  for (uint8_t type : bytes{audio, video, data_amf0, data_amf3, 7, 10, 21, 23, 200}) {
    sent.push_back({type, id, 40u * type, counted(300, type)});
    feed(peer::message(type, id, sent.back().timestamp, sent.back().payload));
  }
  for (const auto& s : sent) {
    const auto m = next<media_message>();
    EXPECT_EQ(plain(m.msg), s);
    EXPECT_EQ(m.msg.payload.headroom(), message_headroom);
    EXPECT_TRUE(m.msg.payload.block().unique());
  }
  feed(peer::message(shared_object_amf0, id, 0, counted(9)) + peer::message(shared_object_amf3, id, 0, counted(9)));
  no_event();
}

TEST_F(server, media_that_nobody_asked_for_is_dropped) {
  connected();
  const auto asked = stream_created();
  feed(peer::message(video, asked, 0, counted(9)));
  feed(peer::command("publish", 5, {amf0::value(), "s"}, asked) + peer::message(video, asked, 0, counted(9)));
  next<publish_request>();
  no_event();
  session.accept_publish(asked);
  feed(peer::message(video, asked + 1, 0, counted(9)) + peer::message(video, 0, 0, counted(9)));
  no_event();
  const auto player = playing();
  feed(peer::message(audio, player, 0, counted(9)));
  no_event();
}

TEST_F(server, aggregates_are_taken_apart) {
  connected();
  const auto id = publishing();
  // Times 1000 and 0x01000010 (24 bits and the 8 above); the aggregate's own is 5. A command inside is left out.
  feed(peer::message(aggregate, id, 5,
                     sluice::test::hex("08 000002 0003e8 00 000000 aabb 0000000d"
                                       "14 000001 000000 00 000000 02 0000000c"
                                       "09 000003 000010 01 000000 ccddee 0000000e")));
  EXPECT_EQ(plain(next<media_message>().msg), (plain_message{audio, id, 5, {0xaa, 0xbb}}));
  EXPECT_EQ(plain(next<media_message>().msg), (plain_message{video, id, 0x01000010 - 1000 + 5, {0xcc, 0xdd, 0xee}}));
  no_event();
  // The last back pointer may be missing; a part may not.
  feed(peer::message(aggregate, id, 5, sluice::test::hex("08 000001 000000 00 000000 aa")));
  EXPECT_EQ(next<media_message>().msg.payload.size(), 1u);
  EXPECT_EQ(error_of(peer::message(aggregate, id, 5, sluice::test::hex("08 000002 000000 00 000000 aa"))),
            "bad_aggregate");
}

TEST_F(server, every_way_to_end_a_stream_is_reported_once) {
  connected();
  const auto end = [&](const bytes& command) {
    const auto id = publishing("name");
    feed(command);
    EXPECT_EQ(next<stream_closed>().stream_id, id);
    feed(command);
    no_event();
    EXPECT_FALSE(session.publishing());
    feed(peer::message(video, id, 0, counted(4)));
    no_event();
  };
  end(peer::command("FCUnpublish", 9, {amf0::value(), "name"}));
  EXPECT_EQ(heard(), (strings{"onFCUnpublish 0 NetStream.Unpublish.Success", "onStatus 0 NetStream.Unpublish.Success",
                              "_result 9", "_result 9"}));
  end(peer::command("deleteStream", 0, {amf0::value(), 2}));
  end(peer::command("closeStream", 0, {amf0::value()}, 3));
  end(peer::command("publish", 0, {amf0::value(), false}, 4));
  end(peer::command("deleteStream", 0, {amf0::value()}, 5));
}

TEST_F(server, fc_unpublish_of_another_name_ends_nothing) {
  connected();
  publishing("mine");
  feed(peer::command("FCUnpublish", 9, {amf0::value(), "other"}));
  no_event();
  EXPECT_TRUE(session.publishing());
}

TEST_F(server, publishes_again_on_the_same_connection) {
  connected();
  const auto id = publishing("one");
  feed(peer::command("publish", 5, {amf0::value(), "two"}, id));
  EXPECT_EQ(next<stream_closed>().stream_id, id);
  EXPECT_EQ(next<publish_request>().name, "two");
  session.accept_publish(id);
  feed(peer::command("closeStream", 0, {amf0::value()}, id) +
       peer::command("publish", 5, {amf0::value(), "three"}, id));
  EXPECT_EQ(next<stream_closed>().stream_id, id);
  EXPECT_EQ(next<publish_request>().name, "three");
  no_event();
}

TEST_F(server, an_answer_never_opens_a_later_request) {
  connected();
  const auto id = stream_created();
  // Both are read before the first is answered.
  feed(peer::command("publish", 5, {amf0::value(), "allowed"}, id) +
       peer::command("publish", 5, {amf0::value(), "forbidden"}, id));
  EXPECT_EQ(next<publish_request>().name, "allowed");
  session.accept_publish(id);
  EXPECT_FALSE(session.publishing());
  EXPECT_EQ(next<stream_closed>().stream_id, id);
  EXPECT_EQ(next<publish_request>().name, "forbidden");
  feed(peer::message(video, id, 0, counted(4)));
  no_event();
  session.reject_publish(id, "NetStream.Publish.BadName", "no");
  EXPECT_EQ(heard(), strings{"onStatus 0 NetStream.Publish.BadName"});
  feed(peer::message(video, id, 0, counted(4)));
  no_event();
  // An answer after the client has gone.
  feed(peer::command("play", 5, {amf0::value(), "p"}, id));
  next<play_request>();
  feed(peer::command("closeStream", 0, {amf0::value()}, id));
  session.accept_play(id);
  EXPECT_TRUE(heard().empty());
}

// ---- play ----

TEST_F(server, play_is_answered_with_begin_reset_start_and_access) {
  connected();
  const auto id = stream_created();
  feed(peer::command("play", 5, {amf0::value(), "s", -1000, 30}, id));
  const auto r = next<play_request>();
  EXPECT_EQ(r.name, "s");
  EXPECT_EQ(r.start, -1000);
  EXPECT_EQ(r.duration, 30);
  EXPECT_TRUE(r.reset);
  session.accept_play(id);
  const auto got = client.heard(session.output());
  ASSERT_EQ(got.size(), 4u);
  EXPECT_EQ(plain(got[0]), (plain_message{user_control, 0, 0, sluice::test::hex("0000 00000001")}));
  EXPECT_EQ(peer::describe(got[1]), "onStatus 0 NetStream.Play.Reset");
  EXPECT_EQ(peer::describe(got[2]), "onStatus 0 NetStream.Play.Start");
  EXPECT_EQ(got[2].stream_id, id);
  EXPECT_EQ(got[3].type, data_amf0);
  EXPECT_EQ(amf0::decode_all(got[3].payload.view()).value()[0].string_or(""), "|RtmpSampleAccess");
}

TEST_F(server, play_without_reset_says_nothing_of_one) {
  connected();
  for (const amf0::value& reset : {amf0::value(false), amf0::value(0), amf0::value(2)}) {
    const auto id = stream_created();
    feed(peer::command("play", 5, {amf0::value(), "s", -2, -1, reset}, id));
    EXPECT_FALSE(next<play_request>().reset);
    session.accept_play(id);
    EXPECT_EQ(heard(), strings{"onStatus 0 NetStream.Play.Start"});
  }
}

TEST_F(server, refused_play_says_why) {
  connected();
  const auto id = stream_created();
  feed(peer::command("play", 5, {amf0::value(), "s"}, id));
  next<play_request>();
  session.reject_play(id, "NetStream.Play.StreamNotFound", "no");
  EXPECT_EQ(heard(), strings{"onStatus 0 NetStream.Play.StreamNotFound"});
}

TEST_F(server, a_player_may_pause_mute_and_seek) {
  connected();
  const auto id = playing();
  feed(peer::command("pause", 0, {amf0::value(), true, 1234}, id) +
       peer::command("receiveAudio", 0, {amf0::value(), false}, id) +
       peer::command("receiveVideo", 0, {amf0::value(), true}, id) + peer::command("seek", 0, {amf0::value(), 0}, id));
  const auto p = next<pause_request>();
  EXPECT_TRUE(p.pause);
  EXPECT_EQ(p.position_ms, 1234);
  EXPECT_EQ(p.stream_id, id);
  const auto a = next<receive_request>();
  EXPECT_TRUE(a.audio && !a.on);
  const auto v = next<receive_request>();
  EXPECT_TRUE(!v.audio && v.on);
  EXPECT_EQ(heard(), strings{"onStatus 0 NetStream.Seek.Notify"});
  // On a stream that plays nothing they mean nothing.
  feed(peer::command("pause", 0, {amf0::value(), true, 0}, id + 5) + peer::command("seek", 0, {amf0::value(), 0}, 0));
  no_event();
  EXPECT_TRUE(heard().empty());
}

// ---- names: faults row 10 ----

TEST_F(server, bad_names_in_publish_and_play_are_refused_with_a_status) {
  const std::string long_name(8192 + 1024 + 1, 'a');
  for (const amf0::value& name :
       {amf0::value(std::string("a\0b", 3)), amf0::value("a\r\nX: y"), amf0::value("\x1b[2J"), amf0::value("a\x7f"),
        amf0::value(long_name), amf0::value(std::string(60 << 10, 'a')), amf0::value(5), amf0::value(), undefined()}) {
    for (const auto& [command, status] : {std::pair{"publish", "onStatus 0 NetStream.Publish.BadName"},
                                          std::pair{"play", "onStatus 0 NetStream.Play.Failed"}}) {
      server_session fresh(config, start, 1);
      peer speaker;
      ASSERT_TRUE(fresh.receive(peer::handshake() + connect_command(), now));
      fresh.next_event();
      fresh.accept_connect();
      ASSERT_TRUE(fresh.receive(peer::command("createStream", 2, {amf0::value()}), now));
      speaker.commands_heard(fresh.output());
      auto ok = fresh.receive(peer::command(command, 3, {amf0::value(), name}, 1), now);
      ASSERT_FALSE(ok);
      EXPECT_EQ(ok.error().reason, "bad_name");
      EXPECT_EQ(speaker.commands_heard(fresh.output()), strings{status});
      EXPECT_FALSE(fresh.next_event());
    }
  }
}

TEST_F(server, long_tokens_in_names_are_taken) {
  const std::string token = "?token=" + std::string(8192, 't');
  feed(peer::handshake() + connect_command());
  next<connect_request>();
  session.accept_connect();
  const auto id = stream_created();
  feed(peer::command("publish", 5, {amf0::value(), "s" + token}, id));
  EXPECT_EQ(next<publish_request>().name, "s" + token);
  server_session other(config, start, 1);
  ASSERT_TRUE(other.receive(
      peer::handshake() + peer::command("connect", 1, {amf0::object{{"tcUrl", "rtmp://h/live" + token}}}), now));
  EXPECT_EQ(std::get<connect_request>(*other.next_event()).tc_url, "rtmp://h/live" + token);
}

TEST_F(server, bad_names_in_connect_are_refused_with_an_error) {
  for (const char* member : {"app", "tcUrl"}) {
    for (const std::string& name : {std::string("a\nb"), std::string("\0", 1), std::string(10000, 'x')}) {
      server_session fresh(config, start, 1);
      peer speaker;
      auto ok = fresh.receive(peer::handshake() + peer::command("connect", 1, {amf0::object{{member, name}}}), now);
      ASSERT_FALSE(ok);
      EXPECT_EQ(ok.error().reason, "bad_name");
      EXPECT_EQ(speaker.commands_heard(fresh.output()), strings{"_error 1 NetConnection.Connect.Rejected"});
      EXPECT_FALSE(fresh.next_event());
    }
  }
}

TEST_F(server, dots_are_left_to_the_stream_key) {
  connected();
  const auto id = stream_created();
  feed(peer::command("publish", 5, {amf0::value(), "../../etc"}, id));
  EXPECT_EQ(next<publish_request>().name, "../../etc");
}

// ---- malformed commands: faults row 7 ----

TEST_F(server, what_cannot_be_read_behind_the_essentials_of_a_command_is_left_out) {
  connected();
  const auto id = stream_created();
  const auto ask = encode_command("publish", 5, {amf0::value(), "s"});
  uint32_t transaction = 9;
  for (const char* tail : {"ff", "02 0009 61", "0000", "03 0001 61", "0a ffffffff", "08 00000000"}) {
    feed(peer::message(command_amf0, id, 0, ask + sluice::test::hex(tail)));
    EXPECT_EQ(next<publish_request>().name, "s") << tail;
    feed(peer::command("closeStream", 0, {amf0::value()}, id));
    next<stream_closed>();
    feed(peer::message(command_amf0, 0, 0,
                       encode_command("getStreamLength", ++transaction, {}) + sluice::test::hex(tail)));
    EXPECT_EQ(heard(), strings{"_result " + std::to_string(transaction) + " 0"}) << tail;
  }
  bytes deep;
  for (int i = 0; i < 1000; ++i) deep += sluice::test::hex("0a 00000001");
  feed(peer::message(command_amf0, id, 0, ask + deep));
  EXPECT_EQ(next<publish_request>().type, "live");
}

TEST_F(server, malformed_commands_close_the_connection) {
  const auto error_after_connect = [&](const bytes& payload) {
    server_session fresh(config, start, 1);
    EXPECT_TRUE(fresh.receive(peer::handshake() + connect_command(), now));
    auto ok = fresh.receive(peer::message(command_amf0, 0, 0, payload), now);
    return ok ? std::string() : std::string(ok.error().reason);
  };
  EXPECT_EQ(error_after_connect({}), "bad_command");
  EXPECT_EQ(error_after_connect(sluice::test::hex("00 3ff0000000000000")), "bad_command");
  EXPECT_EQ(error_after_connect(sluice::test::hex("02 0005 6162")), "amf_truncated");
  EXPECT_EQ(error_after_connect(sluice::test::hex("02 0001 61 00 3ff0")), "amf_truncated");
  EXPECT_EQ(error_after_connect(sluice::test::hex("0a ffffffff")).substr(0, 4), "amf_");
  bytes deep;
  for (int i = 0; i < 10'000; ++i) deep += sluice::test::hex("0a 00000001");
  EXPECT_EQ(error_after_connect(deep), "amf_too_deep");
}

}  // namespace
}  // namespace sluice::rtmp::test
