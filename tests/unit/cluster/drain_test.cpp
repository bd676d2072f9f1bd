// Moving streams away from servers that are drained.

#include <gtest/gtest.h>

#include "unit/cluster/harness.hpp"

namespace sluice::cluster {
namespace {

stream_key numbered(int i) { return {"__defaultVhost__", "live", std::to_string(i)}; }

class draining : public testing::Test {
 protected:
  draining() {
    for (const auto& reg : all_) c.beat(reg, {});
  }
  /// So many streams that are published at the origin.
  void publish_at(const origin_registration& reg, int count) {
    for (int i = next_; count > 0; ++i, next_ = i) {
      const assignment a = c.granted(numbered(i));
      if (a.origin_id != reg.id()) continue;
      c.start(numbered(i), a.epoch);
      there_[numbered(i)] = a;
      --count;
    }
  }
  size_t drain(const std::string& server, bool on = true) {
    const auto to_move = c->drain(server, on, c.now());
    c.drain();
    return to_move ? *to_move : 999;
  }
  base::result<assignment> commit(const action::move& m) {
    const uint64_t id = ++last_;
    c->commit_move(id, m.key, m.from, m.to, c.now());
    c.drain();
    EXPECT_TRUE(c.claims.contains(id));
    return c.claims.at(id);
  }
  /// A move, and its commit as request 1, to which the store says nothing.
  action::move commit_without_an_answer() {
    publish_at(all_[0], 1);
    drain("o1");
    const action::move m = c.moves[0];
    c.hold_store = true;
    c->commit_move(1, m.key, m.from, m.to, c.now());
    c.drain();
    return m;
  }
  void refuse(const action::move& m, const char* why) {
    c->move_refused(m.key, m.from, m.to.origin_id, why, c.now());
    c.drain();
  }
  cluster_snapshot::origin shown(const std::string& server) {
    for (auto& o : c->snapshot().origins) {
      if (o.server_id == server) return o;
    }
    return {};
  }

  const std::vector<origin_registration> all_{sluice_at("o1", 1001), sluice_at("o2", 1002), sluice_at("o3", 1003)};
  cluster_harness c;
  std::map<stream_key, assignment> there_;
  int next_ = 0;
  uint64_t last_ = 5'000'000;
};

TEST_F(draining, moves_what_is_there_a_few_at_a_time) {
  publish_at(all_[0], 40);
  const size_t streams = c->snapshot().streams;
  EXPECT_EQ(drain("o1"), 40u);
  EXPECT_EQ(c.moves.size(), 16u);
  for (size_t i = 0; i < c.moves.size(); ++i) {
    const action::move m = c.moves[i];
    ASSERT_TRUE(there_.contains(m.key));
    EXPECT_EQ(m.from, there_[m.key].epoch);
    EXPECT_GT(m.to.epoch, m.from);
    EXPECT_NE(m.to.server_id, "o1");
    const auto answer = commit(m);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->origin_id, m.to.origin_id);
    EXPECT_EQ(answer->epoch, m.to.epoch);
    EXPECT_EQ(shown("o1").to_move, 40 - i - 1);
    if (i % 2 == 0) c.start(m.key, m.to.epoch);  // a relay may say so, and need not
    c->publish_ended(m.key, m.from, c.now());    // the old one ends: nobody's business
    c.drain();
    c.find(i + 1, m.key);
    EXPECT_EQ(c.finds.at(i + 1)->origin_id, m.to.origin_id);
  }
  EXPECT_EQ(c.moves.size(), 40u);
  EXPECT_EQ(c.changes.size(), 40u);
  EXPECT_EQ(c->snapshot().streams, streams);
  EXPECT_EQ(c.changed_because.size(), 40u);
  EXPECT_EQ(c.changed_because[0], "drain");
  for (const auto& m : c.moves) c->publish_ended(m.key, m.to.epoch, c.now());
  c.drain();
  EXPECT_EQ(c->snapshot().streams, streams - 40);
}

TEST_F(draining, spreads_what_it_moves) {
  publish_at(all_[0], 16);
  drain("o1");
  std::map<std::string, int> to;
  for (const auto& m : c.moves) ++to[m.to.server_id];
  EXPECT_EQ(to.size(), 2u);
}

TEST_F(draining, a_draining_origin_gets_nothing_new_in_any_incarnation) {
  EXPECT_EQ(drain("o1"), 0u);
  EXPECT_TRUE(shown("o1").draining);
  for (int i = 0; i < 50; ++i) EXPECT_NE(c.granted(numbered(i)).server_id, "o1");
  c.beat(sluice_at("o1", 1001, "new"), {});
  EXPECT_TRUE(shown("o1").draining);
  for (int i = 50; i < 100; ++i) EXPECT_NE(c.granted(numbered(i)).server_id, "o1");
  drain("o1", false);
  EXPECT_FALSE(shown("o1").draining);
  int there = 0;
  for (int i = 100; i < 150; ++i) there += c.granted(numbered(i)).server_id == "o1" ? 1 : 0;
  EXPECT_GT(there, 0);
}

TEST_F(draining, where_there_is_nobody_else_an_origin_that_is_drained_serves) {
  publish_at(all_[2], 1);
  const auto [key, a] = *there_.begin();
  drain("o1");
  drain("o2");
  c.kill(all_[2].id());
  c.fail_over(1, key, a.epoch);
  ASSERT_EQ(c.claim_error(1), "granted");
  const assignment b = *c.claims.at(1);
  EXPECT_NE(b.server_id, "o3");
  c.start(key, b.epoch);
  EXPECT_NE(c.granted(numbered(1000)).server_id, "o3");
  // A publisher who returns finds his origin again.
  c->publish_ended(key, b.epoch, c.now());
  c.drain();
  EXPECT_EQ(c.published(key).epoch, b.epoch);
  // As soon as there is another one, the drain goes on.
  EXPECT_TRUE(c.moves.empty());
  c.pass(10s);
  c.beat(sluice_at("o4", 1004), {});
  ASSERT_EQ(c.moves.size(), 1u);
  EXPECT_EQ(c.moves[0].from, b.epoch);
  EXPECT_EQ(c.moves[0].to.server_id, "o4");
  EXPECT_EQ(c.granted(numbered(1001)).server_id, "o4");
}

TEST_F(draining, a_target_that_is_lost_has_refused_nothing) {
  publish_at(all_[0], 1);
  drain("o1");
  ASSERT_EQ(c.moves.size(), 1u);
  const auto first = c.moves[0].to;
  c.kill(first.origin_id);
  refuse(c.moves[0], "the new owner was lost");
  EXPECT_TRUE(shown("o1").move_refused.empty());
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(c.moves.size(), 1u);
    c.pass(1s);
    for (const auto& reg : all_)
      if (reg.id() != first.origin_id) c.beat(reg, {}, false);
  }
  ASSERT_EQ(c.moves.size(), 2u);
  EXPECT_NE(c.moves[1].to.origin_id, first.origin_id);
  EXPECT_TRUE(commit(c.moves[1]));
  EXPECT_EQ(shown("o1").to_move, 0u);
}

