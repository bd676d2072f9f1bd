#include "runtime/tcp.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <optional>
#include <thread>

#include "loop_test_tools.hpp"
#include "runtime/descriptor.hpp"

namespace sluice::runtime {
namespace {

using namespace std::chrono_literals;

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  EXPECT_EQ(getsockopt(fd, level, name, &value, &size), 0);
  return value;
}

uint8_t pattern(size_t offset) { return static_cast<uint8_t>(offset * 31 + offset / 251); }

/// Sends `size` patterned bytes and checks as many that come, edge-triggered, both at once.
class duplex final : io_handler {
 public:
  duplex(loop& l, tcp_stream stream, size_t size, std::function<void()> done)
      : loop_(l), stream_(std::move(stream)), size_(size), done_(std::move(done)) {
    loop_.watch(stream_.fd(), *this);
  }
  ~duplex() { loop_.unwatch(stream_.fd(), *this); }
  size_t received() const { return received_; }

 private:
  void on_io(io_ready ready) override {
    if (ready.writable) send();
    if (ready.readable || ready.hangup) receive();
  }
  void send() {
    while (sent_ < size_) {
      std::array<uint8_t, 10'000> part;
      const size_t count = std::min(part.size(), size_ - sent_);
      for (size_t i = 0; i < count; ++i) part[i] = pattern(sent_ + i);
      // Two unequal parts, so that partial gathered writes happen.
      const iovec parts[] = {{part.data(), count / 3}, {part.data() + count / 3, count - count / 3}};
      const io_result r = stream_.write(parts);
      if (r.status != io_status::ok) {
        ASSERT_EQ(r.status, io_status::would_block);
        return;
      }
      sent_ += r.bytes;
    }
    stream_.shutdown_write();
  }
  void receive() {
    for (;;) {
      const io_result r = stream_.read(loop_.read_buffer(), loop::read_buffer_size);
      if (r.status == io_status::would_block) return;
      if (r.status == io_status::closed) return std::exchange(done_, [] {})();
      ASSERT_EQ(r.status, io_status::ok);
      for (size_t i = 0; i < r.bytes; ++i) ASSERT_EQ(loop_.read_buffer()[i], pattern(received_ + i));
      received_ += r.bytes;
    }
  }

