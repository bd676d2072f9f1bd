#include "cluster/store/memory_store.hpp"

#include "unit/cluster/store_contract.hpp"

namespace sluice::cluster {
namespace {

struct memory_subject {
  std::unique_ptr<owner_store> make() {
    return std::make_unique<memory_store>([this] { return now_; });
  }
  void pass(base::duration d) { now_ += d; }
  void wait(bool& done) { ASSERT_TRUE(done) << "a memory store answers at once"; }
  base::time_point now_{};
};

INSTANTIATE_TYPED_TEST_SUITE_P(memory, store_contract, memory_subject);

TEST(memory_store, is_bounded_and_forgets_the_expired) {
  base::time_point now{};
  memory_store store([&] { return now; }, 3);
  auto claim = [&](int i) {
    std::string reason;
    store.submit(
        {1,
         store_request::kind::claim,
         {"v", "a", std::to_string(i)},
         {},
         owner_record{"o", {1, 1}, "p", 0},
         std::chrono::seconds(10)},
        [&](const store_reply& reply) { reason = reply.owner ? "" : std::string(reply.owner.error().reason); });
    return reason;
  };
  for (int i = 0; i < 3; ++i) EXPECT_EQ(claim(i), "");
  EXPECT_EQ(claim(3), "store_full");
  EXPECT_EQ(claim(0), "");
  now += std::chrono::seconds(10);
  EXPECT_EQ(claim(3), "");
  EXPECT_EQ(store.size(), 1u);
}

TEST(ownership, epoch_counter_is_above_all_that_is_known) {
  EXPECT_EQ(next_epoch_counter(0, 0, 1'700'000'000'000), 1'700'000'000'000u);
  EXPECT_EQ(next_epoch_counter(1'700'000'000'005, 0, 1'700'000'000'000), 1'700'000'000'006u);
  EXPECT_EQ(next_epoch_counter(5, 1'800'000'000'000, 1'700'000'000'000), 1'800'000'000'001u);
  EXPECT_LT((epoch{5, 9}), (epoch{6, 1}));
  EXPECT_LT((epoch{5, 1}), (epoch{5, 2}));
}

}  // namespace
}  // namespace sluice::cluster
