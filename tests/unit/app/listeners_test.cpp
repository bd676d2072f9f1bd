#include "roles/listeners.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

namespace sluice::roles {
namespace {

class last_event final : public base::log_sink {
 public:
  bool enabled(base::log_level) const override { return true; }
  void write(base::log_level, std::string_view event, std::span<const base::log_field> fields) override {
    said = std::string(event) + " " + fields.front().value;
  }
  std::string said;
};

struct upgrade_listeners : testing::Test {
  static base::endpoint any() { return {base::ip_address::v4({127, 0, 0, 1}), 0}; }
  static ino_t inode(int fd) {
    struct stat at{};
    EXPECT_EQ(::fstat(fd, &at), 0);
    return at.st_ino;
  }
  /// `count` sockets on one port, as the process before had them; their inodes go into `made_`.
  void before(const std::string& name, size_t count) {
    const auto reserved = *runtime::reserve_port(any());
    at_ = reserved.first;
    handed_.push_back({name + "_reserved", runtime::descriptor(reserved.second)});
    for (size_t i = 0; i < count; ++i) {
      runtime::descriptor fd(runtime::tcp_listener::open(at_, {.share_port = true})->release());
      made_.insert(inode(fd.fd()));
      handed_.push_back({name, std::move(fd)});
    }
  }
  /// How many sockets each shard gets; those that are not from before are counted in `opened_`.
  std::vector<size_t> deal(listeners& l, const std::string& name, size_t shards) {
    std::vector<size_t> counts;
    for (size_t i = 0; i < shards; ++i) {
      auto mine = l.of_shard(name, i);
      EXPECT_TRUE(mine);
      counts.push_back(mine->size());
      for (auto& socket : *mine) {
        EXPECT_EQ(socket.local(), at_);
        const runtime::descriptor fd(socket.release());
        if (made_.erase(inode(fd.fd())) == 0) ++opened_;
      }
    }
    return counts;
  }

  last_event log_;
  base::endpoint at_;
  std::vector<runtime::handed_socket> handed_;
  std::set<ino_t> made_;
  size_t opened_ = 0;
};

TEST_F(upgrade_listeners, every_socket_is_used_whatever_the_number_of_shards) {
  struct {
    size_t sockets, shards;
    std::vector<size_t> each;
    size_t opened;
  } const cases[] = {{2, 2, {1, 1}, 0}, {5, 2, {3, 2}, 0}, {3, 1, {3}, 0}, {1, 3, {1, 1, 1}, 2}};
  for (const auto& c : cases) {
    SCOPED_TRACE(std::to_string(c.sockets) + " sockets, " + std::to_string(c.shards) + " shards");
    opened_ = 0;
    handed_.clear();
    before("rtmp", c.sockets);
    listeners l(c.shards, log_);
    ASSERT_TRUE(l.adopt(std::move(handed_)));
    const auto at = l.reserve("rtmp", {"PROXY_RTMP_SERVER", c.shards % 2 ? any() : at_});
    ASSERT_TRUE(at) << at.error().text;
    EXPECT_EQ(*at, at_);
    EXPECT_EQ(deal(l, "rtmp", c.shards), c.each);
    EXPECT_TRUE(made_.empty()) << "a queue that nobody serves";
    EXPECT_EQ(opened_, c.opened);
    ASSERT_EQ(l.reservations().size(), 1u);
    EXPECT_EQ(l.reservations()[0].name, "rtmp_reserved");
  }
}

TEST_F(upgrade_listeners, without_a_process_before_all_is_opened_here) {
  listeners l(2, log_);
  at_ = *l.reserve("http", {"PROXY_HTTP_SERVER", any()});
  EXPECT_EQ(deal(l, "http", 2), (std::vector<size_t>{1, 1}));
  EXPECT_EQ(opened_, 2u);
  EXPECT_EQ(l.alone("http_api", {"PROXY_HTTP_API", any()})->size(), 1u);
  EXPECT_EQ(l.alone("http_api", {"PROXY_HTTP_API", at_}).error().reason, "address_in_use");
}

TEST_F(upgrade_listeners, another_address_names_its_setting) {
  before("rtmp", 1);
  before("system_api", 1);
  listeners l(1, log_);
  ASSERT_TRUE(l.adopt(std::move(handed_)));
  const base::endpoint wrong_port{at_.address, 1}, wrong_address{base::ip_address::v4({127, 0, 0, 2}), 0};
  const auto rtmp = l.reserve("rtmp", {"PROXY_RTMP_SERVER", wrong_port});
  ASSERT_FALSE(rtmp);
  EXPECT_EQ(rtmp.error().reason, "other_address");
  EXPECT_NE(rtmp.error().text.find("PROXY_RTMP_SERVER"), std::string::npos);
  EXPECT_EQ(l.alone("system_api", {"PROXY_SYSTEM_API", wrong_address}).error().reason, "other_address");
}

TEST_F(upgrade_listeners, what_is_not_known_is_left_alone) {
  before("rtmp", 1);
  handed_.push_back({"quic", std::move(handed_.back().fd)});
  handed_.erase(handed_.begin() + 1);
  listeners l(1, log_);
  ASSERT_TRUE(l.adopt(std::move(handed_)));
  EXPECT_EQ(log_.said, "upgrade_unknown_socket quic");
  std::vector<runtime::handed_socket> no_listener;
  no_listener.push_back({"rtmp", runtime::descriptor(::socket(AF_INET, SOCK_STREAM, 0))});
  EXPECT_EQ(l.adopt(std::move(no_listener)).error().reason, "not_listening");
}

}  // namespace
}  // namespace sluice::roles
