#include "admin/held_report.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace sluice::admin {
namespace {

using held = std::vector<cluster::held_stream>;
using std::chrono::seconds;

base::time_point at(int s) { return base::time_point(seconds(1000 + s)); }

cluster::held_stream stream(std::string name, uint64_t counter = 1, bool published = true) {
  return {std::move(name), {counter, 0}, published};
}

held sorted(held streams) {
  std::sort(streams.begin(), streams.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return streams;
}

TEST(held_report, the_first_is_whole_and_then_only_changes) {
  held_report r;
  auto p = r.next({stream("a"), stream("b")}, at(0));
  EXPECT_TRUE(p.whole);
  EXPECT_EQ(sorted(p.streams), (held{stream("a"), stream("b")}));
  EXPECT_EQ(r.accepted(p, at(0)), at(0));
  p = r.next({stream("a"), stream("b")}, at(1));
  EXPECT_FALSE(p.whole);
  EXPECT_TRUE(p.streams.empty());
  EXPECT_EQ(r.accepted(p, at(1)), base::never);
  p = r.next({stream("b", 2), stream("c", 1, false)}, at(2));
  EXPECT_FALSE(p.whole);
  EXPECT_EQ(sorted(p.streams), (held{{"a", {}, false}, stream("b", 2), stream("c", 1, false)}));
  r.accepted(p, at(2));
  EXPECT_TRUE(r.next({stream("b", 2), stream("c", 1, false)}, at(3)).streams.empty());
}

TEST(held_report, what_was_not_taken_is_told_again) {
  held_report r;
  r.next({stream("a")}, at(0));
  auto p = r.next({stream("a")}, at(1));
  EXPECT_TRUE(p.whole) << "the first call failed";
  EXPECT_EQ(r.accepted(p, at(1)), at(0)) << "the list began with the first attempt";
  r.next({}, at(2));
  p = r.next({stream("b")}, at(3));
  EXPECT_EQ(sorted(p.streams), (held{{"a", {}, false}, stream("b")}));
}

TEST(held_report, whole_every_ten_seconds_and_when_asked) {
  held_report r;
  r.accepted(r.next({stream("a")}, at(0)), at(0));
  EXPECT_FALSE(r.next({stream("a")}, at(9)).whole);
  auto p = r.next({stream("a")}, at(10));
  EXPECT_TRUE(p.whole);
  EXPECT_EQ(r.accepted(p, at(10)), at(10));
  EXPECT_FALSE(r.next({stream("a")}, at(11)).whole);
  r.want_whole();
  p = r.next({}, at(12));
  EXPECT_TRUE(p.whole) << "also when there is nothing";
  EXPECT_EQ(r.accepted(p, at(12)), at(12));
  EXPECT_TRUE(r.next({}, at(13)).streams.empty());
}

TEST(held_report, a_list_asked_for_while_a_call_is_out_is_sent_anew) {
  held_report r;
  const auto p = r.next({stream("a")}, at(0));
  r.want_whole();
  EXPECT_EQ(r.accepted(p, at(1)), base::never) << "it was sent before";
  EXPECT_TRUE(r.next({stream("a")}, at(2)).whole);
}

TEST(held_report, streams_that_are_only_waited_for_are_not_told) {
  held_report r;
  EXPECT_TRUE(r.next({{"waited-for", {}, false}}, at(0)).streams.empty());
}

TEST(held_report, a_long_list_goes_in_parts_published_streams_first) {
  held_report r(2);
  const held all{stream("e", 1, false), stream("a"), stream("b"), stream("c"), stream("d")};
  std::vector<std::string> told;
  base::time_point done = base::never;
  int parts = 0;
  while (done == base::never && parts < 10) {
    const auto p = r.next(all, at(parts));
    EXPECT_FALSE(p.whole);
    EXPECT_LE(p.streams.size(), 2u);
    for (const auto& h : p.streams) told.push_back(h.name);
    done = r.accepted(p, at(parts));
    ++parts;
  }
  EXPECT_EQ(parts, 3);
  EXPECT_EQ(done, at(0)) << "what was told counts from the first part";
  ASSERT_EQ(told.size(), 5u);
  EXPECT_EQ(told.back(), "e");
  EXPECT_TRUE(r.next(all, at(4)).streams.empty());
  const auto gone = r.next({}, at(5));
  EXPECT_EQ(gone.streams.size(), 2u);
  r.accepted(gone, at(5));
  EXPECT_EQ(r.next({}, at(6)).streams.size(), 2u);
}

TEST(held_report, a_part_is_bounded_in_bytes) {
  held_report r;
  held all;
  for (int i = 0; i < 2000; ++i) all.push_back(stream(std::string(1000, 'x') + std::to_string(i)));
  const auto p = r.next(all, at(0));
  EXPECT_FALSE(p.whole);
  EXPECT_LT(p.streams.size() * 1100, held_report::bytes_max + 1100);
  cluster::origin_registration reg;
  reg.server = reg.service = reg.pid = "1";
  reg.rtmp = {{base::ip_address::v4({127, 0, 0, 1}), 1935}};
  reg.sluice.emplace().streams = p.streams;
  const auto body = cluster::make_registration_body(reg);
  EXPECT_LT(body.size(), cluster::registration_body_bytes_max);
  EXPECT_NE(body.find(p.streams.back().name), std::string::npos) << "all that is told went in";
}

}  // namespace
}  // namespace sluice::admin
