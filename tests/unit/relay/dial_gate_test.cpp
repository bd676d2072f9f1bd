#include "relay/dial_gate.hpp"

#include <gtest/gtest.h>

#include "unit/servers/support.hpp"

namespace sluice::relay::test {
namespace {

using servers::test::run_until;
using std::chrono::milliseconds;

struct dial_gate_test : ::testing::Test {
  void ask(dial_class who, std::string name, std::weak_ptr<bool> caller) {
    gate.ask("o", who, std::move(caller), [this, name = std::move(name)] { dialled.push_back(name); });
  }
  runtime::loop loop;
  dial_gate gate{loop, {.per_second = 400, .burst = 2}};
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  std::vector<std::string> dialled;
};

TEST_F(dial_gate_test, what_is_above_the_burst_follows_without_a_pause) {
  loop.refresh();
  const auto begin = loop.now();
  for (int i = 0; i < 6; ++i) ask(dial_class::publisher, std::to_string(i), alive);
  EXPECT_EQ(dialled.size(), 2u);
  EXPECT_EQ(gate.waiting(), 4u);
  run_until(loop, [&] { return dialled.size() == 6; });
  EXPECT_LT(loop.now() - begin, milliseconds(900)) << "four at 400 a second";
  EXPECT_EQ(dialled, (std::vector<std::string>{"0", "1", "2", "3", "4", "5"}));
}

TEST_F(dial_gate_test, publishers_go_first_and_who_has_gone_is_not_dialled) {
  auto gone = std::make_shared<bool>(true);
  ask(dial_class::viewer, "a", alive);
  ask(dial_class::viewer, "b", alive);
  ask(dial_class::viewer, "c", alive);
  ask(dial_class::viewer, "gone", gone);
  ask(dial_class::publisher, "p", alive);
  gone.reset();
  run_until(loop, [&] { return gate.waiting() == 0; });
  EXPECT_EQ(dialled, (std::vector<std::string>{"a", "b", "p", "c"}));
}

// One that is dialled may end another whose turn is the same.
TEST_F(dial_gate_test, who_is_ended_by_the_dial_before_his_is_not_dialled) {
  auto victim = std::make_shared<bool>(true);
  ask(dial_class::viewer, "a", alive);
  ask(dial_class::viewer, "b", alive);
  gate.ask("o", dial_class::viewer, alive, [&] { victim.reset(); });
  ask(dial_class::viewer, "victim", victim);
  run_until(loop, [&] { return gate.waiting() == 0; });
  EXPECT_EQ(dialled, (std::vector<std::string>{"a", "b"}));
}

}  // namespace
}  // namespace sluice::relay::test
