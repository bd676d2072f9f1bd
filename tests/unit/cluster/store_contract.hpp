#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>

#include "cluster/core/ownership.hpp"

namespace sluice::cluster {

/// What every owner_store must do. A store under test is described by a class with
///   `std::unique_ptr<owner_store> make()`, `base::time_point now()`, `void pass(base::duration)` (time goes by), and
///   `void wait(bool& done)` (lets the store work until `done`; nothing to do for one that answers from within
///   submit()).
template <typename Subject>
class store_contract : public testing::Test {
 protected:
  using kind = store_request::kind;
  using outcome = base::result<std::optional<owner_record>>;

  static owner_record record(std::string origin, uint64_t counter, uint64_t claim_id = 1) {
    return {std::move(origin), {counter, claim_id}, "proxy-1", 1000};
  }
  outcome ask(kind what, const stream_key& key, std::optional<owner_record> rec = {},
              std::optional<epoch> replaces = {}, base::duration ttl = std::chrono::seconds(60)) {
    std::optional<outcome> got;
    bool done = false;
    store_->submit({++op_, what, key, replaces, std::move(rec), ttl}, [&](store_reply reply) {
      EXPECT_EQ(reply.op, op_);
      got = std::move(reply.owner);
      done = true;
    });
    subject_.wait(done);
    return std::move(*got);
  }

