#include <gtest/gtest.h>

#include "http_test_tools.hpp"

// Whom a connection is for, as its peer says before the first request. The words of these tests are `FROM address\n`;
// `FROM bad\n` is an error.
namespace sluice::runtime {
namespace {

class http_introductions : public http {
 protected:
  http_introductions() {
    limits_.introduction.speaks_for_others = [this](const base::ip_address&) { return trusted_; };
    limits_.introduction.read = [this](const base::ip_address& peer, base::bytes_view bytes) {
      EXPECT_TRUE(peer.is_loopback());
      if (on_read_) on_read_();
      return read(base::as_text(bytes));
    };
    limits_.on_refused = [this](std::string_view reason) { refused_.emplace_back(reason); };
  }

  static base::result<std::optional<http_introduction::word>> read(std::string_view text) {
    constexpr std::string_view from = "FROM ";
    if (!text.starts_with(from.substr(0, text.size()))) return http_introduction::word{};
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    const auto address = base::ip_address::parse(text.substr(from.size(), end - from.size()));
    if (!address) return base::fail("bad_word", "said \"what\" nobody understands");
    return http_introduction::word{end + 1, base::endpoint{*address, 7}};
  }

  std::vector<std::string> peers() const {
    std::vector<std::string> all;
    for (const auto& r : seen_) all.push_back(r.peer.to_string());
    return all;
  }

  bool trusted_ = true;
  std::function<void()> on_read_;
  std::vector<std::string> refused_;
};

constexpr std::string_view close_after = " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

TEST_F(http_introductions, name_the_client_of_all_requests) {
  open_echo();
  const auto answer = raw("FROM 203.0.113.7\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2" + std::string(close_after));
  EXPECT_NE(answer.find("GET /1 "), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("GET /2 ")) << answer;
  EXPECT_EQ(peers(), (std::vector<std::string>{"203.0.113.7:7", "203.0.113.7:7"}));
}

TEST_F(http_introductions, need_not_be_there) {
  open_echo();
  const auto answer = raw("FREE /1" + std::string(close_after));
  EXPECT_TRUE(answer.ends_with("FREE /1 ")) << answer;
  ASSERT_EQ(seen_.size(), 1u);
  EXPECT_TRUE(seen_[0].peer.address.is_loopback());
}

TEST_F(http_introductions, stand_before_the_first_request_only) {
  open_echo();
  const auto answer = raw("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nFROM 203.0.113.7\nGET /2" + std::string(close_after));
  EXPECT_NE(answer.find("HTTP/1.1 400"), std::string::npos) << answer;
  ASSERT_EQ(seen_.size(), 1u);
  EXPECT_TRUE(seen_[0].peer.address.is_loopback());
}

TEST_F(http_introductions, may_come_in_pieces) {
  open_echo();
  const std::string bytes = "FROM 203.0.113.7\nGET /1" + std::string(close_after);
  tcp_stream stream;
  size_t sent = 0, reads = 0;
  const auto send = [&] { sent += stream.write(base::as_bytes(std::string_view(bytes).substr(sent, 1))).bytes; };
  // Each byte of it is looked at before the next is sent.
  on_read_ = [&] {
    ++reads;
    loop_.post(send);
  };
  std::string answer;
  tcp_connector connector(loop_, server_->local(), 5s, [&](base::result<tcp_stream> s) {
    stream = std::move(*s);
    send();
  });
  std::function<void()> await_word = [&] {
    if (sent < 18) return loop_.post(await_word);
    stream.write(base::as_bytes(std::string_view(bytes).substr(sent)));
    loop_.stop();
  };
  loop_.post(await_word);
  run();
  EXPECT_EQ(reads, 17u);
  std::function<void()> await_request = [&] { seen_.empty() ? loop_.post(await_request) : loop_.stop(); };
  loop_.post(await_request);
  run();
  EXPECT_EQ(peers(), (std::vector<std::string>{"203.0.113.7:7"}));
}

TEST_F(http_introductions, that_are_wrong_are_refused) {
  open_echo();
  const auto answer = raw("FROM bad\nGET /1" + std::string(close_after));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
  EXPECT_EQ(answer.find("GET /1"), std::string::npos) << answer;
  EXPECT_EQ(refused_, std::vector<std::string>{"bad_word"});
  EXPECT_TRUE(log_.has("http_refused peer=127.0.0.1:")) << log_.all();
  EXPECT_TRUE(seen_.empty());
}

TEST_F(http_introductions, that_never_end_are_cut_off_at_the_deadline_of_a_header) {
  limits_.header_timeout = 50ms;
  open_echo();
  EXPECT_EQ(raw("FROM 203.0.113"), "");
  EXPECT_EQ(refused_, std::vector<std::string>{"header_timeout"});
}

TEST_F(http_introductions, are_cut_off_by_the_clients_end) {
  open([](const http_request&, http_server::respond) { FAIL(); });
  {
    tcp_stream stream;
    tcp_connector connector(loop_, server_->local(), 5s, [&](base::result<tcp_stream> s) {
      stream = std::move(*s);
      stream.write(base::as_bytes("FR"));
    });
    std::function<void()> await_none = [&] { server_->connections() > 0 ? loop_.post(await_none) : loop_.stop(); };
    on_read_ = [&] {
      stream.close();
      loop_.post(await_none);
    };
    run();
  }
  EXPECT_EQ(server_->connections(), 0u);
}

/// Connections that have said for whom they are, and wait.
struct waiting_clients {
  waiting_clients(loop& l, const base::endpoint& to) : loop_(l), to_(to) {}
  void add(std::string bytes) {
    all.push_back(std::make_unique<raw_client>(loop_, to_, std::move(bytes), [this] {
      if (++closed == awaited) loop_.stop();
    }));
  }
  size_t closed = 0, awaited = SIZE_MAX;
  std::vector<std::unique_ptr<raw_client>> all;

