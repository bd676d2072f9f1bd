#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>

#include "http_test_tools.hpp"
#include "runtime/socket_address.hpp"

// What one message may take of memory, and one connection of its server's time.
namespace sluice::runtime {
namespace {

constexpr std::string_view chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// So often.
std::string many(size_t count, std::string_view text) {
  std::string all;
  while (count-- > 0) all += text;
  return all;
}

class http_bounds : public http {
 protected:
  /// What is answered to `pieces`, each of which is sent when the server has had its turn for the one before.
  std::string answer_to(const std::vector<std::string>& pieces) {
    tcp_stream stream;
    size_t sent = 0;
    std::string got;
    timer drip(loop_, [&] {
      if (sent < pieces.size()) stream.write(base::as_bytes(pieces[sent++]));
      drip.arm_after(0ns);
      const auto r = stream.read(loop_.read_buffer(), loop::read_buffer_size);
      if (r.status == io_status::ok) got += base::as_text({loop_.read_buffer(), r.bytes});
      if (r.status == io_status::closed || r.status == io_status::failed) loop_.stop();
    });
    tcp_connector connector(loop_, server_->local(), 5s, [&](base::result<tcp_stream> s) {
      stream = std::move(*s);
      drip.arm_after(0ns);
    });
    run();
    return got;
  }
};

TEST_F(http_bounds, hold_for_each_part_of_a_chunked_body) {
  limits_.header_bytes_max = 2000;
  limits_.idle_timeout = 5s;  // for a whole body
  open_echo();
  for (const auto& endless :
       {"1;" + std::string(100'000, 'x'), std::string(100'000, '0'), "1\r\nA\r\n" + std::string(100'000, '0'),
        "0;" + std::string(100'000, 'x'), "0\r\nX: " + std::string(100'000, 'x'), "0\r\n" + many(10'000, "X: y\r\n")}) {
    const auto answer = raw(std::string(chunked) + endless);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 431 ")) << answer << endless.substr(0, 10);
  }
  EXPECT_TRUE(log_.has("reason=header_too_large"));
  EXPECT_TRUE(seen_.empty());
  // Below them all is well.
  const auto answer = raw(std::string(chunked) + "1;" + std::string(1000, 'x') + "\r\nA\r\n000001\r\nB\r\n0;x\r\nX: " +
                          std::string(1000, 'x') + "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  ASSERT_EQ(seen_.size(), 2u) << answer;
  EXPECT_EQ(seen_[0].body, "AB");
}

TEST_F(http_bounds, hold_for_a_header_whose_lines_come_one_by_one) {
  limits_.header_bytes_max = 2000;
  open_echo();
  // The first byte of each line comes with the one before, and is all that is left of a read.
  std::vector<std::string> pieces = {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nx"};
  for (int i = 0; i < 3; ++i) pieces.push_back(": " + std::string(400, 'b') + "\r\nx");
  auto large = pieces;
  for (int i = 0; i < 10; ++i) large.push_back(pieces.back());
  pieces.emplace_back(": y\r\n\r\n");
  large.push_back(pieces.back());
  EXPECT_TRUE(answer_to(pieces).starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(answer_to(large).starts_with("HTTP/1.1 431 "));
  EXPECT_EQ(seen_.size(), 1u);
}

TEST_F(http_bounds, of_a_header_leave_an_introduction_out) {
  limits_.introduction.read = [](const base::ip_address&, base::bytes_view) {
    return std::optional(http_introduction::word{50, std::nullopt});
  };
  limits_.header_bytes_max = 70;
  open_echo();
  const std::string word(50, 'w'), request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  EXPECT_TRUE(raw(word + request).starts_with("HTTP/1.1 200 "));
}

TEST_F(http_bounds, trailers_say_nothing_of_the_request) {
  open_echo();
  raw(std::string(chunked) + "1\r\nA\r\n0\r\nHost: evil\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n" +
      "GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  ASSERT_EQ(seen_.size(), 2u) << "the connection went on";
  EXPECT_EQ(seen_[0].body, "A");
  EXPECT_EQ(seen_[0].headers,
            (std::vector<std::pair<std::string, std::string>>{{"Host", "a"}, {"Transfer-Encoding", "chunked"}}));
}

TEST_F(http_bounds, a_long_body_leaves_others_their_turn) {
  limits_.header_bytes_max = 200;  // and a read takes in 8 KiB more
  size_t turns = 0, at_request = 0;
  open([&](const http_request& r, http_server::respond respond) {
    at_request = turns;
    respond({.body = std::to_string(r.body.size())});
  });
  std::function<void()> count = [&] {
    ++turns;
    loop_.defer([&] { count(); });
  };
  raw_client client(loop_, server_->local(),
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n" +
                        std::string(1'000'000, 'b'),
                    [&] { loop_.stop(); });
  for (int i = 0; i < 1000 && server_->connections() == 0; ++i) run_posted();
  count();
  run();
  EXPECT_TRUE(client.received.ends_with("1000000")) << client.received;
  EXPECT_GE(at_request, 7u);
}

TEST_F(http_bounds, a_long_answer_leaves_others_their_turn) {
  const auto body = std::make_shared<const std::string>(20'000'000, 'b');
  tcp_stream stream;
  size_t received = 0;
  const auto receive = [&] {
    for (;;) {
      const auto r = stream.read(loop_.read_buffer(), loop::read_buffer_size);
      if (r.status == io_status::would_block) return;
      if (r.status != io_status::ok) return loop_.stop();
      received += r.bytes;
    }
  };
  for (const bool shared : {false, true}) {
    size_t at_first_turn = 0;
    received = 0;
    open([&](const http_request&, http_server::respond respond) {
      loop_.defer([&] {
        receive();
        at_first_turn = received;
      });
      http_response r;
      if (shared) {
        r.shared_body = body;
      } else {
        r.body = *body;
      }
      respond(std::move(r));
    });
    io_function client([&](io_ready) { receive(); });
    tcp_connector connector(loop_, server_->local(), 5s, [&](base::result<tcp_stream> s) {
      stream = std::move(*s);
      stream.write(base::as_bytes("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
      loop_.watch(stream.fd(), client);
    });
    run();
    loop_.unwatch(stream.fd(), client);
    EXPECT_LE(at_first_turn, 2u << 20);
    EXPECT_GT(received, body->size()) << "no wake-up was lost";
  }
}

TEST_F(http_bounds, no_connection_idles_on_when_its_answer_outlasted_the_stop) {
  open([&](const http_request& r, http_server::respond respond) {
    respond({.body = r.path == "/long" ? std::string(20'000'000, 'b') : "short"});
    if (r.path == "/short") loop_.stop();
  });
  tcp_stream slow;
  size_t received = 0;
  io_function reader([&](io_ready) {
    for (;;) {
      const auto r = slow.read(loop_.read_buffer(), loop::read_buffer_size);
      if (r.status == io_status::would_block) return;
      if (r.status != io_status::ok) return loop_.stop();
      received += r.bytes;
    }
  });
  tcp_connector connector(loop_, server_->local(), 5s, [&](base::result<tcp_stream> s) {
    slow = std::move(*s);
    slow.write(base::as_bytes("GET /long HTTP/1.1\r\nHost: a\r\n\r\n"));
  });
  bool waited = false;
  // Is closed when the time for another request is over; only then the long answer is read.
  raw_client other(loop_, server_->local(), "GET /short HTTP/1.1\r\nHost: a\r\n\r\n", [&] {
    waited = true;
    EXPECT_EQ(server_->connections(), 1u);
    loop_.watch(slow.fd(), reader);
  });
  run();
  while (!slow.is_open()) run_posted();
  for (int i = 0; i < 100 && server_->connections() < 2; ++i) run_posted();
  server_->stop_listening();
  run();
  EXPECT_TRUE(waited);
  EXPECT_GT(received, 20'000'000u);
  EXPECT_EQ(server_->connections(), 0u);
  loop_.unwatch(slow.fd(), reader);
}

TEST_F(http_bounds, nobody_of_http_1_0_is_told_to_go_on) {
  open_echo();
  const auto answer = raw("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
}

/// A blocking client of the server, which has sent these bytes.
int blocking_client(const base::endpoint& server, std::string_view bytes) {
  const socket_address to(server);
  const int fd = ::socket(to.family(), SOCK_STREAM, 0);
  if (::connect(fd, to.get(), to.size) != 0 || ::write(fd, bytes.data(), bytes.size()) < 0) std::_Exit(3);
  return fd;
}

using http_bounds_death = http_bounds;

TEST_F(http_bounds_death, comes_to_a_connection_that_has_no_room_for_go_on) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        open_echo();
        const int client = blocking_client(
            server_->local(), "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        bool came = false;
        timer look(loop_, [&] {
          came |= server_->connections() == 1;
          if (came && server_->connections() == 0) return loop_.stop();
          look.arm_after(1ms);
        });
        look.arm_after(0ns);
        forbid_call(SYS_sendto, EAGAIN);
        run();
        char first = 0;
        std::_Exit(::recv(client, &first, 1, MSG_DONTWAIT) == 0 ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

// ---- what comes from other servers

/// Sends each client these bytes one after the other, and then waits.
class dripping_server {
 public:
  dripping_server(loop& l, std::vector<std::string> pieces)
      : pieces_(std::move(pieces)), drip_(l, [this] {
          if (sent_ == pieces_.size()) return;
          stream_.write(base::as_bytes(pieces_[sent_++]));
          drip_.arm_after(0ns);
        }) {
    acceptor_ = *tcp_acceptor::open(l, any_port(), {}, [this](tcp_stream s, const base::endpoint&) {
      stream_ = std::move(s);
      drip_.arm_after(0ns);
    });
  }
  std::string url() const { return "http://" + acceptor_->local().to_string() + "/"; }

 private:
  std::vector<std::string> pieces_;
  size_t sent_ = 0;
  tcp_stream stream_;
  timer drip_;
  std::unique_ptr<tcp_acceptor> acceptor_;
};

TEST_F(http_bounds, hold_for_answers_of_other_servers) {
  std::vector<std::string> fields = {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx"};
  for (int i = 0; i < 200; ++i) fields.push_back(": " + std::string(400, 'b') + "\r\nx");
  fields.emplace_back(": y\r\n\r\nok");
  std::vector<std::string> interim(200, "HTTP/1.1 103 Early Hints\r\nLink: " + std::string(400, 'b') + "\r\n\r\n");
  interim.emplace_back("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  const std::string start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const auto& pieces :
       {fields, interim, {start, "1;" + std::string(300'000, 'x')}, {start, "0\r\n", many(100'000, "X: y\r\n")}}) {
    dripping_server server(loop_, pieces);
    const auto r = fetch({.url = server.url(), .timeout = 5s});
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().reason, "bad_response") << r.error().text;
  }
  fields.erase(fields.begin() + 100, fields.end() - 1);
  dripping_server server(loop_, fields);
  const auto r = fetch({.url = server.url(), .timeout = 5s});
  ASSERT_TRUE(r) << r.error().text;
  EXPECT_EQ(r->body, "ok");
  EXPECT_EQ(r->headers.size(), 101u);
}

}  // namespace
}  // namespace sluice::runtime