TEST_F(draining, a_publisher_who_returns_is_placed_elsewhere) {
  publish_at(all_[0], 1);
  const auto [key, a] = *there_.begin();
  c->publish_ended(key, a.epoch, c.now());
  c.drain();
  drain("o1");
  const assignment b = c.granted(key);
  EXPECT_NE(b.server_id, "o1");
  EXPECT_GT(b.epoch, a.epoch);
}

TEST_F(draining, a_refusal_leaves_the_stream_and_is_reported) {
  publish_at(all_[0], 1);
  const auto [key, a] = *there_.begin();
  drain("o1");
  ASSERT_EQ(c.moves.size(), 1u);
  refuse(c.moves[0], "bad_name");
  EXPECT_EQ(shown("o1").move_refused, std::vector<std::string>{key.str() + ": bad_name"});
  EXPECT_EQ(shown("o1").to_move, 1u);
  c.find(1, key);
  EXPECT_EQ(c.finds.at(1)->epoch, a.epoch);
  EXPECT_EQ(c.happened(key).back(), "move_refused bad_name");
  EXPECT_EQ(drain("o1"), 1u);  // not tried again in this drain
  EXPECT_EQ(c.moves.size(), 1u);
  drain("o1", false);
  EXPECT_TRUE(shown("o1").move_refused.empty());
  EXPECT_EQ(drain("o1"), 1u);
  EXPECT_EQ(c.moves.size(), 2u);
}

TEST_F(draining, a_move_that_nobody_answers_is_refused) {
  publish_at(all_[0], 1);
  drain("o1");
  c.pass(11s);
  EXPECT_EQ(shown("o1").move_refused, std::vector<std::string>{there_.begin()->first.str() + ": no_answer"});
  // It did come, late: the new owner has it.
  EXPECT_TRUE(commit(c.moves[0]));
}

TEST_F(draining, what_finds_no_origin_stays_until_there_is_one) {
  publish_at(all_[0], 1);
  drain("o2");
  drain("o3");
  EXPECT_EQ(drain("o1"), 1u);
  EXPECT_TRUE(c.moves.empty());
  EXPECT_EQ(shown("o1").move_refused, std::vector<std::string>{there_.begin()->first.str() + ": no_origin"});
  c.beat(sluice_at("o4", 1004), {});
  ASSERT_EQ(c.moves.size(), 1u);
  EXPECT_EQ(c.moves[0].to.server_id, "o4");
  EXPECT_TRUE(shown("o1").move_refused.empty());
}

TEST_F(draining, a_stream_moves_at_most_once_in_ten_seconds) {
  publish_at(all_[0], 1);
  drain("o1");
  ASSERT_TRUE(commit(c.moves[0]));
  drain(c.moves[0].to.server_id);
  EXPECT_EQ(c.moves.size(), 1u);
  for (int i = 0; i < 9; ++i) {
    c.pass(1s);
    for (const auto& reg : all_) c.beat(reg, {}, false);
  }
  EXPECT_EQ(c.moves.size(), 1u);
  c.pass(1s);
  ASSERT_EQ(c.moves.size(), 2u);
  EXPECT_EQ(c.moves[1].from, c.moves[0].to.epoch);
}

