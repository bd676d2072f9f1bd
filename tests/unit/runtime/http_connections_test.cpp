// How long connections may take, how many there may be, and what becomes of them at the end.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstdlib>

#include "http_test_tools.hpp"
#include "runtime/socket_address.hpp"

namespace sluice::runtime {
namespace {

using namespace std::chrono_literals;

TEST_F(http, a_header_that_does_not_end_is_cut_off_at_its_deadline) {
  limits_.header_timeout = 50ms;
  open_echo();
  for (const auto* bytes : {"", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n"}) {
    const auto start = loop_.refresh();
    EXPECT_EQ(raw(bytes), "");
    EXPECT_GE(loop_.refresh() - start, 50ms);
    EXPECT_LT(loop_.now() - start, 5s);
  }
  EXPECT_TRUE(log_.has("reason=header_timeout"));
  EXPECT_TRUE(seen_.empty());
}

TEST_F(http, dripping_does_not_extend_the_header_deadline) {
  limits_.header_timeout = 60ms;
  open_echo();
  tcp_stream stream;
  bool closed = false;
  timer drip(loop_, [&] {
    if (stream.write(base::as_bytes("x")).status == io_status::failed) {
      closed = true;
      return loop_.stop();
    }
    drip.arm_after(10ms);
  });
  const auto start = loop_.refresh();
  tcp_connector connector(loop_, server_->local(), 5s, [&](base::result<tcp_stream> s) {
    stream = std::move(*s);
    stream.write(base::as_bytes("GET / HTTP/1.1\r\nX: "));
    drip.arm_after(0ns);
  });
  run();
  EXPECT_TRUE(closed);
  EXPECT_GE(loop_.now() - start, 60ms);
}

TEST_F(http, the_header_deadline_of_a_later_request_begins_with_its_first_byte) {
  limits_.header_timeout = 50ms;
  open_echo();
  const auto start = loop_.refresh();
  const std::string answer = raw("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTT");
  EXPECT_TRUE(answer.ends_with("GET /1 "));
  EXPECT_GE(loop_.refresh() - start, 50ms);
  EXPECT_TRUE(log_.has("reason=header_timeout"));
}

TEST_F(http, an_idle_connection_is_closed_after_its_time) {
  limits_.idle_timeout = 50ms;
  open_echo();
  const auto start = loop_.refresh();
  const std::string answer = raw("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(answer.ends_with("GET /1 "));
  EXPECT_GE(loop_.refresh() - start, 50ms);
}

/// Connects as often as asked, and notes which of the connections the server closes, in order.
class many_connections final {
 public:
  many_connections(loop& l, const base::endpoint& to) : loop_(l), to_(to) {}
  void add(std::string bytes) {
    const size_t index = all_.size();
    all_.push_back(std::make_unique<raw_client>(loop_, to_, std::move(bytes), [this, index] {
      closed.push_back(index);
      if (closed.size() == awaited_) loop_.stop();
    }));
  }
  /// What makes run() return: that many have been closed.
  void await(size_t count) { awaited_ = count; }
  const std::string& received(size_t index) const { return all_[index]->received; }
  std::vector<size_t> closed;

 private:
  loop& loop_;
  base::endpoint to_;
  size_t awaited_ = SIZE_MAX;
  std::vector<std::unique_ptr<raw_client>> all_;
};

TEST_F(http, a_connection_above_the_limit_replaces_the_longest_idle_one) {
  limits_.connections_max = 3;
  std::vector<http_server::respond> kept;
  open([&](const http_request& r, http_server::respond respond) {
    if (r.path == "/busy") {
      kept.push_back(std::move(respond));
      return loop_.stop();
    }
    respond({.body = "ok"});
  });
  many_connections clients(loop_, server_->local());
  clients.add("GET /busy HTTP/1.1\r\nHost: a\r\n\r\n");
  run();
  clients.add("POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
  clients.add("GET /half HTT");
  // Two come to a full server; the first of them takes the place of the half POST and stays, idle between requests.
  const auto r = fetch({.url = url("/")});
  ASSERT_TRUE(r) << r.error().text;
  EXPECT_EQ(r->status, 200);
  EXPECT_EQ(clients.closed, (std::vector<size_t>{1}));
  EXPECT_TRUE(log_.has("http_refused"));
  EXPECT_TRUE(log_.has("reason=replaced"));
  kept[0]({.body = "busy"});
  clients.await(3);
  clients.add("");
  clients.add("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  run();
  EXPECT_NE(clients.received(0).find("busy"), std::string::npos) << "was never idle before its answer";
}

TEST_F(http, connections_above_the_limit_get_a_503_while_all_are_at_work) {
  limits_.connections_max = 1;
  std::vector<http_server::respond> kept;
  open([&](const http_request& r, http_server::respond respond) {
    if (r.path != "/busy") return respond({.body = "ok"});
    kept.push_back(std::move(respond));
    loop_.stop();
  });
  many_connections clients(loop_, server_->local());
  clients.add("GET /busy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  run();
  // Nothing is sent, so that the close does not reset the connection before the answer is read.
  const std::string answer = raw("");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  const size_t body = answer.find("\r\n\r\n") + 4;
  EXPECT_NE(answer.find("Content-Length: " + std::to_string(answer.size() - body) + "\r\n"), std::string::npos);
  EXPECT_TRUE(log_.has("too_many_connections"));
  // When the first is gone there is room again.
  kept[0]({.body = "done"});
  clients.await(1);
  run();
  const auto r = fetch({.url = url("/")});
  ASSERT_TRUE(r) << r.error().text;
  EXPECT_EQ(r->status, 200);
}

using http_death = http;

TEST_F(http_death, does_not_come_of_a_socket_that_cannot_be_watched) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        open_echo();
        // A dial under the limit, and a blocking client of a server that cannot watch what it accepts.
        std::string dial;
        const socket_address to(server_->local());
        const int client = ::socket(to.family(), SOCK_STREAM, 0);
        forbid_call(SYS_epoll_ctl, ENOSPC);
        tcp_connector connector(loop_, server_->local(), 5s,
                                [&](base::result<tcp_stream> s) { dial = s ? "ok" : s.error().reason; });
        ::connect(client, to.get(), to.size);
        timer look(loop_, [&] {
          if (log_.has("reason=resources") && !dial.empty()) return loop_.stop();
          look.arm_after(1ms);
        });
        look.arm_after(1ms);
        run();
        char first = 0;
        ::recv(client, &first, 1, 0);  // the 503
        std::_Exit(dial == "resources" && first == 'H' ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST_F(http, one_peer_has_so_many_connections_unless_it_is_unbounded) {
  limits_.connections_per_peer_max = 2;
  open_echo();
  {
    many_connections clients(loop_, server_->local());
    clients.await(3);
    for (int i = 0; i < 5; ++i) clients.add("GET /half");
    run();
    EXPECT_EQ(clients.closed.size(), 3u);
  }
  limits_.unbounded_peer = [](const base::ip_address& a) { return a.is_loopback(); };
  open_echo();
  many_connections clients(loop_, server_->local());
  for (int i = 0; i < 5; ++i) clients.add("GET /half");
  const auto r = fetch({.url = url("/")});
  ASSERT_TRUE(r) << r.error().text;
  EXPECT_TRUE(clients.closed.empty());
}

TEST_F(http, a_server_may_be_destroyed_in_its_handler_and_with_requests_open) {
  std::vector<http_server::respond> kept;
  open([&](const http_request& r, http_server::respond respond) {
    kept.push_back(std::move(respond));
    if (r.path == "/end") server_.reset();
  });
  const auto to = server_->local();
  const auto base_url = url("");
  std::vector<base::result<http_response>> outcomes;
  const auto note = [&](base::result<http_response> r) {
    outcomes.push_back(std::move(r));
    if (outcomes.size() == 2) loop_.stop();
  };
  http_fetch(loop_, {.url = base_url + "/stay"}, note);
  http_fetch(loop_, {.url = base_url + "/end"}, note);
  run();
  for (const auto& o : outcomes) EXPECT_FALSE(o);
  for (const auto& respond : kept) respond({});  // too late, and harmless
  tcp_connector connector(loop_, to, 5s, [&](base::result<tcp_stream> s) {
    EXPECT_FALSE(s);
    loop_.stop();
  });
  run();
}

TEST(http_lifetime, a_loop_may_be_destroyed_with_exchanges_under_way) {
  recording_log log;
  std::vector<http_server::respond> kept;
  {
    loop l;
    auto server = http_server::open(l, any_port(), {}, log, [&](const http_request&, http_server::respond respond) {
      kept.push_back(std::move(respond));
      l.stop();
    });
    ASSERT_TRUE(server);
    http_fetch(l, {.url = "http://" + (*server)->local().to_string() + "/"},
               [](base::result<http_response>) { ADD_FAILURE(); });
    l.run();
    ASSERT_EQ(kept.size(), 1u);
  }
  kept[0]({});
}

}  // namespace
}  // namespace sluice::runtime
