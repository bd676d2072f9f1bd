#include <gtest/gtest.h>

#include "relay/control_link.hpp"
#include "runtime/http_server.hpp"
#include "servers/rtmp/capabilities.hpp"
#include "unit/servers/support.hpp"

// Questions to an origin whether it lives: handshakes, its API, and pings on a link that is kept.
namespace sluice::relay {
namespace {

using cluster::probe_answer;
using cluster::probe_kind;
using servers::test::any_port;
using servers::test::run_until;
using std::chrono::milliseconds;

/// A port where nobody listens.
base::endpoint dead_port(runtime::loop& l) {
  return (*runtime::tcp_acceptor::open(l, any_port(), {}, [](runtime::tcp_stream, const base::endpoint&) {}))->local();
}

/// Accepts, and does as the test says with each connection.
class puppet_server {
 public:
  enum class manner { hold, hang_up };
  puppet_server(runtime::loop& l, manner m, const base::endpoint& at = any_port())
      : acceptor_(*runtime::tcp_acceptor::open(l, at, {}, [this, m](runtime::tcp_stream s, const base::endpoint&) {
          ++accepted;
          if (m == manner::hold) held_.push_back(std::move(s));
        })) {}
  base::endpoint at() const { return acceptor_->local(); }
  size_t accepted = 0;

 private:
  std::vector<runtime::tcp_stream> held_;
  std::unique_ptr<runtime::tcp_acceptor> acceptor_;
};

/// An RTMP server that takes control connections, and reads only while it is told to.
class puppet_origin final : runtime::io_handler {
 public:
  explicit puppet_origin(runtime::loop& l) : loop_(l) { listen(any_port()); }
  ~puppet_origin() { hang_up(); }
  void listen(const base::endpoint& at) {
    acceptor_ = *runtime::tcp_acceptor::open(loop_, at, {}, [this](runtime::tcp_stream s, const base::endpoint&) {
      hang_up();
      ++accepted;
      stream_ = std::move(s);
      session_ = std::make_unique<rtmp::server_session>(config_, loop_.now(), 1);
      loop_.watch(stream_.fd(), *this);
    });
    at_ = acceptor_->local();
  }
  void stop_listening() { acceptor_.reset(); }
  void hang_up() {
    if (!stream_.is_open()) return;
    loop_.unwatch(stream_.fd(), *this);
    stream_.close();
    session_.reset();
  }
  void go_on() {
    reads = true;
    if (stream_.is_open()) on_io({});
  }
  base::endpoint at() const { return at_; }

  bool reads = true;
  size_t accepted = 0, connects = 0;

 private:
  void on_io(runtime::io_ready) override {
    while (reads && stream_.is_open()) {
      const auto got = stream_.read(loop_.read_buffer(), runtime::loop::read_buffer_size);
      if (got.status == runtime::io_status::would_block) return;
      if (got.status != runtime::io_status::ok) return hang_up();
      EXPECT_TRUE(session_->receive({loop_.read_buffer(), got.bytes}, loop_.now()));
      while (auto event = session_->next_event()) {
        if (!std::holds_alternative<rtmp::connect_request>(*event)) continue;
        ++connects;
        session_->accept_connect(servers::forward_capabilities(false, true));
      }
      auto& out = session_->output();
      while (!out.empty()) {
        const auto sent = stream_.write(out.pending());
        if (sent.status != runtime::io_status::ok) break;
        out.consume(sent.bytes);
      }
    }
  }
  inline static const rtmp::session_config config_{};
  runtime::loop& loop_;
  std::unique_ptr<runtime::tcp_acceptor> acceptor_;
  base::endpoint at_;
  runtime::tcp_stream stream_;
  std::unique_ptr<rtmp::server_session> session_;
};

class probe_test : public servers::test::origin_test {
 protected:
  probe_test() { limits.trusted = {*base::network::parse("127.0.0.0/8")}; }

  std::optional<probe_outcome> ask(probe_kind kind, std::vector<base::endpoint> targets,
                                   base::duration timeout = std::chrono::seconds(5)) {
    std::optional<probe_outcome> outcome;
    const cluster::action::probe p{"o", kind, std::move(targets), timeout};
    const auto done = [&](probe_outcome o) { outcome = std::move(o); };
    if (kind == probe_kind::rtmp_ping) {
      links.ping(p, done);
    } else {
      under_way = probe_origin(loop, p, done);
    }
    EXPECT_FALSE(outcome) << "answered from within";
    run_until(loop, [&] { return outcome.has_value(); });
    return outcome;
  }
  probe_answer ask_for_answer(probe_kind kind, std::vector<base::endpoint> targets,
                              base::duration timeout = std::chrono::seconds(5)) {
    const auto outcome = ask(kind, std::move(targets), timeout);
    return outcome ? outcome->answer : probe_answer::silent;
  }