  loop& loop_;
  tcp_stream stream_;
  size_t size_, sent_ = 0, received_ = 0;
  std::function<void()> done_;
};

using tcp = loop_test;

TEST_F(tcp, ten_megabytes_both_ways) {
  constexpr size_t size = 10'000'000;
  int finished = 0;
  const auto done = [&] {
    if (++finished == 2) loop_.stop();
  };
  std::unique_ptr<duplex> server, client;
  auto acceptor = tcp_acceptor::open(loop_, any_port(), {}, [&](tcp_stream s, const base::endpoint& peer) {
    EXPECT_TRUE(peer.address.is_loopback());
    EXPECT_EQ(s.remote(), peer);
    EXPECT_EQ(option(s.fd(), IPPROTO_TCP, TCP_NODELAY), 1);
    s.limit_send_memory(64 * 1024, 16 * 1024);
    s.set_backstop(5s, 60s);
    EXPECT_EQ(option(s.fd(), IPPROTO_TCP, TCP_USER_TIMEOUT), 5000);
    server = std::make_unique<duplex>(loop_, std::move(s), size, done);
  });
  ASSERT_TRUE(acceptor);
  EXPECT_NE((*acceptor)->local().port, 0);
  tcp_connector connector(loop_, (*acceptor)->local(), 5s, [&](base::result<tcp_stream> s) {
    ASSERT_TRUE(s);
    EXPECT_EQ(option(s->fd(), IPPROTO_TCP, TCP_NODELAY), 1);
    client = std::make_unique<duplex>(loop_, std::move(*s), size, done);
  });
  run();
  EXPECT_EQ(server->received(), size);
  EXPECT_EQ(client->received(), size);
}

/// A pair of connected streams.
std::pair<tcp_stream, tcp_stream> connected_pair(loop& l) {
  tcp_stream client, server;
  const auto stop_if_both = [&] {
    if (client.is_open() && server.is_open()) l.stop();
  };
  auto acceptor = tcp_acceptor::open(l, any_port(), {}, [&](tcp_stream s, const base::endpoint&) {
    server = std::move(s);
    stop_if_both();
  });
  tcp_connector connector(l, (*acceptor)->local(), 5s, [&](base::result<tcp_stream> s) {
    client = std::move(*s);
    stop_if_both();
  });
  l.run();
  return {std::move(client), std::move(server)};
}

TEST_F(tcp, an_abort_is_seen_as_failure_and_a_write_after_it_raises_no_signal) {
  auto [client, server] = connected_pair(loop_);
  std::vector<io_result> results;
  io_function handler([&](io_ready ready) {
    if (!ready.hangup) return;
    results.push_back(server.read(loop_.read_buffer(), loop::read_buffer_size));
    const uint8_t byte = 1;
    results.push_back(server.write(base::bytes_view(&byte, 1)));
    const descriptor file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    results.push_back(server.send_file(file.fd(), 0, 100));
    loop_.stop();
  });
  loop_.watch(server.fd(), handler);
  client.abort();
  EXPECT_FALSE(client.is_open());
  run();
  loop_.unwatch(server.fd(), handler);
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[0].status, io_status::failed);
  EXPECT_EQ(results[0].error, ECONNRESET);
  for (size_t i : {1u, 2u}) {
    EXPECT_EQ(results[i].status, io_status::failed) << i;
    EXPECT_EQ(results[i].error, EPIPE) << i;
  }
}

TEST_F(tcp, more_parts_than_the_kernel_takes_are_cut) {
  auto [client, server] = connected_pair(loop_);
  uint8_t byte = 7;
  const std::vector<iovec> parts(3000, iovec{&byte, 1});
  const io_result r = client.write(parts);
  EXPECT_EQ(r.status, io_status::ok);
  EXPECT_EQ(r.bytes, 1024u);
}

TEST_F(tcp, a_dual_stack_listener_names_ipv4_peers_as_ipv4) {
  std::vector<base::endpoint> peers;
  auto acceptor = tcp_acceptor::open(loop_, base::endpoint{}, {}, [&](tcp_stream, const base::endpoint& peer) {
    peers.push_back(peer);
    if (peers.size() == 2) loop_.stop();
  });
  ASSERT_TRUE(acceptor) << acceptor.error().text;
  const uint16_t port = (*acceptor)->local().port;
  const auto ignore = [](base::result<tcp_stream> s) { EXPECT_TRUE(s); };
  tcp_connector v4(loop_, {base::ip_address::v4({127, 0, 0, 1}), port}, 5s, ignore);
  tcp_connector v6(loop_, {*base::ip_address::parse("::1"), port}, 5s, ignore);
  run();
  EXPECT_EQ(peers[0].address.is_v4() + peers[1].address.is_v4(), 1);
}

TEST_F(tcp, an_explicit_ipv6_listener_leaves_the_ipv4_port_alone) {
  const auto accept = [](tcp_stream, const base::endpoint&) {};
  auto v6 = tcp_acceptor::open(loop_, {*base::ip_address::parse("::1"), 0}, {}, accept);
  ASSERT_TRUE(v6);
  auto v4 = tcp_acceptor::open(loop_, {base::ip_address::v4({127, 0, 0, 1}), (*v6)->local().port}, {}, accept);
  EXPECT_TRUE(v4);
}

