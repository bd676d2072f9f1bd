#include "relay/director.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "cluster/store/memory_store.hpp"
#include "unit/servers/support.hpp"

// A director with real origins on its own loop: what it hears, asks and passes on.
namespace sluice::relay {
namespace {

using servers::test::run_until;
using std::chrono::milliseconds;
using std::chrono::seconds;

class director_test : public ::testing::Test {
 protected:
  director_test() {
    limits.trusted = {*base::network::parse("127.0.0.0/8")};
    config.proxy_id = "p1";
    config.seed = 3;
    config.ping_interval = milliseconds(20);
    config.probe_timeout = milliseconds(50);
  }
  ~director_test() override {
    control_.reset();
    origins_.clear();
  }

  director& control() {
    if (control_) return *control_;
    control_ = std::make_unique<director>(loop, config, store_, log, metrics);
    control_->on_origin_lost = [this](const std::string& id, cluster::loss_reason reason) {
      lost.push_back(id + (reason == cluster::loss_reason::gone ? " gone" : " silent"));
    };
    control_->on_owner_changed = [this](const cluster::stream_key& key, const cluster::assignment& to) {
      changed.push_back(key.stream + " " + to.server_id);
    };
    control_->on_move = [this](const cluster::action::move& what) { moves.push_back(what); };
    return *control_;
  }
  /// An origin that is registered; its id is `server-s-1`.
  servers::test::origin_parts& origin(const std::string& server) {
    auto& o = *origins_.emplace_back(std::make_unique<servers::test::origin_parts>(loop, limits, stream_limits, log));
    introduce(server, o.at);
    return o;
  }
  void introduce(const std::string& server, const base::endpoint& at) {
    cluster::origin_registration r;
    r.server = server;
    r.service = "s";
    r.pid = "1";
    r.address = at.address;
    r.ip = at.address.to_string();
    r.rtmp = {at};
    r.sluice.emplace().version = "test";
    EXPECT_TRUE(control().registration(r));
  }
  /// A publisher of ours at the stream's owner.
  cluster::assignment publish(const cluster::stream_key& key) {
    std::optional<base::result<cluster::assignment>> answer;
    control().claim(loop, key, {.session = "pub"}, [&](auto a) { answer = std::move(a); });
    run_until(loop, [&] { return answer.has_value(); });
    if (!answer || !*answer) {
      ADD_FAILURE() << "no owner";
      return {};
    }
    control().publish_started(key, (*answer)->epoch);
    return **answer;
  }
  int64_t moved(std::string_view outcome) {
    return metrics.counter("sluice_moves_total", "", {{"outcome", std::string(outcome)}}).value();
  }
  std::vector<std::string> history(const cluster::stream_key& key) {
    std::vector<std::string> all;
    for (const auto& e : control().explain(key)) all.push_back(e.what);
    return all;
  }
  bool is_alive(const std::string& id) {
    for (const auto& o : control().snapshot().origins)
      if (o.id == id) return o.health == cluster::origin_health::alive;
    return false;
  }

  const cluster::stream_key a{"__defaultVhost__", "live", "a"};
  runtime::loop loop;
  servers::test::memory_log log;
  servers::server_limits limits;
  servers::directory_limits stream_limits;
  cluster::coordinator_config config;
  base::metrics metrics;
  std::vector<std::string> lost, changed;
  std::vector<cluster::action::move> moves;

