// Random events over everything at once, under seeds: whatever happens, each request is answered once, counts return to
// zero and nothing is left over. (What two proxies and real faults make of it is for tests/sim.)

#include <gtest/gtest.h>

#include "unit/cluster/harness.hpp"

namespace sluice::cluster {
namespace {

class storm {
 public:
  explicit storm(uint64_t seed) : state_(seed) {}

  void turn() {
    switch (random(13)) {
      case 0:
      case 1:
        return beat();
      case 2:
        return break_origin();
      case 3: {
        const uint64_t id = ++last_;
        c.claim(id, some_key(), "s" + std::to_string(random(30)));
        return;
      }
      case 4:
        return c.find(++last_, some_key());
      case 5: {
        const uint64_t id = 1 + random(last_ + 1);
        if (!c.claims.contains(id) && !c.finds.contains(id)) cancelled_.insert(id);
        c->cancel(id, c.now());
        return c.drain();
      }
      case 6:
        return start_some();
      case 7:
        return end_one();
      case 8:
        return lose_one();
      case 9:
        (void)c->drain(server(), random(2) == 0, c.now());
        return c.drain();
      case 10:
        return answer_moves();
      case 11:
        c->origin_closed(++last_ask_, id_of(server()), c.now(), random(2) == 0);
        c->heard(id_of(server()), c.now().now);
        return c.drain();
      default:
        c.pass(std::chrono::milliseconds(random(2000)));
    }
  }

  void expect_quiet_end() {
    for (uint64_t id = 1; id <= last_; ++id) c->cancel(id, c.now());
    c.drain();
    answer_moves();
    for (const auto& [key, e] : published_) c->publish_ended(key, e, c.now());
    c.drain();
    for (int i = 0; i < 5; ++i) (void)c->drain("o" + std::to_string(i), false, c.now());
    c.drain();
    const auto now = c->snapshot();
    EXPECT_EQ(now.waiting, 0u);
    EXPECT_EQ(now.streams, 0u);
    EXPECT_EQ(now.degraded, 0u);
    c.pass(20s);
    for (const auto& o : c->snapshot().origins) {
      EXPECT_EQ(o.to_move, 0u);
      EXPECT_FALSE(o.draining);
      if (!o.is_sluice) EXPECT_EQ(o.streams, 0u);
    }
    c.pass(400s);
    EXPECT_TRUE(c->snapshot().origins.empty());
    EXPECT_TRUE(c->streams().empty());
    EXPECT_EQ(c->next_deadline(), base::never);
    EXPECT_EQ(c.verdicts.size(), last_ask_);
  }

  cluster_harness c;

 private:
  uint64_t random(uint64_t below) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % below;
  }
  stream_key some_key() { return {"__defaultVhost__", "live", std::to_string(random(25))}; }
  std::string server() { return "o" + std::to_string(random(5)); }
  origin_registration reg_of(const std::string& server) {
    auto reg = sluice_at(server, static_cast<uint16_t>(1000 + server[1] - '0'), "s" + std::to_string(born_[server]));
    if (server == "o4") reg.sluice.reset();
    return reg;
  }
  std::string id_of(const std::string& server) { return reg_of(server).id(); }

  void beat() {
    const auto reg = reg_of(server());
    if (!reg.sluice) {
      c.add(reg);
      return;
    }
    c.frozen.erase(reg.id());
    std::vector<held_stream> held;
    for (const auto& [key, e] : published_) {
      if (random(4) != 0) held.push_back({key.str(), random(9) == 0 ? epoch{} : e, random(5) != 0});
    }
    c.alive.insert(reg.id());
    c.beat(reg, std::move(held), random(2) == 0);
  }
  void break_origin() {
    const std::string name = server();
    switch (random(3)) {
      case 0:
        c.freeze(id_of(name));
        return;
      case 1:
        return c.kill(id_of(name));
      default:
        c.alive.erase(id_of(name));
        ++born_[name];
    }
  }
  void start_some() {
    for (const auto& [id, key] : keys()) {
      if (random(3) != 0) continue;
      const epoch e = c.claims.at(id)->epoch;
      c->publish_started(key, e, c.now());
      published_.emplace_back(key, e);
      started_.insert(id);
    }
    c.drain();
  }
  /// Granted claims whose publish has not started: the owner listing knows their streams.
  std::vector<std::pair<uint64_t, stream_key>> keys() {
    std::vector<std::pair<uint64_t, stream_key>> out;
    for (const auto& shown : c->streams()) {
      for (const auto& [id, answer] : c.claims) {
        if (answer && answer->epoch == shown.epoch && !started_.contains(id)) out.emplace_back(id, shown.key);
      }
    }
    return out;
  }
  void end_one() {
    if (published_.empty()) return;
    const auto [key, e] = published_[random(published_.size())];
    c->publish_ended(key, e, c.now());
    c.drain();
  }
  void lose_one() {
    if (published_.empty()) return;
    const auto [key, e] = published_[random(published_.size())];
    std::vector<std::string> exclude;
    if (random(2) == 0) exclude.push_back(id_of(server()));
    c.fail_over(++last_, key, e, std::chrono::milliseconds(random(20'000)), std::move(exclude),
                "s" + std::to_string(random(30)));
  }
  void answer_moves() {
    for (const action::move& m : std::exchange(c.moves, {})) {
      if (random(3) == 0) {
        c->move_refused(m.key, m.from, m.to.origin_id, "refused", c.now());
      } else {
        c->commit_move(++last_, m.key, m.from, m.to, c.now());
        published_.emplace_back(m.key, m.to.epoch);
      }
    }
    c.drain();
  }

  uint64_t state_;
  uint64_t last_ = 0, last_ask_ = 0;
  std::set<uint64_t> cancelled_, started_;
  std::map<std::string, int> born_;
  std::vector<std::pair<stream_key, epoch>> published_;
};

TEST(storm, of_everything_leaves_nothing) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    storm s(seed);
    for (int turn = 0; turn < 600; ++turn) s.turn();
    s.expect_quiet_end();
    if (testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace sluice::cluster