TEST_F(tcp, a_second_listener_is_refused_and_told_the_address) {
  const auto accept = [](tcp_stream, const base::endpoint&) {};
  auto first = tcp_acceptor::open(loop_, any_port(), {}, accept);
  ASSERT_TRUE(first);
  auto second = tcp_acceptor::open(loop_, (*first)->local(), {}, accept);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().reason, "address_in_use");
  EXPECT_NE(second.error().text.find((*first)->local().to_string()), std::string::npos) << second.error().text;
  auto foreign = tcp_acceptor::open(loop_, {base::ip_address::v4({192, 0, 2, 1}), 0}, {}, accept);
  ASSERT_FALSE(foreign);
  EXPECT_EQ(foreign.error().reason, "cannot_bind");
}

TEST_F(tcp, an_acceptor_may_be_destroyed_by_its_callback) {
  std::unique_ptr<tcp_acceptor> acceptor;
  auto token = std::make_shared<int>(5);
  auto opened = tcp_acceptor::open(loop_, any_port(), {}, [&, token](tcp_stream, const base::endpoint&) {
    acceptor.reset();
    EXPECT_EQ(*token, 5);
    loop_.stop();
  });
  ASSERT_TRUE(opened);
  acceptor = std::move(*opened);
  const auto to = acceptor->local();
  tcp_connector one(loop_, to, 5s, [](base::result<tcp_stream>) {});
  tcp_connector two(loop_, to, 5s, [](base::result<tcp_stream>) {});
  run();
  EXPECT_EQ(acceptor, nullptr);
}

TEST_F(tcp, a_burst_larger_than_a_turn_is_accepted_whole) {
  constexpr size_t count = 200;
  size_t accepted = 0;
  auto acceptor = tcp_acceptor::open(loop_, any_port(), {}, [&](tcp_stream, const base::endpoint&) {
    if (++accepted == count) loop_.stop();
  });
  ASSERT_TRUE(acceptor);
  std::vector<std::unique_ptr<tcp_connector>> connectors;
  for (size_t i = 0; i < count; ++i) {
    connectors.push_back(
        std::make_unique<tcp_connector>(loop_, (*acceptor)->local(), 5s, [](base::result<tcp_stream>) {}));
  }
  run();
  EXPECT_EQ(accepted, count);
}

// ---- sharing a port

TEST_F(tcp, a_reserved_port_is_refused_to_others_before_and_while_it_is_shared) {
  auto reserved = reserve_port(any_port());
  ASSERT_TRUE(reserved);
  const auto [at, fd] = *reserved;
  ASSERT_NE(at.port, 0);
  const auto expect_refused = [&, to = at] {
    auto again = reserve_port(to);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().reason, "address_in_use");
    EXPECT_NE(again.error().text.find(to.to_string()), std::string::npos);
  };
  expect_refused();
  const auto accept = [](tcp_stream, const base::endpoint&) {};
  auto one = tcp_acceptor::open(loop_, at, {.share_port = true}, accept);
  ASSERT_TRUE(one) << one.error().text;
  auto two = tcp_acceptor::open(loop_, at, {.share_port = true}, accept);
  ASSERT_TRUE(two) << two.error().text;
  expect_refused();
  // A process of its own sees the same.
  const pid_t child = fork();
  if (child == 0) _exit(reserve_port(at).has_value() ? 1 : 0);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  close(fd);
  expect_refused();
  one->reset();
  two->reset();
  auto free_again = reserve_port(at);
  ASSERT_TRUE(free_again) << free_again.error().text;
  close(free_again->second);
}