  Subject subject_;
  std::unique_ptr<owner_store> store_ = subject_.make();
  uint64_t op_ = 0;
  const stream_key key_{"v", "live", "a"};
  const stream_key other_{"v", "live", "b"};
};

TYPED_TEST_SUITE_P(store_contract);

TYPED_TEST_P(store_contract, first_claim_wins_second_learns) {
  using kind = store_request::kind;
  EXPECT_EQ(this->ask(kind::find, this->key_).value(), std::nullopt);
  EXPECT_EQ(this->ask(kind::claim, this->key_, this->record("o1", 5)).value(), this->record("o1", 5));
  EXPECT_EQ(this->ask(kind::claim, this->key_, this->record("o2", 9)).value(), this->record("o1", 5));
  EXPECT_EQ(this->ask(kind::find, this->key_).value(), this->record("o1", 5));
  EXPECT_EQ(this->ask(kind::find, this->other_).value(), std::nullopt);
}

TYPED_TEST_P(store_contract, a_claim_replaces_exactly_what_it_names) {
  using kind = store_request::kind;
  this->ask(kind::claim, this->key_, this->record("o1", 5, 1)).value();
  EXPECT_EQ(this->ask(kind::claim, this->key_, this->record("o2", 9), epoch{5, 2}).value(), this->record("o1", 5, 1));
  EXPECT_EQ(this->ask(kind::claim, this->key_, this->record("o2", 9), epoch{5, 1}).value(), this->record("o2", 9));
  EXPECT_EQ(this->ask(kind::claim, this->key_, this->record("o3", 10), epoch{5, 1}).value(), this->record("o2", 9));
  // A record that is gone has nothing to be replaced: the claim is the first.
  EXPECT_EQ(this->ask(kind::claim, this->other_, this->record("o3", 10), epoch{5, 1}).value(), this->record("o3", 10));
}

TYPED_TEST_P(store_contract, records_expire_unless_renewed) {
  using kind = store_request::kind;
  const base::duration ttl = std::chrono::seconds(60);
  this->ask(kind::claim, this->key_, this->record("o1", 5), {}, ttl).value();
  this->ask(kind::claim, this->other_, this->record("o1", 5), {}, ttl).value();
  this->subject_.pass(ttl * 2 / 3);
  EXPECT_EQ(this->ask(kind::renew, this->key_, this->record("o1", 5), {}, ttl).value(), this->record("o1", 5));
  this->subject_.pass(ttl * 2 / 3);
  EXPECT_EQ(this->ask(kind::find, this->key_).value(), this->record("o1", 5));
  EXPECT_EQ(this->ask(kind::find, this->other_).value(), std::nullopt);
  this->subject_.pass(ttl * 2 / 3);
  EXPECT_EQ(this->ask(kind::find, this->key_).value(), std::nullopt);
}

TYPED_TEST_P(store_contract, renewal_heals_and_never_overwrites_a_higher_epoch) {
  using kind = store_request::kind;
  EXPECT_EQ(this->ask(kind::renew, this->key_, this->record("o1", 5)).value(), this->record("o1", 5));
  EXPECT_EQ(this->ask(kind::renew, this->key_, this->record("o2", 6)).value(), this->record("o2", 6));
  EXPECT_EQ(this->ask(kind::renew, this->key_, this->record("o1", 5)).value(), this->record("o2", 6));
  EXPECT_EQ(this->ask(kind::renew, this->key_, this->record("o3", 6, 0)).value(), this->record("o2", 6, 1));
}

/// Who has left does not speak for the publisher that another proxy has with the same epoch.
TYPED_TEST_P(store_contract, renewals_say_whether_it_is_published) {
  using kind = store_request::kind;
  const base::duration ttl = std::chrono::seconds(60);
  const owner_record claimed = this->record("o1", 5);
  owner_record here = claimed, elsewhere = claimed;
  here.published = elsewhere.published = true;
  elsewhere.proxy_id = "proxy-2";
  this->ask(kind::claim, this->key_, claimed).value();
  EXPECT_EQ(this->ask(kind::renew, this->key_, here).value(), here);
  EXPECT_EQ(this->ask(kind::find, this->key_).value(), here);
  EXPECT_EQ(this->ask(kind::renew, this->key_, claimed).value(), claimed);
  EXPECT_EQ(this->ask(kind::renew, this->key_, here).value(), here);
  EXPECT_EQ(this->ask(kind::renew, this->key_, elsewhere, {}, ttl / 6).value(), elsewhere);
  EXPECT_EQ(this->ask(kind::renew, this->key_, claimed, {}, ttl).value(), elsewhere);
  this->subject_.pass(ttl / 2);  // it lives longer all the same
  EXPECT_EQ(this->ask(kind::find, this->key_).value(), elsewhere);
}

TYPED_TEST_P(store_contract, drop_removes_only_its_own_epoch) {
  using kind = store_request::kind;
  this->ask(kind::claim, this->key_, this->record("o1", 5)).value();
  EXPECT_EQ(this->ask(kind::drop, this->key_, this->record("o1", 4)).value(), this->record("o1", 5));
  owner_record taken_over = this->record("o1", 5);
  taken_over.proxy_id = "proxy-2";  // whose publisher uses the epoch that proxy-1 claimed
  EXPECT_EQ(this->ask(kind::renew, this->key_, taken_over).value(), taken_over);
  EXPECT_EQ(this->ask(kind::drop, this->key_, this->record("o1", 5)).value(), taken_over);
  EXPECT_EQ(this->ask(kind::renew, this->key_, this->record("o1", 5)).value(), this->record("o1", 5));
  EXPECT_EQ(this->ask(kind::drop, this->key_, this->record("o1", 5)).value(), std::nullopt);
  EXPECT_EQ(this->ask(kind::find, this->key_).value(), std::nullopt);
  EXPECT_EQ(this->ask(kind::drop, this->key_, this->record("o1", 5)).value(), std::nullopt);
}

/// Fail-over: what the proxy of the lost owner still says changes nothing, and the new record has a life of its own.
TYPED_TEST_P(store_contract, a_replaced_owner_stays_replaced) {
  using kind = store_request::kind;
  const base::duration ttl = std::chrono::seconds(60);
  this->ask(kind::claim, this->key_, this->record("o1", 5), {}, ttl / 6).value();
  EXPECT_EQ(this->ask(kind::claim, this->key_, this->record("o2", 9), epoch{5, 1}, ttl).value(), this->record("o2", 9));
  EXPECT_EQ(this->ask(kind::renew, this->key_, this->record("o1", 5), {}, ttl / 6).value(), this->record("o2", 9));
  EXPECT_EQ(this->ask(kind::drop, this->key_, this->record("o1", 5)).value(), this->record("o2", 9));
  EXPECT_EQ(this->ask(kind::claim, this->key_, this->record("o3", 11), epoch{5, 1}, ttl / 6).value(),
            this->record("o2", 9));
  this->subject_.pass(ttl / 2);
  EXPECT_EQ(this->ask(kind::find, this->key_).value(), this->record("o2", 9));
  this->subject_.pass(ttl);
  EXPECT_EQ(this->ask(kind::find, this->key_).value(), std::nullopt);
}

REGISTER_TYPED_TEST_SUITE_P(store_contract, a_replaced_owner_stays_replaced, first_claim_wins_second_learns,
                            a_claim_replaces_exactly_what_it_names, records_expire_unless_renewed,
                            renewal_heals_and_never_overwrites_a_higher_epoch, renewals_say_whether_it_is_published,
                            drop_removes_only_its_own_epoch);

}  // namespace sluice::cluster
