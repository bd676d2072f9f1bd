#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <optional>
#include <stdexcept>

#include "http_test_tools.hpp"
#include "runtime/http_text.hpp"
#include "runtime/socket_address.hpp"

namespace sluice::runtime {
namespace {

using namespace std::chrono_literals;
using namespace std::string_view_literals;

TEST_F(http, client_and_server_exchange_whole_messages) {
  open([this](const http_request& r, http_server::respond respond) {
    seen_.push_back(r);
    respond({.status = 201, .headers = {{"X-Answer", "42"}}, .body = "{\"ok\":true}"});
  });
  const auto r = fetch({.method = "POST",
                        .url = url("/api/v1/a%20b?x=1&name=l%26r"),
                        .headers = {{"Authorization", "Bearer t"}},
                        .content_type = "application/json",
                        .body = "{}"});
  ASSERT_TRUE(r) << r.error().text;
  EXPECT_EQ(r->status, 201);
  EXPECT_EQ(r->body, "{\"ok\":true}");
  EXPECT_EQ(r->content_type, "application/json");
  EXPECT_NE(std::find(r->headers.begin(), r->headers.end(), std::pair<std::string, std::string>{"X-Answer", "42"}),
            r->headers.end());
  ASSERT_EQ(seen_.size(), 1u);
  EXPECT_EQ(seen_[0].method, "POST");
  EXPECT_EQ(seen_[0].target, "/api/v1/a%20b?x=1&name=l%26r");
  EXPECT_EQ(seen_[0].path, "/api/v1/a b");
  EXPECT_EQ(seen_[0].query, "x=1&name=l%26r");
  EXPECT_EQ(seen_[0].query_value("name"), "l&r");
  EXPECT_EQ(seen_[0].query_value("absent"), "");
  EXPECT_EQ(seen_[0].header("AUTHORIZATION"), "Bearer t");
  EXPECT_EQ(seen_[0].header("content-type"), "application/json");
  EXPECT_EQ(seen_[0].body, "{}");
  EXPECT_TRUE(seen_[0].peer.address.is_loopback());
}

TEST_F(http, a_connection_serves_many_requests_also_pipelined) {
  open_echo();
  const std::string answer =
      raw("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
          "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
          "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"
          "GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  ASSERT_EQ(seen_.size(), 4u);
  EXPECT_NE(answer.find("GET /1 "), std::string::npos);
  EXPECT_NE(answer.find("POST /2 abc"), std::string::npos);
  EXPECT_NE(answer.find("POST /3 def"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("GET /4 ")) << answer;
}

TEST_F(http, pieces_of_any_size_make_the_same_requests) {
  open_echo();
  const std::string bytes =
      "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
      "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"
      "GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  for (const size_t piece : {1u, 2u, 7u, 50u, 60u}) {
    seen_.clear();
    tcp_stream stream;
    size_t sent = 0;
    timer drip(loop_, [&] {
      const auto part = base::as_bytes(bytes).subspan(sent).first(std::min(piece, bytes.size() - sent));
      sent += stream.write(part).bytes;
      drip.arm_after(0ns);  // in the next round, when the server has had its turn
      const auto r = stream.read(loop_.read_buffer(), loop::read_buffer_size);
      if (r.status == io_status::closed || r.status == io_status::failed) loop_.stop();
    });
    tcp_connector connector(loop_, server_->local(), 5s, [&](base::result<tcp_stream> s) {
      stream = std::move(*s);
      drip.arm_after(0ns);
    });
    run();
    ASSERT_EQ(seen_.size(), 4u) << piece;
    EXPECT_EQ(seen_[1].body + seen_[2].body, "abcdef") << piece;
  }
}

TEST_F(http, a_long_row_of_requests_leaves_others_their_turn) {
  constexpr int count = 300;
  std::string bytes;
  for (int i = 0; i < count; ++i)
    bytes += "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(i + 1 < count ? "" : "Connection: close\r\n") + "\r\n";
  int answered = 0, at_first_turn = -1;
  open([&](const http_request&, http_server::respond respond) {
    if (answered++ == 0) loop_.defer([&] { at_first_turn = answered; });
    respond({.body = "ok"});
  });
  const std::string all = raw(bytes);
  EXPECT_EQ(answered, count);
  EXPECT_LT(at_first_turn, count / 4);
  EXPECT_TRUE(all.ends_with("ok"));
}

TEST_F(http, an_answer_may_come_later) {
  std::optional<http_server::respond> kept;
  timer later(loop_, [&] { std::exchange(kept, std::nullopt).value()({.body = "late"}); });
  open([&](const http_request&, http_server::respond respond) {
    kept = std::move(respond);
    later.arm_after(1ms);
  });
  const auto r = fetch({.url = url("/")});
  ASSERT_TRUE(r);
  EXPECT_EQ(r->body, "late");
}

TEST_F(http, a_handler_that_throws_or_forgets_to_answer_gets_a_500) {
  open([](const http_request& r, http_server::respond respond) {
    if (r.path == "/throw") throw std::runtime_error("a bug of ours");
  });
  for (const auto* path : {"/throw", "/forget"}) {
    const auto r = fetch({.url = url(path)});
    ASSERT_TRUE(r);
    EXPECT_EQ(r->status, 500);
  }
  EXPECT_TRUE(log_.has("a bug of ours"));
  EXPECT_TRUE(log_.has("path=/throw"));
}

TEST_F(http, head_gets_the_header_only) {
  open_echo();
  const std::string answer = raw("HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_NE(answer.find("Content-Length: 8\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\n"));
  const auto r = fetch({.method = "HEAD", .url = url("/x")});
  ASSERT_TRUE(r) << r.error().text;
  EXPECT_EQ(r->body, "");
}

TEST_F(http, a_target_in_absolute_form_is_one_in_origin_form) {
  open_echo();
  raw("GET http://b.test:81/x%20y?q=1 HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n"
      "GET http://b.test HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  ASSERT_EQ(seen_.size(), 2u);
  EXPECT_EQ(seen_[0].target, "/x%20y?q=1");
  EXPECT_EQ(seen_[0].path, "/x y");
  EXPECT_EQ(seen_[0].header("host"), "b.test:81");
  EXPECT_EQ(std::ranges::count(seen_[0].headers, "Host", [](const auto& h) { return h.first; }), 1);
  EXPECT_EQ(seen_[0].header("x"), "1");
  EXPECT_EQ(seen_[1].target, "/");
}

TEST_F(http, empty_lines_before_a_request_are_passed_over) {
  open_echo();
  const std::string all =
      raw("\r\n\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_NE(all.find("GET /1 "), std::string::npos);
  EXPECT_NE(all.find("GET /2 "), std::string::npos);
  EXPECT_EQ(raw("\r\n\rGET / HTTP/1.1\r\nHost: a\r\n\r\n").find("HTTP/1.1 400"), 0u);
}

TEST_F(http, answers_say_when_they_were_made) {
  open([](const http_request& r, http_server::respond respond) {
    http_response response;
    if (r.path == "/old") response.headers = {{"date", "Thu, 01 Jan 1970 00:00:00 GMT"}};
    respond(std::move(response));
  });
  const auto dates = [](std::string_view text) {
    size_t n = 0;
    for (size_t at = 0; (at = text.find("\r\nDate: ", at)) != std::string_view::npos; ++at) ++n;
    return n;
  };
  const auto own = raw("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(dates(own), 2u);
  // IMF-fixdate (RFC 9110 section 5.6.7).
  const auto at = own.find("\r\nDate: ") + 8;
  EXPECT_EQ(own.substr(at + 3, 2), ", ");
  EXPECT_EQ(own.substr(at + 25, 6), " GMT\r\n") << own.substr(at, 40);
  EXPECT_EQ(dates(raw("GET /old HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")), 0u) << "what an origin said stays";
  EXPECT_EQ(dates(raw("nonsense\r\n\r\n")), 1u);
}

TEST_F(http, a_204_has_no_body) {
  open([](const http_request&, http_server::respond respond) { respond({.status = 204}); });
  const std::string answer = raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 204"));
  EXPECT_EQ(answer.find("Content-Length"), std::string::npos);
}

TEST_F(http, expect_100_continue_is_answered) {
  open_echo();
  const std::string answer =
      raw("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")) << answer;
}

TEST_F(http, header_values_cannot_split_the_answer) {
  open([](const http_request&, http_server::respond respond) {
    respond({.headers = {{"X-Bad", "a\r\nX-Forged: 1"}, {"Bad Name", "b"}, {"X-Good", "c"}}, .body = ""});
  });
  const std::string answer = raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(answer.find("Forged"), std::string::npos);
  EXPECT_EQ(answer.find("Bad Name"), std::string::npos);
  EXPECT_NE(answer.find("X-Good: c"), std::string::npos);
}

struct bad_request {
  std::string_view name, bytes;
  int status = 400;
};

class http_bad_request : public http, public ::testing::WithParamInterface<bad_request> {};

TEST_P(http_bad_request, is_refused_and_the_connection_closed) {
  limits_.body_bytes_max = 1000;
  limits_.header_bytes_max = 2000;
  open_echo();
  // What follows must not be taken for a request.
  std::string bytes(GetParam().bytes);
  if (const size_t at = bytes.find("LONG"); at != std::string::npos) bytes.replace(at, 4, std::string(3000, 'x'));
  const std::string answer = raw(bytes + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + std::to_string(GetParam().status) + " ")) << answer;
  EXPECT_NE(answer.find("Connection: close"), std::string::npos);
  EXPECT_NE(answer.find("{\"code\":" + std::to_string(GetParam().status)), std::string::npos);
  EXPECT_EQ(answer.find("smuggled"), std::string::npos);
  EXPECT_TRUE(seen_.empty());
  EXPECT_TRUE(log_.has("http_refused peer=127.0.0.1:"));
}

INSTANTIATE_TEST_SUITE_P(
    all, http_bad_request,
    ::testing::Values(
        bad_request{"length_and_chunked",
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        bad_request{"chunked_and_length",
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"},
        bad_request{"length_and_other_coding",
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nabcde"},
        bad_request{"two_lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde"},
        bad_request{"the_same_length_twice",
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde"},
        bad_request{"a_list_of_lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nabcde"},
        bad_request{"a_negative_length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nabcde"},
        bad_request{"a_signed_length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde"},
        bad_request{"an_overflowing_length",
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n"},
        bad_request{"an_unknown_coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nabcde"},
        bad_request{
            "chunked_twice",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        bad_request{"chunked_in_a_list",
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
        bad_request{"chunked_in_1_0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        bad_request{"a_bad_chunk_size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"},
        bad_request{"an_empty_header_name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"},
        bad_request{"a_space_before_the_colon", "GET / HTTP/1.1\r\nHost: a\r\nX : x\r\n\r\n"},
        bad_request{"a_zero_byte", "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"sv},
        bad_request{"no_host", "GET / HTTP/1.1\r\n\r\n"},
        bad_request{"two_hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
        bad_request{"no_http", "hello\r\n\r\n"},
        bad_request{"a_zero_in_the_path", "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n"},
        bad_request{"a_bad_escape", "GET /a%g0 HTTP/1.1\r\nHost: a\r\n\r\n"},
        bad_request{"a_cut_escape", "GET /a%4 HTTP/1.1\r\nHost: a\r\n\r\n"},
        bad_request{"no_path", "GET a HTTP/1.1\r\nHost: a\r\n\r\n"},
        bad_request{"a_header_too_large", "GET / HTTP/1.1\r\nHost: a\r\nX: LONG\r\n\r\n", 431},
        bad_request{"a_target_too_large", "GET /LONG HTTP/1.1\r\nHost: a\r\n\r\n", 431},
        bad_request{"a_body_too_large", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\nLONG", 413},
        bad_request{"a_chunked_body_too_large",
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nbb8\r\nLONG\r\n0\r\n\r\n", 413}),
    [](const auto& test) { return std::string(test.param.name); });

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
  EXPECT_LT(loop_.now() - start, 5s);  // idle_timeout: 60 s
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

// ---- the client's own failures

TEST_F(http, fetch_refuses_bad_urls) {
  for (const auto* bad : {"", "nonsense", "https://127.0.0.1/", "http://", "http://user@127.0.0.1/", "http:///path",
                          "http://127.0.0.1:99999/", "http://127.0.0.1/a b"}) {
    const auto r = fetch({.url = bad});
    ASSERT_FALSE(r) << bad;
    EXPECT_EQ(r.error().reason, "bad_url") << bad;
  }
  const auto r = fetch({.url = "http://127.0.0.1/", .headers = {{"X", "a\r\nY: b"}}});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().reason, "bad_url");
}

TEST_F(http, fetch_tells_refused_and_unknown_hosts_apart) {
  auto reserved = reserve_port(any_port());
  ASSERT_TRUE(reserved);
  EXPECT_EQ(fetch({.url = "http://" + reserved->first.to_string() + "/"}).error().reason, "refused");
  tcp_stream(reserved->second).close();
  EXPECT_EQ(fetch({.url = "http://" + std::string(64, 'x') + ".invalid/"}).error().reason, "no_such_host");
}

TEST_F(http, fetch_gives_up_at_its_deadline) {
  std::vector<http_server::respond> kept;
  open([&](const http_request&, http_server::respond respond) { kept.push_back(std::move(respond)); });
  const auto r = fetch({.url = url("/"), .timeout = 50ms});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().reason, "timeout");
  EXPECT_EQ(kept.size(), 1u);
}

/// A server that sends the same bytes to everybody, and closes.
std::unique_ptr<tcp_acceptor> canned_server(loop& l, std::string bytes) {
  auto a = tcp_acceptor::open(l, any_port(), {}, [bytes = std::move(bytes)](tcp_stream s, const base::endpoint&) {
    s.write(base::as_bytes(bytes));
    s.shutdown_write();
    static tcp_stream last;  // closing now would reset the connection, since the request is unread
    last = std::move(s);
  });
  return std::move(*a);
}

TEST_F(http, fetch_takes_what_http_allows_and_bounds_it) {
  const std::map<std::string, std::string> cases = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 ok"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "200 ok"},
      {"HTTP/1.0 200 OK\r\n\r\nok", "200 ok"},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "404 no"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "bad_response"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + std::string(1001, 'x'), "bad_response"},
      {"HTTP/1.1 200 OK\r\n\r\n" + std::string(1001, 'x'), "bad_response"},
      {"HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n", "bad_response"},
      {"220 mail.example ESMTP\r\n", "bad_response"},
      {"", "bad_response"},
  };
  for (const auto& [bytes, expected] : cases) {
    auto server = canned_server(loop_, bytes);
    const auto r = fetch({.url = "http://" + server->local().to_string(), .response_bytes_max = 1000});
    EXPECT_EQ(r ? std::to_string(r->status) + " " + r->body : std::string(r.error().reason), expected) << bytes;
  }
}

TEST_F(http, fetch_speaks_to_names_and_ipv6) {
  auto s = http_server::open(
      loop_, {*base::ip_address::parse("::1"), 0}, {}, log_,
      [](const http_request& r, http_server::respond respond) { respond({.body = std::string(r.header("host"))}); });
  ASSERT_TRUE(s);
  const std::string port = std::to_string((*s)->local().port);
  const auto r = fetch({.url = "http://[::1]:" + port + "/"});
  ASSERT_TRUE(r) << r.error().text;
  EXPECT_EQ(r->body, "[::1]:" + port);
  open_echo();
  const auto by_name = fetch({.url = "http://localhost:" + std::to_string(server_->local().port) + "/x"});
  ASSERT_TRUE(by_name) << by_name.error().text;
  EXPECT_EQ(by_name->body, "GET /x ");
}

// ---- text

TEST(http_text, targets) {
  const auto parse = [](std::string_view t) {
    const auto r = parse_http_target(t);
    return r ? r->path + "|" + r->query : "refused";
  };
  EXPECT_EQ(parse("/"), "/|");
  EXPECT_EQ(parse("/a/b?c=d?e"), "/a/b|c=d?e");
  EXPECT_EQ(parse("/%41%2f%C3%A9"), "/A/é|");
  EXPECT_EQ(parse("/a%25"), "/a%|");
  EXPECT_EQ(parse("http://host:80/p?q"), "/p|q");
  EXPECT_EQ(parse("http://host"), "/|");
  EXPECT_EQ(parse("http://host?q"), "/|q");
  EXPECT_EQ(parse("*"), "*|");
  const auto absolute = parse_http_target("http://host:80?q");
  ASSERT_TRUE(absolute);
  EXPECT_EQ(absolute->authority, "host:80");
  EXPECT_EQ(absolute->origin_form, "/?q");
  EXPECT_EQ(parse_http_target("/a%2f?b")->origin_form, "/a%2f?b");
  EXPECT_EQ(parse_http_target("/a")->authority, "");
  for (const auto* bad :
       {"", "a", "host:443", "://x", "http:///x", "http://u@h/", "/%", "/%4", "/%zz", "/%00", "/a\tb"}) {
    EXPECT_EQ(parse(bad), "refused") << bad;
  }
}

TEST(http_text, query_values) {
  http_request r;
  r.query = "a=1&b=&c&d=x%3Dy=z&%65=5&bad=%zz&a=2&&";
  EXPECT_EQ(r.query_value("a"), "1");
  EXPECT_EQ(r.query_value("b"), "");
  EXPECT_EQ(r.query_value("c"), "");
  EXPECT_EQ(r.query_value("d"), "x=y=z");
  EXPECT_EQ(r.query_value("e"), "5");
  EXPECT_EQ(r.query_value("bad"), "");
}

TEST_F(http, a_large_answer_that_is_asked_for_again_and_again_is_the_same_each_time) {
  std::string text(5'000'000, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 23);
  const auto shared = std::make_shared<const std::string>(std::move(text));
  open([&](const http_request&, http_server::respond respond) {
    respond({.content_type = "video/mp2t", .shared_body = shared});
  });
  const std::string ask = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string all = raw(ask + ask + ask + "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" +
                              "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  size_t at = 0, answers = 0, bodies = 0;
  while (at < all.size()) {
    const size_t end = all.find("\r\n\r\n", at);
    ASSERT_NE(end, std::string::npos);
    EXPECT_NE(all.substr(at, end - at).find("Content-Length: 5000000"), std::string::npos);
    at = end + 4;
    ++answers;
    if (answers == 4) continue;  // HEAD
    ASSERT_EQ(all.compare(at, shared->size(), *shared), 0) << "answer " << answers;
    at += shared->size();
    ++bodies;
  }
  EXPECT_EQ(answers, 5u);
  EXPECT_EQ(bodies, 4u);
}

}  // namespace
}  // namespace sluice::runtime