 private:
  loop& loop_;
  base::endpoint to_;
};

TEST_F(http_introductions, make_the_limit_of_one_peer_that_of_one_client) {
  limits_.connections_per_peer_max = 2;
  open_echo();
  waiting_clients clients(loop_, server_->local());
  clients.awaited = 3;
  for (int i = 0; i < 5; ++i) clients.add("FROM 203.0.113.7\nGET /half");
  for (int i = 1; i < 9; ++i) clients.add("FROM 203.0.113.1" + std::to_string(i) + "\nGET /half");
  run();
  const auto r = raw("FROM 203.0.113.20\nGET /1" + std::string(close_after));
  EXPECT_TRUE(r.ends_with("GET /1 ")) << r;
  EXPECT_EQ(clients.closed, 3u);
  EXPECT_EQ(log_.count("http_refused peer=203.0.113.7:7 reason=replaced"), 3u) << log_.all();
}

TEST_F(http_introductions, of_one_client_too_many_are_refused_while_all_are_at_work) {
  limits_.connections_per_peer_max = 1;
  std::vector<http_server::respond> kept;
  open([&](const http_request&, http_server::respond respond) {
    kept.push_back(std::move(respond));
    loop_.stop();
  });
  waiting_clients clients(loop_, server_->local());
  clients.add("FROM 203.0.113.7\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
  run();
  ASSERT_EQ(kept.size(), 1u);
  const auto answer = raw("FROM 203.0.113.7\nGET /2" + std::string(close_after));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_EQ(refused_, std::vector<std::string>{"too_many_connections"});
  EXPECT_EQ(kept.size(), 1u);
}

TEST_F(http_introductions, of_peers_that_speak_for_nobody_do_not_spare_the_limit) {
  trusted_ = false;
  limits_.connections_per_peer_max = 2;
  open_echo();
  waiting_clients clients(loop_, server_->local());
  clients.awaited = 3;
  for (int i = 0; i < 5; ++i) clients.add("FR");
  run();
  EXPECT_EQ(clients.closed, 3u);
}

}  // namespace
}  // namespace sluice::runtime
