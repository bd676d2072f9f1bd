#include "runtime/udp.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <set>
#include <string>

#include "loop_test_tools.hpp"
#include "runtime/socket_address.hpp"
#include "runtime/udp_socket.hpp"

namespace sluice::runtime {
namespace {

using namespace std::chrono_literals;

base::endpoint at(std::string_view text) { return *base::endpoint::parse(text); }

/// Keeps what comes, and does what it is told with it.
struct recorder final : udp_handler {
  void on_datagrams(udp_socket& s, std::span<const datagram> batch) override {
    ++calls;
    for (const auto& d : batch) {
      texts.emplace_back(base::as_text(d.bytes));
      paths.push_back(d.path);
    }
    if (then) then(s, batch);
    if (after) after();
  }
  void on_unreachable(udp_socket& s, int error) override {
    errors.push_back(error);
    if (failed) failed(s);
    if (after) after();
  }
  std::function<void(udp_socket&, std::span<const datagram>)> then;
  std::function<void(udp_socket&)> failed;
  std::function<void()> after;
  std::vector<std::string> texts;
  std::vector<udp_path> paths;
  std::vector<int> errors;
  int calls = 0;
};

struct udp_test : loop_test, ::testing::WithParamInterface<const char*> {
  std::unique_ptr<udp_socket> listener(udp_options options = {}) {
    auto s = udp_socket::bind(io, at(GetParam()), options, server);
    EXPECT_TRUE(s) << s.error().text;
    return std::move(*s);
  }
  base::endpoint reach(const udp_socket& s) {
    const auto a = s.local();
    if (!a.address.is_unspecified()) return a;
    return {*base::ip_address::parse("127.0.0.1"), a.port};
  }
  std::unique_ptr<udp_socket> caller(const udp_socket& to) {
    auto s = udp_socket::connect(io, reach(to), {}, client);
    EXPECT_TRUE(s) << s.error().text;
    return std::move(*s);
  }
  void until(const std::function<bool()>& done) {
    server.after = client.after = [&] {
      if (done()) loop_.stop();
    };
    server.after();
    run();
    server.after = client.after = nullptr;
    EXPECT_TRUE(done());
  }
  int64_t cell(const char* name, const char* key, const char* value) {
    return metrics.counter(name, "", {{key, value}}).value();
  }