  /// Until the link to it is made.
  void link_up(const puppet_origin& o) {
    EXPECT_EQ(ask_for_answer(probe_kind::rtmp_ping, {o.at()}), probe_answer::ok);
    run_until(loop, [&] { return o.connects == o.accepted; });
    servers::test::run_turns(loop);
  }

  probe_under_way under_way;
  std::vector<std::string> broken;
  origin_lines lines;
  control_links links{loop, lines, [this](const std::string& id) { broken.push_back(id); }};
};

constexpr auto ping = probe_kind::rtmp_ping;
constexpr auto handshake = probe_kind::rtmp_handshake;

class both_rtmp_probes : public probe_test, public ::testing::WithParamInterface<probe_kind> {};
INSTANTIATE_TEST_SUITE_P(kinds, both_rtmp_probes, ::testing::Values(ping, handshake),
                         [](const auto& info) { return info.param == ping ? "ping" : "handshake"; });

TEST_P(both_rtmp_probes, an_origin_answers) { EXPECT_EQ(ask_for_answer(GetParam(), {origin().at}), probe_answer::ok); }

TEST_P(both_rtmp_probes, a_port_that_refuses_is_gone) {
  EXPECT_EQ(ask_for_answer(GetParam(), {dead_port(loop)}), probe_answer::gone);
  EXPECT_EQ(ask_for_answer(GetParam(), {dead_port(loop), dead_port(loop)}), probe_answer::gone);
}

TEST_P(both_rtmp_probes, who_accepts_without_a_word_is_silent) {
  puppet_server stopped(loop, puppet_server::manner::hold);
  EXPECT_EQ(ask_for_answer(GetParam(), {stopped.at()}, milliseconds(50)), probe_answer::silent);
}

TEST_P(both_rtmp_probes, who_accepts_and_hangs_up_is_asked_again_and_is_not_gone) {
  puppet_server full(loop, puppet_server::manner::hang_up);
  EXPECT_EQ(ask_for_answer(GetParam(), {full.at()}), probe_answer::silent);
  EXPECT_EQ(full.accepted, 1 + redials_max);
}

TEST_P(both_rtmp_probes, one_of_several_targets_will_do) {
  puppet_server stopped(loop, puppet_server::manner::hold);
  EXPECT_EQ(ask_for_answer(GetParam(), {dead_port(loop), origin().at}), probe_answer::ok);
  EXPECT_EQ(ask_for_answer(handshake, {stopped.at(), origin().at}), probe_answer::ok);
  EXPECT_EQ(ask_for_answer(handshake, {stopped.at(), dead_port(loop)}, milliseconds(50)), probe_answer::silent);
}

TEST_P(both_rtmp_probes, without_targets_nobody_answers) {
  EXPECT_EQ(ask_for_answer(GetParam(), {}), probe_answer::silent);
}

TEST_F(probe_test, a_probe_that_is_dropped_says_nothing) {
  puppet_server stopped(loop, puppet_server::manner::hold);
  auto p = probe_origin(loop, {"o", handshake, {stopped.at(), origin().at}, milliseconds(1)},
                        [](const probe_outcome&) { ADD_FAILURE() << "nobody wants to know"; });
  p.reset();
  const auto until = loop.refresh() + milliseconds(10);
  run_until(loop, [&] { return runtime::loop::monotonic_now() >= until; });
}

TEST_F(probe_test, the_api_tells_its_incarnation) {
  std::unique_ptr<runtime::http_server> api;
  int status = 200;
  api = *runtime::http_server::open(loop, any_port(), {}, log, [&](const auto&, const auto& respond) {
    runtime::http_response r;
    r.status = status;
    r.body = R"({"code":0,"server":"a","service":"b","pid":"7"})";
    respond(std::move(r));
  });
  const auto fine = ask(probe_kind::api_versions, {api->local()});
  ASSERT_TRUE(fine);
  EXPECT_EQ(fine->answer, probe_answer::ok);
  EXPECT_EQ(fine->incarnation, "a-b-7");
  status = 503;
  EXPECT_EQ(ask_for_answer(probe_kind::api_versions, {api->local()}), probe_answer::silent);
  EXPECT_EQ(ask_for_answer(probe_kind::api_versions, {dead_port(loop)}), probe_answer::gone);
  puppet_server stopped(loop, puppet_server::manner::hold);
  EXPECT_EQ(ask_for_answer(probe_kind::api_versions, {stopped.at()}, milliseconds(50)), probe_answer::silent);
}

TEST_F(probe_test, pings_share_one_connection) {
  puppet_origin o(loop);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(ask_for_answer(ping, {o.at()}), probe_answer::ok);
  EXPECT_EQ(o.accepted, 1u);
  EXPECT_EQ(o.connects, 1u);
  EXPECT_GT(lines.of("o")->load(), 0) << "what a link hears counts like any other byte";
}

TEST_F(probe_test, a_trusting_origin_keeps_the_link_beyond_the_command_timeout) {
  limits.session.command_timeout = milliseconds(50);
  limits.descriptors = &two_descriptors;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask_for_answer(ping, {origin().at}), probe_answer::ok);
  const auto until = loop.refresh() + milliseconds(120);
  run_until(loop, [&] { return runtime::loop::monotonic_now() >= until; });
  EXPECT_EQ(two_descriptors.left(), 1) << "the link is there";
  EXPECT_EQ(origin().server.sessions(), 0u) << "and is no session";
  EXPECT_EQ(ask_for_answer(ping, {origin().at}), probe_answer::ok);
  EXPECT_TRUE(broken.empty());
  EXPECT_TRUE(log.of("session_refused").empty());
}

TEST_F(probe_test, an_origin_that_does_not_trust_us_is_asked_by_handshakes) {
  limits.trusted.clear();
  limits.descriptors = &two_descriptors;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask_for_answer(ping, {origin().at}), probe_answer::ok);
  EXPECT_TRUE(run_until(loop, [&] { return two_descriptors.left() == 2; })) << "none is kept";
  EXPECT_TRUE(broken.empty());
}