TEST_F(tcp, a_port_can_be_reserved_while_old_connections_are_in_time_wait) {
  base::endpoint at;
  {
    auto reserved = reserve_port(any_port());
    ASSERT_TRUE(reserved);
    at = reserved->first;
    tcp_stream server;
    auto acceptor = tcp_acceptor::open(loop_, at, {.share_port = true}, [&](tcp_stream s, const base::endpoint&) {
      server = std::move(s);
      server.close();  // the side that closes first keeps TIME_WAIT
      loop_.stop();
    });
    ASSERT_TRUE(acceptor);
    tcp_stream client;
    tcp_connector connector(loop_, at, 5s, [&](base::result<tcp_stream> s) { client = std::move(*s); });
    run();
    run_posted();
    close(reserved->second);
  }
  auto again = reserve_port(at);
  ASSERT_TRUE(again) << again.error().text;
  auto acceptor = tcp_acceptor::open(loop_, at, {.share_port = true}, [](tcp_stream, const base::endpoint&) {});
  EXPECT_TRUE(acceptor);
  close(again->second);
}

TEST_F(tcp, acceptors_of_two_threads_share_every_connection_of_a_port) {
  auto reserved = reserve_port(any_port());
  ASSERT_TRUE(reserved);
  const base::endpoint at = reserved->first;
  constexpr int count = 100;
  std::atomic<int> accepted{0};
  std::array<std::atomic<int>, 2> by_loop{};
  loop loops[2];
  std::vector<std::unique_ptr<tcp_acceptor>> acceptors;
  for (size_t i = 0; i < 2; ++i) {
    auto a = tcp_acceptor::open(loops[i], at, {.share_port = true}, [&, i](tcp_stream, const base::endpoint&) {
      ++by_loop[i];
      if (++accepted == count) loop_.stop();
    });
    ASSERT_TRUE(a);
    acceptors.push_back(std::move(*a));
  }
  std::thread threads[2] = {std::thread([&] { loops[0].run(); }), std::thread([&] { loops[1].run(); })};
  std::vector<std::unique_ptr<tcp_connector>> connectors;
  for (int i = 0; i < count; ++i) {
    connectors.push_back(
        std::make_unique<tcp_connector>(loop_, at, 5s, [](base::result<tcp_stream> s) { EXPECT_TRUE(s); }));
  }
  run();
  for (auto& l : loops) l.stop();
  for (auto& t : threads) t.join();
  // The reserving descriptor, bound to the same port, swallowed none.
  EXPECT_EQ(accepted, count);
  EXPECT_GT(by_loop[0], 0);
  EXPECT_GT(by_loop[1], 0);
  acceptors.clear();
  close(reserved->second);
}

// ---- connecting

TEST_F(tcp, connecting_to_a_closed_port_is_refused) {
  auto reserved = reserve_port(any_port());  // bound, but nobody listens
  ASSERT_TRUE(reserved);
  std::string_view reason;
  bool constructed = false;
  tcp_connector connector(loop_, reserved->first, 5s, [&](base::result<tcp_stream> s) {
    EXPECT_TRUE(constructed);
    ASSERT_FALSE(s);
    reason = s.error().reason;
    EXPECT_NE(s.error().text.find(reserved->first.to_string()), std::string::npos);
    loop_.stop();
  });
  constructed = true;
  run();
  EXPECT_EQ(reason, "refused");
  close(reserved->second);
}

TEST_F(tcp, connecting_to_a_silent_listener_times_out) {
  // A listener whose backlog is full drops every further SYN.
  auto full = tcp_acceptor::open(loop_, any_port(), {.backlog = 0}, [](tcp_stream, const base::endpoint&) {});
  ASSERT_TRUE(full);
  const auto to = (*full)->local();
  loop other;  // `full` is on a loop that does not run meanwhile
  std::vector<std::unique_ptr<tcp_connector>> connectors;
  int timeouts = 0, connected = 0;
  for (int i = 0; i < 4; ++i) {
    connectors.push_back(std::make_unique<tcp_connector>(other, to, 100ms, [&](base::result<tcp_stream> s) {
      if (!s) EXPECT_EQ(s.error().reason, "timeout");
      ++(s ? connected : timeouts);
      if (timeouts + connected == 4) other.stop();
    }));
  }
  other.run();
  EXPECT_GE(timeouts, 2);
}

