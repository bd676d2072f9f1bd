// Publishers who come by a transport that not every origin serves.
#include "cluster/core/transport.hpp"

#include <gtest/gtest.h>

#include "unit/cluster/harness.hpp"

namespace sluice::cluster {
namespace {

stream_key numbered(int i) { return {"__defaultVhost__", "live", std::to_string(i)}; }

origin_registration with_srt(origin_registration reg) {
  reg.srt = {{reg.address, 10080}};
  return reg;
}
origin_registration with_api(origin_registration reg) {
  reg.api = {{reg.address, 1985}};
  return reg;
}
origin_registration with_rtc(origin_registration reg) {
  reg.rtc_udp = {{reg.address, 8000}};
  return reg;
}

struct transports : ::testing::Test {
  void claim(uint64_t id, const stream_key& key, transport by, std::vector<std::string> exclude = {}) {
    claim_request wanted;
    wanted.session = std::to_string(id);
    wanted.exclude = std::move(exclude);
    wanted.by = by;
    c->claim(id, key, std::move(wanted), c.now());
    c.drain();
  }
  /// Published once by RTMP, at an origin that serves nothing else, and no more; as long ago as it takes.
  assignment left_behind(const origin_registration& reg) {
    c.add(reg);
    const auto a = c.published(key_a);
    c.pass(3s);
    c.add(reg);
    c->publish_ended(key_a, a.epoch, c.now());
    c.drain();
    return a;
  }
  void replaced(transport by, const origin_registration& reg) {
    const auto before = left_behind(plain);
    c.add(reg);
    claim(1, key_a, by);
    ASSERT_EQ(c.claim_error(1), "granted");
    EXPECT_EQ(c.claims.at(1)->server_id, reg.server);
    EXPECT_GT(c.claims.at(1)->epoch, before.epoch);
    EXPECT_EQ(c.changed_because, std::vector<std::string>{"transport"});
    c.start(key_a, c.claims.at(1)->epoch);
    c.find(2, key_a);
    EXPECT_EQ(c.finds.at(2)->server_id, reg.server);
    EXPECT_EQ(c.granted(key_a, "another").server_id, reg.server) << "by RTMP everybody comes";
  }
  cluster_harness c;
  const origin_registration plain = sluice_at("plain", 1001);
  const origin_registration srt = with_srt(origin_at("srt", 1002));
  const origin_registration rtc = with_rtc(with_api(origin_at("rtc", 1003)));
};

TEST_F(transports, each_origin_serves_what_it_names) {
  const auto stock = origin_at("o", 1), ours = sluice_at("o", 1);
  for (const auto& reg : {stock, ours}) {
    EXPECT_TRUE(serves(reg, transport::rtmp));
    EXPECT_FALSE(serves(reg, transport::srt));
    EXPECT_TRUE(serves(with_srt(reg), transport::srt));
    EXPECT_FALSE(serves(reg, transport::rtc));
    EXPECT_FALSE(serves(with_rtc(reg), transport::rtc)) << "there is nobody to begin a session with";
    EXPECT_TRUE(serves(with_rtc(with_api(reg)), transport::rtc));
  }
  EXPECT_TRUE(serves(with_api(stock), transport::rtc)) << "its answers name the media port";
  EXPECT_FALSE(serves(with_api(ours), transport::rtc)) << "ours say so if they serve it";
}

TEST_F(transports, a_new_stream_is_placed_where_its_transport_is_served) {
  for (uint16_t i = 0; i < 8; ++i) c.add(origin_at("plain" + std::to_string(i), 2000 + i));
  c.add(with_api(sluice_at("ours", 2100)));
  claim(1, numbered(1), transport::srt);
  claim(2, numbered(2), transport::rtc);
  EXPECT_EQ(c.claim_error(1), "unanswered");  // they wait for one that can take them
  c.add(rtc);
  EXPECT_EQ(c.claim_error(1), "unanswered");
  EXPECT_EQ(c.claim_error(2), "granted");
  c.add(srt);
  ASSERT_EQ(c.claim_error(1), "granted");
  for (uint64_t i = 2; i < 10; ++i) {
    claim(2 * i, numbered(static_cast<int>(2 * i)), transport::srt);
    claim(2 * i + 1, numbered(static_cast<int>(2 * i + 1)), transport::rtc);
    EXPECT_EQ(c.claims.at(2 * i)->server_id, "srt");
    EXPECT_EQ(c.claims.at(2 * i)->srt, srt.srt);
    EXPECT_EQ(c.claims.at(2 * i + 1)->server_id, "rtc");
    EXPECT_EQ(c.claims.at(2 * i + 1)->rtc_udp, rtc.rtc_udp);
  }
}

TEST_F(transports, who_finds_no_origin_for_his_hears_so) {
  c.add(plain);
  claim(1, key_a, transport::srt);
  claim(2, key_b, transport::rtc);
  c.beats({plain}, 4);
  EXPECT_EQ(c.claim_error(1), "no_origin");
  EXPECT_EQ(c.claims.at(1).error().text, "no origin that serves SRT is alive");
  EXPECT_EQ(c.claims.at(2).error().text, "no origin that serves WebRTC is alive");
}

TEST_F(transports, an_owner_without_srt_is_replaced_when_nobody_publishes_there) { replaced(transport::srt, srt); }
TEST_F(transports, an_owner_without_rtc_is_replaced_when_nobody_publishes_there) { replaced(transport::rtc, rtc); }

TEST_F(transports, an_owner_that_serves_it_stays) {
  const auto before = left_behind(with_srt(plain));
  c.add(srt);
  claim(1, key_a, transport::srt);
  EXPECT_EQ(c.claims.at(1)->epoch, before.epoch);
}

TEST_F(transports, a_second_publisher_by_another_is_refused) {
  const auto first = left_behind(plain);
  c.start(key_a, first.epoch);
  c.add(srt);
  c.add(rtc);
  claim(1, key_a, transport::srt);
  EXPECT_EQ(c.claim_error(1), "already_published");
  EXPECT_NE(c.claims.at(1).error().text.find("published at the origin server plain-s1-1, which serves no SRT"),
            std::string::npos);
  claim(2, key_a, transport::rtc);
  EXPECT_EQ(c.claim_error(2), "already_published");
  claim(3, key_a, transport::rtc, {first.origin_id});
  EXPECT_EQ(c.claim_error(3), "already_published") << "whatever it did not reach";
  EXPECT_EQ(c.granted(key_a, "by rtmp").epoch, first.epoch) << "whom the origin refuses";
}

TEST_F(transports, a_claim_that_is_granted_counts_as_a_publisher) {
  c.add(plain);
  const auto first = c.granted(key_a);
  c.add(srt);
  claim(1, key_a, transport::srt);
  EXPECT_EQ(c.claim_error(1), "already_published");
  c.start(key_a, first.epoch);
  EXPECT_TRUE(c.changes.empty());
}

TEST_F(transports, one_who_is_about_to_go_on_elsewhere_counts) {
  const auto first = left_behind(with_rtc(plain));
  c.start(key_a, first.epoch);
  c.fail_over(1, key_a, first.epoch);
  c.hold_store = true;
  c.fail_over(2, key_a, first.epoch);
  c.add(srt);
  claim(3, key_a, transport::srt);
  c.release_store();
  EXPECT_EQ(c.claim_error(3), "already_published");
}

TEST_F(transports, another_proxys_publisher_counts) {
  c.add(plain);
  c.add(srt);
  owner_record record{"plain-s1-1", {c.now().wall_ms, 7}, "proxy-2", c.now().wall_ms, true};
  c.write(key_a, record);
  claim(1, key_a, transport::srt);
  EXPECT_EQ(c.claim_error(1), "already_published");
  // He leaves: that proxy says so in the store.
  record.published = false;
  c.write(key_a, record);
  claim(2, key_a, transport::srt);
  c.beats({plain, srt}, 2);
  ASSERT_EQ(c.claim_error(2), "granted");
  EXPECT_EQ(c.claims.at(2)->server_id, "srt");
}

TEST_F(transports, what_this_proxy_heard_last_does_not_decide) {
  const auto old = left_behind(plain);
  c.add(srt);
  // Another proxy's publisher has come back to that owner meanwhile.
  c.write(key_a, {old.origin_id, old.epoch, "proxy-2", c.now().wall_ms, true});
  claim(1, key_a, transport::srt);
  EXPECT_EQ(c.claim_error(1), "already_published");
}

TEST_F(transports, a_publisher_on_his_way_at_another_proxy_is_given_time) {
  c.add(plain);
  c.add(srt);
  owner_record record{"plain-s1-1", {c.now().wall_ms, 7}, "proxy-2", c.now().wall_ms, false};
  c.write(key_a, record);
  c.write(key_b, record);
  claim(1, key_a, transport::srt);
  claim(2, key_b, transport::srt);
  c.pass(1s);
  EXPECT_EQ(c.claim_error(1), "unanswered");
  EXPECT_EQ(c.claim_error(2), "unanswered");
  record.published = true;
  c.write(key_a, record);
  c.pass(1s);
  EXPECT_EQ(c.claim_error(1), "already_published");
  ASSERT_EQ(c.claim_error(2), "granted") << "nobody came";
  EXPECT_EQ(c.claims.at(2)->server_id, "srt");
}

TEST_F(transports, an_origin_that_lists_the_stream_counts) {
  c.beat(plain, {{key_a.str(), {c.now().wall_ms, 7}, true}});
  c.add(srt);
  claim(1, key_a, transport::srt);
  EXPECT_EQ(c.claim_error(1), "already_published") << "though the store knows of no owner";
  EXPECT_EQ(c.stored(), 0u);
  c.beat(plain, {});
  claim(2, key_a, transport::srt);
  ASSERT_EQ(c.claim_error(2), "granted");
  EXPECT_EQ(c.claims.at(2)->server_id, "srt");
}

TEST_F(transports, without_the_store_it_is_the_same) {
  left_behind(plain);
  c.add(srt);
  c->store_state(false, false, c.now());
  c.drain();
  claim(1, key_a, transport::srt);
  ASSERT_EQ(c.claim_error(1), "granted");
  EXPECT_EQ(c.claims.at(1)->server_id, "srt");
  const auto first = c.published(key_b);
  ASSERT_TRUE(first.server_id == "plain" || first.server_id == "srt");
  claim(2, key_b, transport::rtc);
  EXPECT_EQ(c.claim_error(2), "already_published");
}

TEST_F(transports, a_record_that_changes_under_the_claim_is_looked_at_again) {
  left_behind(plain);
  c.add(srt);
  c.hold_store = true;
  claim(1, key_a, transport::srt);
  c.release_store();  // it is told who the owner is, and that nobody publishes
  const owner_record other{"plain-s1-1", {c.now().wall_ms + 60'000, 7}, "proxy-2", c.now().wall_ms, true};
  c.write(key_a, other);
  for (int i = 0; i < 3; ++i) c.release_store();
  EXPECT_EQ(c.claim_error(1), "already_published");
}

TEST_F(transports, where_the_only_origin_that_serves_it_is_drained_it_serves_and_keeps_what_comes) {
  c.add(plain);
  c.add(srt);
  ASSERT_TRUE(c->drain("srt", true, c.now()));
  c.drain();
  EXPECT_EQ(c.granted(numbered(1)).server_id, "plain");
  claim(1, key_a, transport::srt);
  ASSERT_EQ(c.claim_error(1), "granted");
  EXPECT_EQ(c.claims.at(1)->server_id, "srt");
  c.start(key_a, c.claims.at(1)->epoch);
  EXPECT_TRUE(c.moves.empty()) << "to an origin that serves no SRT";
  c.add(with_srt(origin_at("other", 1004)));
  ASSERT_EQ(c.moves.size(), 1u);
  EXPECT_EQ(c.moves[0].to.server_id, "other");
}

}  // namespace
}  // namespace sluice::cluster