TEST_F(draining, a_commit_that_comes_too_late_is_a_conflict) {
  publish_at(all_[0], 3);
  drain("o1");
  ASSERT_EQ(c.moves.size(), 3u);
  // The publisher has left.
  c->publish_ended(c.moves[0].key, c.moves[0].from, c.now());
  EXPECT_EQ(commit(c.moves[0]).error().reason, "store_conflict");
  // The origin died, and the stream has failed over.
  c.kill(all_[0].id());
  c.fail_over(1, c.moves[1].key, c.moves[1].from);
  ASSERT_EQ(c.claim_error(1), "granted");
  c.start(c.moves[1].key, c.claims.at(1)->epoch);
  EXPECT_EQ(commit(c.moves[1]).error().reason, "store_conflict");
  c.find(2, c.moves[1].key);
  EXPECT_EQ(c.finds.at(2)->epoch, c.claims.at(1)->epoch);
  EXPECT_EQ(commit(c.moves[1]).error().reason, "store_conflict");
  // The new owner is dead by now.
  const action::move third = c.moves[2];
  c.kill(third.to.origin_id);
  EXPECT_EQ(commit(third).error().reason, "store_conflict");
}

TEST_F(draining, a_store_that_fails_is_asked_until_it_answers) {
  for (const bool written : {true, false}) {
    publish_at(all_[0], 1);
    drain("o1");
    const action::move m = c.moves.back();
    c.hold_store = true;
    const uint64_t id = ++last_;
    c->commit_move(id, m.key, m.from, m.to, c.now());
    c.drain();
    c.fail_store(written);
    EXPECT_EQ(c.claim_error(id), "unanswered");
    c.hold_store = false;
    c.pass(1100ms);
    ASSERT_EQ(c.claim_error(id), "granted");
    EXPECT_EQ(shown("o1").to_move, 0u);
    drain("o1", false);
  }
}

TEST_F(draining, a_store_that_never_answers_ends_the_move) {
  const action::move m = commit_without_an_answer();
  for (int i = 0; i < 3; ++i) {
    c.fail_store();
    c.pass(1s);
  }
  EXPECT_EQ(c.claim_error(1), "unanswered");
  c.fail_store();
  EXPECT_EQ(c.claim_error(1), "store_unavailable");
  EXPECT_EQ(shown("o1").move_refused, std::vector<std::string>{m.key.str() + ": store_unavailable"});
}

/// The relay did not wait for the store, which has written the move. The stream is where it was: its epoch is raised.
TEST_F(draining, an_abandoned_move_does_not_take_the_stream_away) {
  const action::move m = commit_without_an_answer();
  c.fail_store(true);
  refuse(m, "timeout");
  EXPECT_EQ(c.claim_error(1), "store_conflict");
  EXPECT_EQ(shown("o1").move_refused.size(), 1u);
  c.hold_store = false;
  c.changes.clear();
  c.pass(2s);  // a renewal shows it
  ASSERT_EQ(c.changes.size(), 1u);
  EXPECT_EQ(c.changes[0].to.server_id, "o1");
  EXPECT_GT(c.changes[0].to.epoch, m.to.epoch);
  EXPECT_EQ(c.changed_because.back(), "reasserted");
  c.start(m.key, c.changes[0].to.epoch);
  EXPECT_EQ(c->snapshot().streams, 1u);
}

/// The same, and the store answers when the move has come to nothing already.
TEST_F(draining, a_move_given_up_before_the_store_answered_is_put_right_at_once) {
  const action::move m = commit_without_an_answer();
  refuse(m, "kicked");
  c.changes.clear();
  c.hold_store = false;
  c.release_store();
  c.drain();
  ASSERT_EQ(c.changes.size(), 1u);
  EXPECT_EQ(c.changes[0].to.server_id, "o1");
  EXPECT_GT(c.changes[0].to.epoch, m.to.epoch);
  EXPECT_EQ(c.changed_because.back(), "reasserted");
}

/// The new owner's heartbeat tells of the publish before the relay does.
TEST_F(draining, a_heartbeat_may_be_quicker_than_the_commit) {
  publish_at(all_[0], 1);
  drain("o1");
  const action::move m = c.moves[0];
  for (const auto& reg : all_) {
    if (reg.id() == m.to.origin_id) c.beat(reg, {{m.key.str(), m.to.epoch, true}}, false);
  }
  EXPECT_TRUE(c.changes.empty());
  ASSERT_TRUE(commit(m));
  EXPECT_EQ(c.changes.size(), 1u);
  EXPECT_EQ(c.beat(all_[0], {{m.key.str(), m.from, true}}, false).fenced.size(), 1u);
}

TEST_F(draining, of_an_unknown_server_is_an_error) {
  EXPECT_EQ(c->drain("o9", true, c.now()).error().reason, "unknown_origin");
  EXPECT_EQ(c->drain("o9", false, c.now()).error().reason, "unknown_origin");
  EXPECT_EQ(drain("o1", false), 0u);
}

}  // namespace
}  // namespace sluice::cluster
