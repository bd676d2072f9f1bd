#include "relay/feed.hpp"

#include <algorithm>

#include "lone_shard.hpp"
#include "support.hpp"

namespace sluice::relay::test {
namespace {

/// A pull whose origins are the test's: it counts how often each is asked, and says what they answer.
class pull_feed_test : public ::testing::Test {
 protected:
  pull_feed_test() {
    coordination.proxy_id = "p1";
    here = std::make_unique<lone_shard>(loop, coordination);
    here->relays.replay_delay = milliseconds(100);
    acceptor_ = *runtime::tcp_acceptor::open(loop, any_port(), {}, [](runtime::tcp_stream, const base::endpoint&) {});
  }

  /// The stream's owner, as the proxy knows it.
  cluster::assignment own() {
    cluster::origin_registration r;
    r.server = "next";
    r.service = "s";
    r.pid = "1";
    const auto at = acceptor_->local();
    r.address = at.address;
    r.ip = at.address.to_string();
    r.rtmp = {at};
    EXPECT_TRUE(here->control.registration(r));
    std::optional<cluster::assignment> owner;
    here->control.claim(loop, key, {.session = "pub", .deadline = loop.now() + seconds(5)}, [&](auto a) {
      ASSERT_TRUE(a);
      owner = *a;
    });
    run_until(loop, [&] { return owner.has_value(); });
    here->control.publish_started(key, owner->epoch);
    return *owner;
  }

  struct silent_source final : pull_source {
    void pause_reading(bool) override {}
  };

  const cluster::stream_key key{"__defaultVhost__", "live", "s"};
  runtime::loop loop;
  cluster::coordinator_config coordination;
  std::unique_ptr<lone_shard> here;

 private:
  std::unique_ptr<runtime::tcp_acceptor> acceptor_;
};

TEST_F(pull_feed_test, asks_an_http_server_again_in_the_time_that_the_publisher_gives_his_viewers) {
  const auto next = own();
  std::vector<base::time_point> asked;
  const auto connect = [&](const cluster::assignment& to, const link_terms&, upstream_events& events) {
    if (to.origin_id != next.origin_id) {
      loop.post([&events] { events.on_started(); });
    } else {
      asked.push_back(loop.now());
      loop.post([&events] { events.on_refused({.code = "404", .description = "nobody publishes it"}); });
    }
    return std::make_unique<silent_source>();
  };
  cluster::assignment first;
  first.origin_id = "first";
  pull_feed pull(here->context, key, audience::one, first, connect, "v1", [] {});
  servers::test::run_turns(loop);
  const auto lost = loop.refresh();
  pull.on_owner_changed(next);
  run_until(loop, [&] { return loop.now() > lost + milliseconds(1900); });
  // Not only at first: the publisher may be let in at any moment.
  auto shortest = base::duration::max();
  for (size_t i = 1; i < asked.size(); ++i)
    if (asked[i - 1] > lost + seconds(1)) shortest = std::min(shortest, asked[i] - asked[i - 1]);
  EXPECT_LT(shortest, here->relays.replay_delay);
}

}  // namespace
}  // namespace sluice::relay::test
