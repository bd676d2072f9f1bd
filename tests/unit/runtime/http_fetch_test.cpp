// The client's own failures.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <map>

#include "http_test_tools.hpp"

namespace sluice::runtime {
namespace {

using namespace std::chrono_literals;

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

}  // namespace
}  // namespace sluice::runtime