  base::metrics metrics;
  udp_io io{loop_, metrics};
  recorder server, client;
};

TEST_P(udp_test, datagrams_go_there_and_back) {
  auto s = listener();
  auto c = caller(*s);
  server.then = [](udp_socket& from, std::span<const datagram> batch) {
    for (const auto& d : batch) {
      d.bytes[0] = 'H';  // may be changed
      from.send(d.path, d.bytes);
    }
  };
  c->send(base::as_bytes("hello"));
  until([&] { return !client.texts.empty(); });
  EXPECT_EQ(server.texts, std::vector<std::string>{"hello"});
  EXPECT_EQ(client.texts, std::vector<std::string>{"Hello"});
  EXPECT_EQ(server.paths[0].peer, c->local());
  EXPECT_EQ(client.paths[0].peer, c->peer());
  // Whoever is bound to all addresses learns which of them was meant.
  const bool all = s->local().address.is_unspecified();
  EXPECT_EQ(server.paths[0].local, all ? reach(*s).address : base::ip_address());
}

TEST_P(udp_test, what_one_handler_call_sends_leaves_together_and_in_order) {
  auto s = listener();
  auto c = caller(*s);
  // Equal ones, a shorter one, a longer one, equal ones again.
  std::vector<std::string> sent;
  for (int i = 0; i < 5; ++i) sent.push_back(std::string(1000, static_cast<char>('a' + i)));
  sent.push_back(std::string(10, 'f'));
  sent.push_back(std::string(1200, 'g'));
  for (int i = 0; i < 3; ++i) sent.push_back(std::string(1200, static_cast<char>('h' + i)));
  server.then = [&](udp_socket& from, std::span<const datagram> batch) {
    for (const auto& text : sent) from.send(batch[0].path, base::as_bytes(text));
  };
  c->send(base::as_bytes("go"));
  until([&] { return client.texts.size() == sent.size(); });
  EXPECT_EQ(client.texts, sent);
  // "go", and all the others in one call.
  EXPECT_EQ(cell("sluice_udp_calls_total", "dir", "out"), 2);
  EXPECT_EQ(cell("sluice_udp_datagrams_total", "dir", "out"), 1 + static_cast<int64_t>(sent.size()));
  // The loopback device hands on as one what was sent as one.
  EXPECT_EQ(client.calls, 1);
}

TEST_P(udp_test, a_joined_run_goes_on_joined) {
  auto near = listener();
  auto c = caller(*near);
  recorder end;
  auto far = udp_socket::bind(io, at(GetParam()), {}, end);
  ASSERT_TRUE(far);
  auto onward = udp_socket::connect(io, reach(**far), {}, client);
  ASSERT_TRUE(onward);
  std::string all;
  for (int i = 0; i < 40; ++i) all += std::string(1316, static_cast<char>('0' + i));
  client.then = [&](udp_socket& from, std::span<const datagram>) {
    for (size_t i = 0; i < all.size(); i += 1316) from.send(base::as_bytes(std::string_view(all).substr(i, 1316)));
  };
  server.then = [&](udp_socket& from, std::span<const datagram> batch) {
    if (base::as_text(batch[0].bytes) == "ask") return from.send(batch[0].path, base::as_bytes("go"));
    for (const auto& d : batch) (*onward)->send(d.bytes);
  };
  end.after = [&] {
    if (end.texts.size() == 40) loop_.stop();
  };
  c->send(base::as_bytes("ask"));
  run();
  std::string got;
  for (const auto& t : end.texts) got += t;
  EXPECT_EQ(got, all);
  // "ask", "go", all of it, all of it again.
  EXPECT_EQ(cell("sluice_udp_calls_total", "dir", "out"), 4);
  EXPECT_EQ(end.calls, 1);
}

TEST_P(udp_test, many_peers_of_one_socket) {
  auto s = listener();
  std::vector<std::unique_ptr<udp_socket>> callers;
  for (int i = 0; i < 100; ++i) callers.push_back(caller(*s));
  server.then = [](udp_socket& from, std::span<const datagram> batch) {
    for (const auto& d : batch) from.send(d.path, d.bytes);
  };
  std::map<base::endpoint, int> answers;
  client.then = [&](udp_socket& to, std::span<const datagram> batch) {
    answers[to.local()] += static_cast<int>(batch.size());
    for (const auto& d : batch) EXPECT_EQ(base::as_text(d.bytes), std::to_string(to.local().port));
  };
  for (auto& c : callers) {
    c->send(base::as_bytes(std::to_string(c->local().port)));
    c->send(base::as_bytes(std::to_string(c->local().port)));
  }
  until([&] { return client.texts.size() == 200; });
  EXPECT_EQ(answers.size(), 100u);
}

TEST_P(udp_test, what_many_sockets_have_sent_leaves_together) {
  auto s = listener();
  recorder far_end;
  auto far = udp_socket::bind(io, at(GetParam()), {}, far_end);
  ASSERT_TRUE(far);
  std::vector<std::unique_ptr<udp_socket>> callers;
  for (int i = 0; i < 10; ++i) callers.push_back(caller(*s));
  client.then = [&](udp_socket&, std::span<const datagram> batch) {
    for (const auto& d : batch) s->send({reach(**far), {}}, d.bytes);
  };
  for (auto& c : callers) s->send({c->local(), {}}, base::as_bytes("x" + std::to_string(c->local().port)));
  far_end.after = [&] {
    if (far_end.texts.size() == 10) loop_.stop();
  };
  const auto before = cell("sluice_udp_calls_total", "dir", "out");
  run();
  EXPECT_EQ(client.calls, 10);
  EXPECT_EQ(cell("sluice_udp_calls_total", "dir", "out"), before + 1);
  std::set<std::string> wanted;
  for (auto& c : callers) wanted.insert("x" + std::to_string(c->local().port));
  EXPECT_EQ(std::set<std::string>(far_end.texts.begin(), far_end.texts.end()), wanted);
}

TEST_P(udp_test, more_sockets_than_one_look_finds) {
  auto s = listener();
  std::vector<std::unique_ptr<udp_socket>> callers;
  for (int i = 0; i < 200; ++i) callers.push_back(caller(*s));
  for (auto& c : callers) s->send({c->local(), {}}, base::as_bytes("x"));
  until([&] { return client.texts.size() == 200; });
}

TEST_P(udp_test, a_handler_may_destroy_others_that_are_to_be_read) {
  auto s = listener();
  std::vector<std::unique_ptr<udp_socket>> callers;
  for (int i = 0; i < 10; ++i) callers.push_back(caller(*s));
  client.then = [&](udp_socket& self, std::span<const datagram>) {
    std::erase_if(callers, [&](const auto& c) { return c.get() != &self; });
  };
  for (auto& c : callers) s->send({c->local(), {}}, base::as_bytes("x"));
  until([&] { return !client.texts.empty(); });
  until([&] { return client.calls == 1; });
  EXPECT_EQ(callers.size(), 1u);
}

/// Under load the sockets are looked at once an interval, and again at each datagram when there is none.
TEST_P(udp_test, many_wake_ups_are_gathered) {
  udp_io gathering(loop_, metrics, 5ms);
  auto s = udp_socket::bind(gathering, at(GetParam()), {}, server);
  ASSERT_TRUE(s);
  std::vector<std::unique_ptr<udp_socket>> callers;
  for (int i = 0; i < 4; ++i) callers.push_back(*udp_socket::connect(gathering, reach(**s), {}, client));
  auto& mode = metrics.gauge("sluice_udp_gathering", "");
  // A few datagrams go to and fro, as fast as they can.
  bool going = true;
  server.then = client.then = [&](udp_socket& from, std::span<const datagram> batch) {
    for (const auto& d : batch)
      if (going) from.send(d.path, d.bytes);
  };
  for (auto& c : callers) c->send(base::as_bytes("0"));
  until([&] { return mode.value() == 1; });
  const auto seen = server.texts.size();
  until([&] { return server.texts.size() >= seen + 20; });
  going = false;
  std::function<void()> look;
  timer again(loop_, [&] { look(); });
  look = [&] { mode.value() == 0 ? loop_.stop() : again.arm_after(1ms); };
  look();
  run();
  EXPECT_EQ(mode.value(), 0);
  const auto at_rest = server.texts.size();
  callers[0]->send(base::as_bytes("1"));
  until([&] { return server.texts.size() == at_rest + 1; });
}

/// A turn reads so much, no more: then the loop's other work gets its turn.
TEST_P(udp_test, a_flood_leaves_the_loop_to_others) {
  auto s = listener();
  std::vector<std::unique_ptr<udp_socket>> callers;
  for (int i = 0; i < 16; ++i) callers.push_back(caller(*s));
  for (auto& c : callers)
    for (int i = 0; i < 100; ++i) s->send({c->local(), {}}, base::as_bytes("x"));
  size_t seen_by_task = 0;
  client.then = [&](udp_socket&, std::span<const datagram>) {
    if (client.calls == 1) loop_.post([&] { seen_by_task = client.texts.size(); });
  };
  until([&] { return client.texts.size() == 1600; });
  EXPECT_GT(seen_by_task, 0u);
  EXPECT_LT(seen_by_task, 800u);
}

TEST_P(udp_test, more_than_one_batch_waits) {
  auto s = listener({.receive_bytes = 1 << 20});
  auto c = caller(*s);
  for (int i = 0; i < 200; ++i) c->send(base::as_bytes(std::to_string(i)));
  until([&] { return server.texts.size() == 200; });
  for (int i = 0; i < 200; ++i) EXPECT_EQ(server.texts[static_cast<size_t>(i)], std::to_string(i));
}

TEST_P(udp_test, a_handler_may_destroy_its_socket) {
  auto s = listener();
  auto c = caller(*s);
  server.then = [&](udp_socket& from, std::span<const datagram> batch) {
    from.send(batch[0].path, base::as_bytes("bye"));
    s.reset();
  };
  c->send(base::as_bytes("a"));
  until([&] { return !client.texts.empty(); });
  EXPECT_EQ(client.texts[0], "bye");  // what it had been given to send was sent
}

TEST_P(udp_test, nobody_listens) {
  auto s = listener();
  auto c = caller(*s);
  s.reset();
  client.failed = [&](udp_socket&) { c.reset(); };
  c->send(base::as_bytes("anybody?"));
  until([&] { return !client.errors.empty(); });
  EXPECT_EQ(client.errors, std::vector<int>{ECONNREFUSED});
}

TEST_P(udp_test, a_refusal_that_is_found_when_sending_is_told_later) {
  auto s = listener();
  auto c = caller(*s);
  s.reset();
  bool within = true;
  client.failed = [&](udp_socket&) { EXPECT_FALSE(within); };
  for (int i = 0; i < 5; ++i) c->send(base::as_bytes("anybody?"));
  within = false;
  until([&] { return !client.errors.empty(); });
  EXPECT_GT(cell("sluice_udp_dropped_total", "reason", "undelivered"), 0);
}

TEST_P(udp_test, strangers_do_not_reach_a_connected_socket) {
  auto s = listener();
  auto c = caller(*s);
  auto stranger = listener();
  stranger->send({c->local(), {}}, base::as_bytes("evil"));
  s->send({c->local(), {}}, base::as_bytes("good"));
  until([&] { return !client.texts.empty(); });
  EXPECT_EQ(client.texts, std::vector<std::string>{"good"});
}

TEST_P(udp_test, what_the_kernel_does_not_take_is_dropped_and_counted) {
  auto s = listener();
  std::vector<uint8_t> too_long(65'600);
  s->send({reach(*s), {}}, too_long);
  EXPECT_EQ(cell("sluice_udp_dropped_total", "reason", "undelivered"), 1);
}

TEST_P(udp_test, a_reserved_port_is_for_this_process_only) {
  const auto port = reserve_udp_port(at(GetParam()));
  ASSERT_TRUE(port) << port.error().text;
  EXPECT_EQ(reserve_udp_port(port->first).error().reason, "address_in_use");
  EXPECT_EQ(check_udp_port(port->first).error().reason, "address_in_use");
  EXPECT_EQ(udp_socket::bind(io, port->first, {}, server).error().reason, "address_in_use");

  auto one = udp_socket::bind(io, port->first, {.share_port = true}, server);
  auto two = udp_socket::bind(io, port->first, {.share_port = true}, server);
  ASSERT_TRUE(one && two);
  ::close(port->second);
  EXPECT_EQ(reserve_udp_port(port->first).error().reason, "address_in_use");
  // Each peer stays with one socket, and both have some.
  std::map<base::endpoint, std::map<udp_socket*, int>> seen;
  server.then = [&](udp_socket& s, std::span<const datagram> batch) {
    for (const auto& d : batch) ++seen[d.path.peer][&s];
  };
  std::vector<std::unique_ptr<udp_socket>> callers;
  for (int i = 0; i < 40; ++i) callers.push_back(caller(**one));
  for (int i = 0; i < 3; ++i)
    for (auto& c : callers) c->send(base::as_bytes("x"));
  until([&] { return server.texts.size() == 120; });
  std::map<udp_socket*, int> peers;
  for (const auto& [peer, sockets] : seen) {
    EXPECT_EQ(sockets.size(), 1u);
    ++peers[sockets.begin()->first];
  }
  EXPECT_EQ(peers.size(), 2u);
}

INSTANTIATE_TEST_SUITE_P(families, udp_test, ::testing::Values("127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"));

}  // namespace
}  // namespace sluice::runtime
