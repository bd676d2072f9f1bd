#include "cluster/store/redis_origins.hpp"

#include <set>

#include "unit/runtime/redis/redis_test_tools.hpp"

namespace sluice::cluster {
namespace {

/// More than are read at once.
constexpr int count = 150;
constexpr uint64_t written_ms = 1'795'643'213'422;

class redis_origins_test : public runtime::redis_test {
 protected:
  void SetUp() override {
    static runtime::redis_server server;
    open(at(server));
    ASSERT_TRUE(until_up());
    call({"FLUSHALL"});
    origins_ = std::make_unique<redis_origins>(*client_, redis_keys(""),
                                               redis_origins::config{"host-1", std::chrono::seconds(300), {}, 1000});
    for (int i = 0; i < count; ++i) origins_->note(numbered(i), loop_.now(), written_ms);
    ASSERT_TRUE(until_answer("1", {"EXISTS", redis_keys("").server(numbered(count - 1).id())}));
  }
  static origin_registration numbered(int i) {
    origin_registration reg;
    reg.ip = "10.0.0.1";
    reg.address = *base::ip_address::parse(reg.ip);
    reg.server = "o" + std::to_string(i);
    reg.service = "s";
    reg.pid = "1";
    reg.rtmp = {{reg.address, static_cast<uint16_t>(1000 + i)}};
    return reg;
  }
  void load() {
    origins_->load(written_ms + 2500, [this](const origin_registration& reg, base::duration ago) {
      loaded_.push_back(reg.id());
      ago_ = ago;
    });
  }

  std::unique_ptr<redis_origins> origins_;
  std::vector<std::string> loaded_;
  base::duration ago_{};
};

TEST_F(redis_origins_test, all_are_read_and_the_expired_taken_off_the_list) {
  call({"DEL", redis_keys("").server(numbered(7).id())});
  load();
  load();  // one at a time
  ASSERT_TRUE(until([&] { return loaded_.size() >= count - 1; }));
  const auto is_listed = [&](int i) -> std::vector<std::string> {
    return {"EVAL", "return string.find(redis.call('GET', KEYS[1]), ARGV[1], 1, true) and 1 or 0", "1",
            redis_keys("").all_servers(), '"' + redis_keys("").server(numbered(i).id()) + '"'};
  };
  ASSERT_TRUE(until_answer("0", is_listed(7)));
  EXPECT_EQ(call(is_listed(8)), "1");
  EXPECT_EQ(loaded_.size(), static_cast<size_t>(count - 1));
  EXPECT_EQ(ago_, std::chrono::milliseconds(2500));
  EXPECT_EQ(std::set<std::string>(loaded_.begin(), loaded_.end()).size(), loaded_.size());
  // And again, now that it is done.
  load();
  EXPECT_TRUE(until([&] { return loaded_.size() == 2 * static_cast<size_t>(count - 1); }));
}

TEST_F(redis_origins_test, a_heartbeat_that_says_nothing_lasting_is_not_written) {
  auto reg = numbered(3);
  reg.sluice.emplace();
  const std::vector<std::string> exists{"EXISTS", redis_keys("").server(reg.id())};
  origins_->note(reg, loop_.now(), written_ms);
  EXPECT_EQ(call(exists), "1");
  call({"DEL", redis_keys("").server(reg.id())});
  reg.sluice->beat = reg.sluice->since = 7;
  reg.sluice->load.streams = 3;
  origins_->note(reg, loop_.now() + std::chrono::seconds(29), written_ms);
  EXPECT_EQ(call(exists), "0");
  reg.sluice->capacity = 50;
  origins_->note(reg, loop_.now() + std::chrono::seconds(29), written_ms);
  EXPECT_EQ(call(exists), "1");
}

TEST_F(redis_origins_test, a_load_of_nothing_is_over_at_once) {
  call({"DEL", redis_keys("").all_servers()});
  load();
  origins_->forget_written();
  origins_->note(numbered(1), loop_.now(), written_ms + 9000);  // a clock that is ahead
  EXPECT_TRUE(until([&] {
    load();
    return !loaded_.empty();
  }));
  EXPECT_EQ(loaded_[0], numbered(1).id());
  EXPECT_EQ(ago_, base::duration::zero());
}

}  // namespace
}  // namespace sluice::cluster
