#include "relay/rtc/signalling.hpp"

#include <gtest/gtest.h>

#include "cluster/store/memory_store.hpp"
#include "cluster/store/session_store.hpp"
#include "unit/relay/rtc/requests.hpp"
#include "unit/servers/support.hpp"

/// Requests of clients, and an origin's API, on one loop.
namespace sluice::relay {
namespace {

using servers::test::any_port;
using servers::test::run_turns;
using servers::test::run_until;

struct rtc_signalling_test : testing::Test {
  rtc_signalling_test() {
    signalling.set_media(*base::endpoint::parse("127.0.0.1:8000"));
    api = *runtime::http_server::open(loop, any_port(), {}, log,
                                      [this](const runtime::http_request&, auto respond) { respond(answer); });
    cluster::origin_registration r;
    r.server = "o1";
    r.service = "s";
    r.pid = "1";
    r.address = api->local().address;
    r.ip = r.address.to_string();
    r.rtmp = {{r.address, 1935}};
    r.api = {api->local()};
    EXPECT_TRUE(owners.registration(r));
  }
  ~rtc_signalling_test() override {
    signalling.close();
    sessions.close("shutdown");
  }
  runtime::http_response publish() {
    std::optional<runtime::http_response> got;
    signalling.begin(rtc_kind::publish, rtc_form::sdp, whip(), [&](auto r) { got = std::move(r); });
    run_until(loop, [&] { return got.has_value(); });
    return got.value_or(runtime::http_response{});
  }

  runtime::loop loop;
  servers::test::memory_log log;
  base::metrics metrics;
  cluster::memory_store store{[] { return runtime::loop::monotonic_now(); }};
  director owners{loop, {.proxy_id = "p1", .seed = 3}, store, log, metrics};
  cluster::memory_session_store names{[] { return runtime::loop::monotonic_now(); }};
  rtc_config config;
  cluster::vhost_rules vhosts;
  rtc_sessions sessions{{loop, owners, names, config, log, metrics}};
  rtc_signalling signalling{{loop, owners, sessions, config, vhosts, log, metrics, nullptr}};
  runtime::http_response answer;  // the origin's to everything
  std::unique_ptr<runtime::http_server> api;
};

TEST_F(rtc_signalling_test, who_was_refused_does_not_undo_the_record_with_which_another_may_publish) {
  answer.status = 401;
  std::vector<cluster::epoch> owned;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(publish().status, 401);
    run_turns(loop);
    const auto records = store.records();
    ASSERT_EQ(records.size(), 1u);
    owned.push_back(records.front().second.epoch);
  }
  EXPECT_EQ(owned[0], owned[1]);
}

}  // namespace
}  // namespace sluice::relay