TEST_F(probe_test, a_stopped_origin_is_silent_and_its_late_answer_is_heard) {
  puppet_origin o(loop);
  link_up(o);
  o.reads = false;
  EXPECT_EQ(ask_for_answer(ping, {o.at()}, milliseconds(30)), probe_answer::silent);
  EXPECT_EQ(ask_for_answer(ping, {o.at()}, milliseconds(30)), probe_answer::silent);
  const auto line = lines.of("o");
  const auto before = line->load();
  o.go_on();
  EXPECT_TRUE(run_until(loop, [&] { return line->load() > before; }));
  EXPECT_EQ(ask_for_answer(ping, {o.at()}), probe_answer::ok);
  EXPECT_EQ(o.accepted, 1u);
}

TEST_F(probe_test, the_break_of_an_idle_link_is_told_once) {
  puppet_origin o(loop);
  link_up(o);
  o.hang_up();
  EXPECT_TRUE(run_until(loop, [&] { return !broken.empty(); }));
  EXPECT_EQ(broken, std::vector<std::string>{"o"});
  EXPECT_EQ(ask_for_answer(ping, {o.at()}), probe_answer::ok) << "it lives: the next ping makes a new link";
  EXPECT_EQ(o.accepted, 2u);
  EXPECT_EQ(broken.size(), 1u);
}

TEST_F(probe_test, a_link_that_breaks_under_a_ping_is_dialled_again) {
  puppet_origin o(loop);
  for (const bool lives : {true, false}) {
    link_up(o);
    o.reads = false;
    std::optional<probe_answer> answer;
    links.ping({"o", ping, {o.at()}, std::chrono::seconds(5)}, [&](const probe_outcome& p) { answer = p.answer; });
    servers::test::run_turns(loop);
    EXPECT_FALSE(answer);
    if (!lives) o.stop_listening();
    o.reads = true;
    o.hang_up();
    run_until(loop, [&] { return answer.has_value(); });
    EXPECT_EQ(answer, lives ? probe_answer::ok : probe_answer::gone);
  }
  EXPECT_TRUE(broken.empty()) << "the ping's outcome tells";
}

TEST_F(probe_test, links_of_forgotten_origins_end) {
  puppet_origin o(loop);
  EXPECT_EQ(ask_for_answer(ping, {o.at()}), probe_answer::ok);
  links.forget([](const std::string& id) { return id == "o"; });
  EXPECT_EQ(links.size(), 1u);
  links.ping({"o", ping, {o.at()}, milliseconds(1)}, [](const probe_outcome&) { ADD_FAILURE() << "it is forgotten"; });
  links.forget([](const std::string&) { return false; });
  EXPECT_EQ(links.size(), 0u);
  servers::test::run_turns(loop);
  EXPECT_TRUE(broken.empty());
}

TEST(origin_lines, tell_only_what_moved_and_forget_what_nobody_holds) {
  origin_lines lines;
  const auto a = lines.of("a");
  EXPECT_EQ(lines.of("a"), a);
  lines.of("b");
  std::vector<std::string> told;
  const auto tell = [&] {
    told.clear();
    lines.for_each_new([&](const std::string& id, base::time_point when) {
      told.push_back(id);
      EXPECT_EQ(when, base::time_point(milliseconds(5)));
    });
    return told;
  };
  EXPECT_TRUE(tell().empty());
  note_heard(*a, base::time_point(milliseconds(5)));
  EXPECT_EQ(tell(), std::vector<std::string>{"a"});
  EXPECT_TRUE(tell().empty());
  lines.forget([](const std::string&) { return false; });
  EXPECT_EQ(lines.size(), 1u) << "a is held";
  lines.forget([](const std::string&) { return true; });
  EXPECT_EQ(lines.size(), 1u);
}

}  // namespace
}  // namespace sluice::relay