 private:
  cluster::memory_store store_{[] { return runtime::loop::monotonic_now(); }};
  std::vector<std::unique_ptr<servers::test::origin_parts>> origins_;
  std::unique_ptr<director> control_;
};

TEST_F(director_test, an_origin_that_ends_is_lost_though_nothing_flows) {
  config.ping_interval = seconds(2);  // only the first ping, by which the link is made
  auto& o = origin("o1");
  ASSERT_TRUE(run_until(loop, [&] { return o.server.sessions() == 1; }));
  servers::test::run_turns(loop);
  o.server.stop_listening();
  o.server.close_all("died");
  const auto next_ping = loop.refresh() + config.ping_interval - milliseconds(100);
  ASSERT_TRUE(run_until(loop, [&] { return !lost.empty(); }));
  EXPECT_EQ(lost, std::vector<std::string>{"o1-s-1 gone"});
  EXPECT_LT(loop.now(), next_ping) << "the link's end was question enough";
}

TEST_F(director_test, the_end_of_a_link_alone_is_no_death) {
  auto& o = origin("o1");
  // Three that end before they are greeted are taken for an origin that keeps no such links: on a busy machine that may
  // be all of these.
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(run_until(loop, [&] { return o.server.sessions() == 1; }));
    servers::test::run_turns(loop);
    o.server.close_all("kicked");
  }
  ASSERT_TRUE(run_until(loop, [&] { return o.server.sessions() == 1; }));
  EXPECT_TRUE(lost.empty());
  EXPECT_TRUE(is_alive("o1-s-1"));
}

/// Something accepts and says nothing, as a stopped process does.
TEST_F(director_test, bytes_on_any_connection_are_signs_of_life_and_silence_is_death) {
  config.suspect_after = milliseconds(60);
  config.dead_after = milliseconds(120);
  std::vector<runtime::tcp_stream> held;
  const auto listens =
      *runtime::tcp_acceptor::open(loop, servers::test::any_port(), {},
                                   [&](runtime::tcp_stream s, const base::endpoint&) { held.push_back(std::move(s)); });
  introduce("o1", listens->local());
  const auto line = control().line_of("o1-s-1");
  const auto until = loop.refresh() + milliseconds(400);
  run_until(loop, [&] {
    note_heard(*line, runtime::loop::monotonic_now());
    return runtime::loop::monotonic_now() >= until;
  });
  EXPECT_TRUE(lost.empty());
  ASSERT_TRUE(run_until(loop, [&] { return !lost.empty(); }));
  EXPECT_EQ(lost, std::vector<std::string>{"o1-s-1 silent"});
}

TEST_F(director_test, history_is_kept_with_the_time_of_what_has_none) {
  origin("o1");
  const auto to = publish(a);
  control().note(a, {0, "gap", to.origin_id, to.epoch, "7"});
  control().note(a, {5, "dropped", "", {}, "early"});
  ASSERT_TRUE(run_until(loop, [&] { return history(a).size() >= 4; }));
  const auto events = control().explain(a);
  EXPECT_EQ(events[events.size() - 2].what, "gap");
  EXPECT_GT(events[events.size() - 2].wall_ms, 1'600'000'000'000u);
  EXPECT_EQ(events.back().wall_ms, 5u);
  ASSERT_EQ(control().streams().size(), 1u);
  EXPECT_EQ(control().streams()[0].session, "pub");
}

TEST_F(director_test, a_drain_asks_for_a_move_that_is_written_or_refused) {
  config.move_interval = base::duration::zero();
  origin("o1");
  origin("o2");
  const auto to = publish(a);
  const cluster::stream_key b{"__defaultVhost__", "live", "b"};
  EXPECT_EQ(control().drain("nobody", true).error().reason, "unknown_origin");
  ASSERT_TRUE(run_until(loop, [&] { return control().snapshot().streams == 1; }));

  const auto moving = control().drain(to.server_id, true);
  ASSERT_TRUE(moving);
  EXPECT_EQ(*moving, 1u);
  ASSERT_TRUE(run_until(loop, [&] { return moves.size() == 1; }));
  EXPECT_EQ(moves[0].key, a);
  EXPECT_EQ(moves[0].from, to.epoch);
  EXPECT_NE(moves[0].to.server_id, to.server_id);
  std::optional<base::result<cluster::assignment>> written;
  control().commit_move(loop, a, moves[0].from, moves[0].to, [&](auto w) { written = std::move(w); });
  ASSERT_TRUE(run_until(loop, [&] { return written.has_value(); }));
  ASSERT_TRUE(*written);
  EXPECT_EQ((*written)->epoch, moves[0].to.epoch);
  EXPECT_EQ(moved("done"), 1);

  // And back, which the other does not want.
  ASSERT_TRUE(control().drain(to.server_id, false));
  ASSERT_TRUE(control().drain(moves[0].to.server_id, true));
  ASSERT_TRUE(run_until(loop, [&] { return moves.size() == 2; }));
  control().move_refused(a, moves[1].from, moves[1].to.origin_id, "full");
  ASSERT_TRUE(run_until(loop, [&] { return moved("refused") == 1; }));
  for (const auto& o : control().snapshot().origins)
    if (o.draining) EXPECT_EQ(o.move_refused.size(), 1u);

  // One that comes too late.
  written.reset();
  control().commit_move(loop, a, to.epoch, moves[1].to, [&](auto w) { written = std::move(w); });
  ASSERT_TRUE(run_until(loop, [&] { return written.has_value(); }));
  EXPECT_FALSE(*written);
  EXPECT_EQ(moved("lost"), 1);
}

TEST_F(director_test, a_new_owner_is_told_to_those_who_asked) {
  auto& first = origin("o1");
  const auto to = publish(a);
  std::optional<base::result<cluster::assignment>> found;
  control().find(loop, a, {}, [&](auto f) { found = std::move(f); });
  ASSERT_TRUE(run_until(loop, [&] { return found.has_value(); }));
  origin("o2");
  ASSERT_TRUE(run_until(loop, [&] { return first.server.sessions() == 1; }));
  first.server.stop_listening();
  first.server.close_all("died");
  ASSERT_TRUE(run_until(loop, [&] { return !lost.empty(); }));
  control().publish_ended(a, to.epoch);
  std::optional<base::result<cluster::assignment>> next;
  control().claim(loop, a, {.session = "pub", .deadline = loop.now() + seconds(5), .fail_over = true},
                  [&](auto n) { next = std::move(n); });
  ASSERT_TRUE(run_until(loop, [&] { return next.has_value() && !changed.empty(); }));
  ASSERT_TRUE(*next);
  EXPECT_EQ((*next)->server_id, "o2");
  EXPECT_GT((*next)->epoch, to.epoch);
  EXPECT_EQ(changed, std::vector<std::string>{"a o2"});
}

}  // namespace
}  // namespace sluice::relay
