#include "cluster/store/session_store.hpp"

#include <gtest/gtest.h>

namespace sluice::cluster {
namespace {

using std::chrono::seconds;

struct session_store_test : testing::Test {
  std::optional<std::string> get(const std::string& key) {
    std::optional<std::string> got;
    bool answered = false;
    store.get(key, [&](base::result<std::optional<std::string>> value) {
      answered = true;
      got = *value;
    });
    EXPECT_TRUE(answered);
    return got;
  }
  base::time_point now{};
  memory_session_store store{[this] { return now; }, 3};
};

TEST_F(session_store_test, keeps_a_value_for_its_life) {
  store.put("a", "1", seconds(10));
  EXPECT_EQ(get("a"), "1");
  EXPECT_EQ(get("b"), std::nullopt);
  now += seconds(9);
  store.put("a", "2", seconds(10));
  now += seconds(9);
  EXPECT_EQ(get("a"), "2");
  EXPECT_EQ(store.entries(), (std::vector<std::pair<std::string, std::string>>{{"a", "2"}}));
  now += seconds(1);
  EXPECT_TRUE(store.entries().empty());
  EXPECT_EQ(get("a"), std::nullopt);
  EXPECT_EQ(store.size(), 0u);
}

TEST_F(session_store_test, is_bounded) {
  for (const char* key : {"a", "b", "c", "d"}) store.put(key, key, seconds(10));
  EXPECT_EQ(get("d"), std::nullopt);
  store.put("c", "new", seconds(10));
  EXPECT_EQ(get("c"), "new");
  store.drop("a");
  store.drop("a");
  store.put("d", "d", seconds(10));
  EXPECT_EQ(get("d"), "d");
  EXPECT_EQ(get("a"), std::nullopt);
  EXPECT_EQ(store.size(), 3u);
}

}  // namespace
}  // namespace sluice::cluster
