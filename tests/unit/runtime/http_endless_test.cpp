#include "http_test_tools.hpp"
#include "runtime/descriptor_budget.hpp"

// Answers without an end, and clients who do not wait for theirs.
namespace sluice::runtime {
namespace {

class http_endless : public http {
 protected:
  http_response endless(std::string text) {
    http_response r;
    r.content_type = "video/x-flv";
    r.headers = {{"X-A", "1"}};
    r.body = "not sent";
    r.take_over = [this, text](tcp_stream s) {
      taken.push_back(std::move(s));
      taken.back().write(base::as_bytes(text));
      connections_then = server_->connections();
      if (when_taken) when_taken();
    };
    return r;
  }
  std::vector<tcp_stream> taken;
  size_t connections_then = SIZE_MAX;
  std::function<void()> when_taken;
};

constexpr auto ask = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

TEST_F(http_endless, the_socket_is_handed_over_behind_the_header) {
  descriptor_budget budget(10);
  limits_.descriptors = &budget;
  open([&](const http_request&, http_server::respond respond) { respond(endless("body")); });
  when_taken = [&] { taken[0].shutdown_write(); };
  const auto got = raw(ask);
  EXPECT_EQ(undated(got), "HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\nbody");
  EXPECT_EQ(connections_then, 0u);
  EXPECT_EQ(budget.left(), 9) << "its place is with whoever took the socket";
  uint8_t byte;
  EXPECT_NE(taken[0].read(&byte, 1).status, io_status::ok) << "what the client may have sent is read without blocking";
}

TEST_F(http_endless, it_lives_on_when_the_server_is_gone) {
  open([&](const http_request&, http_server::respond respond) { respond(endless("body")); });
  when_taken = [&] {
    loop_.defer([&] {
      server_.reset();
      taken[0].write(base::as_bytes("more"));
      taken[0].close();
    });
  };
  EXPECT_TRUE(raw(ask).ends_with("\r\n\r\nbodymore"));
}

TEST_F(http_endless, the_idle_deadline_is_not_its) {
  limits_.idle_timeout = 20ms;
  open([&](const http_request&, http_server::respond respond) { respond(endless("body")); });
  std::optional<timer> later;
  when_taken = [&] {
    later.emplace(loop_, [&] {
      taken[0].write(base::as_bytes("more"));
      taken[0].close();
    });
    later->arm_after(60ms);
  };
  EXPECT_TRUE(raw(ask).ends_with("bodymore"));
}

TEST_F(http_endless, a_later_answer_may_be_endless_too) {
  std::vector<http_server::respond> kept;
  open([&](const http_request&, http_server::respond respond) {
    kept.push_back(std::move(respond));
    loop_.post([&] { kept[0](endless("body")); });
  });
  when_taken = [&] { taken[0].close(); };
  EXPECT_TRUE(raw(ask).ends_with("\r\n\r\nbody"));
}

TEST_F(http_endless, head_gets_the_header_and_no_length) {
  open([&](const http_request&, http_server::respond respond) { respond(endless("body")); });
  const auto got = raw("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\nHEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  const std::string head = "HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Type: video/x-flv\r\n";
  EXPECT_EQ(undated(undated(got)), head + "\r\n" + head + "Connection: close\r\n\r\n") << "it is ready for more";
  EXPECT_TRUE(taken.empty());
}

TEST_F(http_endless, what_follows_the_request_is_no_second_one) {
  int requests = 0;
  open([&](const http_request&, http_server::respond respond) {
    ++requests;
    respond(endless("body"));
  });
  when_taken = [&] { taken[0].shutdown_write(); };
  EXPECT_TRUE(raw(std::string(ask) + ask).ends_with("\r\n\r\nbody"));
  EXPECT_EQ(requests, 1);
}

TEST_F(http_endless, an_answer_after_the_client_left_goes_nowhere) {
  std::vector<http_server::respond> kept;
  bool gone = false;
  open([&](const http_request& r, http_server::respond respond) {
    kept.push_back(std::move(respond));
    r.client->on_gone = [&] {
      gone = true;
      kept[0](endless("body"));
      loop_.post([&] { loop_.stop(); });
    };
    loop_.post([&] { loop_.stop(); });
  });
  {
    raw_client client(loop_, server_->local(), ask, [] {});
    run();
    EXPECT_FALSE(gone);
  }
  run();
  EXPECT_TRUE(gone);
  for (int i = 0; i < 20 && server_->connections() > 0; ++i) run_posted();
  EXPECT_EQ(server_->connections(), 0u);
}

TEST_F(http_endless, a_client_that_pipelines_is_not_taken_for_gone) {
  std::vector<http_server::respond> kept;
  bool gone = false;
  open([&](const http_request& r, http_server::respond respond) {
    if (r.path == "/second") return respond({.headers = {{"Connection", "close"}}, .body = "second"});
    kept.push_back(std::move(respond));
    r.client->on_gone = [&] { gone = true; };
    loop_.post([&] { kept[0]({.body = "first"}); });
  });
  const auto got = raw(std::string(ask) + "GET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_NE(got.find("first"), std::string::npos);
  EXPECT_TRUE(got.ends_with("second"));
  EXPECT_FALSE(gone);
}

TEST_F(http_endless, a_body_is_shared_by_its_answers) {
  const auto body = std::make_shared<const std::string>(3 << 20, 'x');
  open([&](const http_request&, http_server::respond respond) {
    respond({.content_type = "video/mp2t", .shared_body = body});
  });
  const auto got = raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_NE(got.find("Content-Length: 3145728\r\n"), std::string::npos);
  EXPECT_TRUE(got.ends_with("\r\n\r\n" + *body));
  const auto head = raw("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_NE(head.find("Content-Length: 3145728\r\n"), std::string::npos);
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
}

TEST_F(http_endless, head_of_another_server_has_that_ones_length_or_none) {
  for (const bool known : {true, false}) {
    open([&](const http_request&, http_server::respond respond) {
      http_response r{.content_type = "video/mp2t", .header_only = true};
      if (known) r.headers = {{"Content-Length", "3145728"}};
      respond(std::move(r));
    });
    const std::string one = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    const auto got = raw(one + "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    EXPECT_NE(got.find("\r\n\r\nHTTP/1.1 200"), std::string::npos) << "the connection goes on: " << got;
    EXPECT_EQ(got.find("Content-Length: 3145728\r\n") != std::string::npos, known) << got;
    EXPECT_EQ(got.find("Content-Length: 0"), std::string::npos) << got;
    EXPECT_NE(got.find("Content-Type: video/mp2t\r\n"), std::string::npos) << got;
    EXPECT_TRUE(got.ends_with("\r\n\r\n"));
    // Whoever asks for the body gets a message that has an end.
    const auto whole = raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    EXPECT_NE(whole.find("Content-Length: 0\r\n"), std::string::npos) << whole;
  }
}

TEST_F(http_endless, loops_share_a_port) {
  auto reserved = reserve_port(any_port());
  ASSERT_TRUE(reserved);
  limits_.share_port = true;
  const auto handle = [&](const http_request&, http_server::respond respond) { respond({.body = "ok"}); };
  auto a = http_server::open(loop_, reserved->first, limits_, log_, handle);
  auto b = http_server::open(loop_, reserved->first, limits_, log_, handle);
  ASSERT_TRUE(a && b);
  EXPECT_EQ((*a)->local(), (*b)->local());
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(fetch({.url = "http://" + (*a)->local().to_string() + "/"}));
  tcp_stream(reserved->second).close();
}

// ---- connections that are kept

class http_kept : public http {
 protected:
  base::result<http_response> fetch_by(http_pool& pool, http_client_request request) {
    std::optional<base::result<http_response>> outcome;
    http_fetch(
        loop_, std::move(request),
        [&](base::result<http_response> r) {
          outcome = std::move(r);
          loop_.stop();
        },
        &pool);
    run();
    return *outcome;
  }
  void open_counting() {
    open([this](const http_request& r, http_server::respond respond) {
      peers.push_back(r.peer.port);
      respond({.body = r.path});
    });
  }
  size_t connections_used() const {
    auto sorted = peers;
    std::sort(sorted.begin(), sorted.end());
    return static_cast<size_t>(std::unique(sorted.begin(), sorted.end()) - sorted.begin());
  }
  std::vector<uint16_t> peers;
};

TEST_F(http_kept, one_connection_serves_many_exchanges) {
  open_counting();
  descriptor_budget budget(2);
  {
    http_pool pool(loop_, {.descriptors = &budget});
    for (int i = 0; i < 5; ++i) {
      const auto r = fetch_by(pool, {.url = url("/a" + std::to_string(i))});
      ASSERT_TRUE(r) << r.error().text;
      EXPECT_EQ(r->body, "/a" + std::to_string(i));
      EXPECT_EQ(pool.idle(), 1u);
    }
    EXPECT_EQ(connections_used(), 1u);
    EXPECT_EQ(budget.left(), 1);
  }
  EXPECT_EQ(budget.left(), 2);
}

TEST_F(http_kept, a_connection_that_the_server_closed_is_not_used) {
  open_counting();
  descriptor_budget budget(2);
  http_pool pool(loop_, {.descriptors = &budget});
  ASSERT_TRUE(fetch_by(pool, {.url = url("/1")}));
  const auto at = server_->local();
  server_.reset();
  run_posted();
  auto again = http_server::open(loop_, at, limits_, log_,
                                 [](const http_request&, http_server::respond respond) { respond({.body = "new"}); });
  ASSERT_TRUE(again);
  const auto r = fetch_by(pool, {.url = "http://" + at.to_string() + "/2"});
  ASSERT_TRUE(r) << r.error().text;
  EXPECT_EQ(r->body, "new");
  EXPECT_EQ(budget.left(), 1);
}

/// Answers the first request of each connection, and hangs up on the second without a word.
class one_answer_server {
 public:
  explicit one_answer_server(loop& l) : loop_(l) {
    acceptor_ = *tcp_acceptor::open(l, any_port(), {}, [this](tcp_stream s, const base::endpoint&) {
      auto c = std::make_unique<connection>();
      c->stream = std::move(s);
      c->on_io = std::make_unique<io_function>([this, p = c.get()](io_ready) { read(*p); });
      loop_.watch(c->stream.fd(), *c->on_io);
      all_.push_back(std::move(c));
    });
  }
  ~one_answer_server() {
    for (auto& c : all_)
      if (c->stream.is_open()) loop_.unwatch(c->stream.fd(), *c->on_io);
  }
  std::string url() const { return "http://" + acceptor_->local().to_string() + "/"; }
  size_t connections() const { return all_.size(); }
  int requests = 0;

 private:
  struct connection {
    tcp_stream stream;
    std::unique_ptr<io_function> on_io;
    int requests = 0;
  };
  void read(connection& c) {
    while (c.stream.is_open()) {
      const auto got = c.stream.read(loop_.read_buffer(), loop::read_buffer_size);
      if (got.status == io_status::would_block) return;
      if (got.status == io_status::ok && c.requests++ == 0) {
        ++requests;
        c.stream.write(base::as_bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        continue;
      }
      requests += got.status == io_status::ok;
      loop_.unwatch(c.stream.fd(), *c.on_io);
      c.stream.close();
    }
  }
  loop& loop_;
  std::unique_ptr<tcp_acceptor> acceptor_;
  std::vector<std::unique_ptr<connection>> all_;
};

TEST_F(http_kept, a_get_that_meets_a_closing_connection_is_tried_anew) {
  one_answer_server server(loop_);
  descriptor_budget budget(3);
  http_pool pool(loop_, {.descriptors = &budget});
  ASSERT_TRUE(fetch_by(pool, {.url = server.url()}));
  const auto r = fetch_by(pool, {.url = server.url()});
  ASSERT_TRUE(r) << r.error().text;
  EXPECT_EQ(server.connections(), 2u);
  EXPECT_EQ(server.requests, 3);
  EXPECT_EQ(budget.left(), 2);
}

TEST_F(http_kept, a_post_takes_a_connection_of_its_own) {
  one_answer_server server(loop_);
  http_pool pool(loop_, {});
  ASSERT_TRUE(fetch_by(pool, {.url = server.url()}));
  ASSERT_TRUE(fetch_by(pool, {.method = "POST", .url = server.url(), .body = "x"}));
  EXPECT_EQ(server.connections(), 2u);
  EXPECT_EQ(server.requests, 2) << "it may not be done twice";
}

TEST_F(http_kept, but_not_where_a_head_was_asked) {
  open_counting();
  http_pool pool(loop_, {});
  ASSERT_TRUE(fetch_by(pool, {.method = "HEAD", .url = url("/")}));
  EXPECT_EQ(pool.idle(), 0u) << "a body may follow, of servers that know no HEAD";
  ASSERT_TRUE(fetch_by(pool, {.url = url("/")}));
  EXPECT_EQ(pool.idle(), 1u);
}

TEST_F(http_kept, so_many_are_kept) {
  std::vector<http_server::respond> kept;
  open([&](const http_request&, http_server::respond respond) {
    kept.push_back(std::move(respond));
    if (kept.size() == 4)
      for (auto& k : kept) k({.body = "x"});
  });
  descriptor_budget budget(10);
  http_pool pool(loop_, {.idle_max = 3, .idle_per_server_max = 2, .descriptors = &budget});
  int done = 0;
  for (int i = 0; i < 4; ++i)
    http_fetch(
        loop_, {.url = url("/")},
        [&](base::result<http_response> r) {
          EXPECT_TRUE(r);
          if (++done == 4) loop_.post([&] { loop_.stop(); });
        },
        &pool);
  run();
  EXPECT_EQ(pool.idle(), 2u);
  for (int i = 0; i < 10 && budget.left() != 8; ++i) run_posted();
  EXPECT_EQ(budget.left(), 8);
}

TEST_F(http_kept, they_are_closed_after_their_time) {
  open_counting();
  descriptor_budget budget(2);
  http_pool pool(loop_, {.idle_time = 20ms, .descriptors = &budget});
  ASSERT_TRUE(fetch_by(pool, {.url = url("/")}));
  EXPECT_EQ(pool.idle(), 1u);
  timer look(loop_, [&] {
    if (pool.idle() == 0) return loop_.stop();
    look.arm_after(2ms);
  });
  look.arm_after(2ms);
  run();
  EXPECT_EQ(budget.left(), 2);
}

TEST_F(http_kept, without_a_descriptor_nothing_is_dialled) {
  open_counting();
  descriptor_budget budget(0);
  http_pool pool(loop_, {.descriptors = &budget});
  const auto r = fetch_by(pool, {.url = url("/")});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().reason, "no_descriptors");
  EXPECT_TRUE(peers.empty());
  EXPECT_EQ(budget.left(), 0);
}

TEST_F(http_kept, what_says_close_is_not_kept) {
  open([&](const http_request&, http_server::respond respond) {
    respond({.headers = {{"Connection", "close"}}, .body = "x"});
  });
  descriptor_budget budget(1);
  http_pool pool(loop_, {.descriptors = &budget});
  server_->stop_listening();
  EXPECT_FALSE(fetch_by(pool, {.url = url("/")}));
  for (int i = 0; i < 10 && budget.left() != 1; ++i) run_posted();
  EXPECT_EQ(budget.left(), 1);
  EXPECT_EQ(pool.idle(), 0u);
}

TEST_F(http_kept, who_has_connected_when_the_server_stops_is_answered) {
  open_counting();
  std::optional<tcp_stream> client;
  tcp_connector connector(loop_, server_->local(), 5s, [&](base::result<tcp_stream> s) { client = std::move(*s); });
  for (int i = 0; i < 1000 && (!client || server_->connections() == 0); ++i) run_posted();
  ASSERT_EQ(server_->connections(), 1u);
  server_->stop_listening();
  EXPECT_TRUE(server_->listening().empty());
  run_posted();
  ASSERT_TRUE(client);
  client->write(base::as_bytes("GET /late HTTP/1.1\r\nHost: a\r\n\r\n"));
  std::string got;
  auto status = io_status::would_block;
  for (int i = 0; i < 1000 && (status == io_status::ok || status == io_status::would_block); ++i) {
    run_posted();
    const auto r = client->read(loop_.read_buffer(), loop::read_buffer_size);
    status = r.status;
    if (status == io_status::ok) got.append(reinterpret_cast<const char*>(loop_.read_buffer()), r.bytes);
  }
  EXPECT_EQ(status, io_status::closed) << "and not reset";
  EXPECT_TRUE(got.starts_with("HTTP/1.1 200 OK\r\n")) << got;
  EXPECT_NE(got.find("Connection: close\r\n"), std::string::npos) << got;
  EXPECT_TRUE(got.ends_with("/late"));
}

TEST_F(http_kept, who_was_answered_may_ask_once_more_and_then_has_to_go) {
  open_counting();
  descriptor_budget budget(2);
  http_pool pool(loop_, {.descriptors = &budget});
  ASSERT_TRUE(fetch_by(pool, {.url = url("/1")}));
  server_->stop_listening();
  const auto r = fetch_by(pool, {.url = url("/2")});
  ASSERT_TRUE(r) << r.error().text;
  EXPECT_EQ(connections_used(), 1u);
  EXPECT_EQ(pool.idle(), 0u) << "the answer says close";
  EXPECT_FALSE(fetch_by(pool, {.url = url("/3")})) << "nobody listens";
  // Who does not ask is closed all the same.
  open_counting();
  ASSERT_TRUE(fetch_by(pool, {.url = url("/4")}));
  server_->stop_listening();
  timer look(loop_, [&] {
    look.arm_after(5ms);
    if (server_->connections() == 0) loop_.stop();
  });
  look.arm_after(5ms);
  run();
  EXPECT_EQ(server_->connections(), 0u);
}

TEST_F(http_kept, one_server_on_several_sockets) {
  const auto reserved = reserve_port(any_port());
  ASSERT_TRUE(reserved);
  const descriptor reservation(reserved->second);
  tcp_listeners from;
  for (int i = 0; i < 3; ++i) from.push_back(*tcp_listener::open(reserved->first, {.share_port = true}));
  auto opened =
      http_server::open(loop_, std::move(from), limits_, log_,
                        [](const http_request& r, http_server::respond respond) { respond({.body = r.path}); });
  ASSERT_TRUE(opened);
  server_ = std::move(*opened);
  EXPECT_EQ(server_->local(), reserved->first);
  EXPECT_EQ(server_->listening().size(), 3u);
  // The kernel deals connections out to the three: each must be answered.
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(fetch({.url = url("/" + std::to_string(i))}));
}

TEST_F(http_kept, a_pool_may_go_while_an_exchange_is_under_way) {
  std::vector<http_server::respond> kept;
  open([&](const http_request&, http_server::respond respond) {
    kept.push_back(std::move(respond));
    loop_.stop();
  });
  descriptor_budget budget(1);
  auto pool = std::make_unique<http_pool>(loop_, http_pool::limits{.descriptors = &budget});
  bool done = false;
  http_fetch(
      loop_, {.url = url("/")},
      [&](base::result<http_response> r) {
        done = true;
        EXPECT_TRUE(r);
        loop_.stop();
      },
      pool.get());
  run();
  pool.reset();
  kept[0]({.body = "x"});
  run();
  EXPECT_TRUE(done);
  for (int i = 0; i < 10 && budget.left() != 1; ++i) run_posted();
  EXPECT_EQ(budget.left(), 1);
}

}  // namespace
}  // namespace sluice::runtime