TEST_F(tcp, a_destroyed_connector_says_nothing) {
  auto acceptor = tcp_acceptor::open(loop_, any_port(), {}, [&](tcp_stream, const base::endpoint&) { loop_.stop(); });
  ASSERT_TRUE(acceptor);
  auto connector =
      std::make_unique<tcp_connector>(loop_, (*acceptor)->local(), 5s, [](base::result<tcp_stream>) { ADD_FAILURE(); });
  connector.reset();
  tcp_connector other(loop_, (*acceptor)->local(), 5s, [](base::result<tcp_stream>) {});
  run();
}

TEST_F(tcp, a_connector_may_be_destroyed_by_its_callback) {
  auto acceptor = tcp_acceptor::open(loop_, any_port(), {}, [](tcp_stream, const base::endpoint&) {});
  ASSERT_TRUE(acceptor);
  std::unique_ptr<tcp_connector> connector;
  connector = std::make_unique<tcp_connector>(loop_, (*acceptor)->local(), 5s, [&](base::result<tcp_stream> s) {
    connector.reset();
    EXPECT_TRUE(s && s->is_open());
    loop_.stop();
  });
  run();
}

// ---- out of descriptors

/// Lets the process open no descriptor more than it has, until destroyed. (UBSan's checks of virtual calls want one.)
class no_more_descriptors {
 public:
  no_more_descriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const int next = dup(0);
    close(next);
    rlimit now = before_;
    now.rlim_cur = static_cast<rlim_t>(next);
    setrlimit(RLIMIT_NOFILE, &now);
  }
  ~no_more_descriptors() { lift(); }
  void lift() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(tcp, an_acceptor_out_of_descriptors_reports_pauses_and_resumes) {
  std::vector<int> errors;
  std::optional<no_more_descriptors> limit;
  base::time_point reported{};
  auto acceptor = tcp_acceptor::open(loop_, any_port(), {}, [&](tcp_stream, const base::endpoint&) {
    EXPECT_EQ(errors.size(), 1u);
    EXPECT_GE(loop_.now() - reported, 100ms);
    loop_.stop();
  });
  ASSERT_TRUE(acceptor);
  (*acceptor)->on_resource_error = [&](int error) {
    limit.reset();
    errors.push_back(error);
    reported = loop_.now();
  };
  tcp_connector waiting(loop_, (*acceptor)->local(), 5s, [](base::result<tcp_stream> s) { EXPECT_TRUE(s); });
  limit.emplace();  // the connector has its socket already
  run();
  EXPECT_EQ(errors, std::vector{EMFILE});
}

TEST_F(tcp, a_connector_out_of_descriptors_says_so) {
  loop& l = loop_;
  std::string_view reason;
  std::optional<no_more_descriptors> limit(std::in_place);
  tcp_connector connector(l, {base::ip_address::v4({127, 0, 0, 1}), 9}, 5s, [&](base::result<tcp_stream> s) {
    reason = s.error().reason;
    loop_.stop();
  });
  limit.reset();
  run();
  EXPECT_EQ(reason, "resources");
}

// ---- names

TEST_F(tcp, resolve_takes_addresses_and_names) {
  std::vector<std::string> seen;
  bool within = true;
  const auto note = [&](base::result<std::vector<base::endpoint>> r) {
    EXPECT_FALSE(within);
    seen.push_back(!r ? std::string(r.error().reason) : r->at(0).address.is_loopback() ? "loopback" : "other");
    if (seen.size() == 4) loop_.stop();
  };
  resolve(loop_, "127.0.0.1", 80, note);
  resolve(loop_, "::1", 80, note);
  resolve(loop_, "localhost", 80, note);
  resolve(loop_, std::string(64, 'x') + ".invalid", 80, note);  // a label too long: no server is asked
  within = false;
  run();
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, (std::vector<std::string>{"loopback", "loopback", "loopback", "no_such_host"}));
}

}  // namespace
}  // namespace sluice::runtime
