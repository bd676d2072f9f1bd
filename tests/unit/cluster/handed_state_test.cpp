#include "cluster/core/handed_state.hpp"

#include <gtest/gtest.h>

namespace sluice::cluster {
namespace {

origin_registration origin_of(const std::string& server, const std::string& ip) {
  return *parse_registration(R"({"ip":")" + ip + R"(","server":")" + server +
                                 R"(","service":"v","pid":"1","rtmp":["1935"],"http":["8080"],"sluice":{"weight":2}})",
                             {});
}

TEST(handed_state, comes_back_as_it_was) {
  const handed_state s{{origin_of("o1", "10.0.0.1"), origin_of("o2", "10.0.0.2")},
                       {"o2"},
                       {{{"__defaultVhost__", "live", "s"}, {"o1-v-1", {5, 7}, "p", 1234}},
                        {{"v.example", "a/b", "t"}, {"o2-v-1", {6, 0}, "p", 0}}},
                       {{"srs-proxy-ufrag:a:b", R"({"stream_url":"v/a/s"})"}, {"k", "v"}}};
  const auto got = parse_handed_state(make_handed_state(s), {});
  ASSERT_TRUE(got) << got.error().text;
  ASSERT_EQ(got->origins.size(), 2u);
  EXPECT_EQ(got->origins[1].id(), "o2-v-1");
  EXPECT_EQ(got->origins[1].rtmp, s.origins[1].rtmp);
  EXPECT_EQ(got->origins[1].http, s.origins[1].http);
  EXPECT_EQ(got->origins[1].sluice->weight, 2);
  EXPECT_EQ(got->drained, s.drained);
  EXPECT_EQ(got->owners, s.owners);
  EXPECT_EQ(got->sessions, s.sessions);
  EXPECT_TRUE(parse_handed_state(make_handed_state({}), {}));
}

TEST(handed_state, what_is_not_valid_or_not_allowed_is_left_out) {
  const handed_state s{{origin_of("o1", "10.0.0.1"), origin_of("o2", "192.168.0.1")}, {}, {}, {}};
  const auto got = parse_handed_state(make_handed_state(s), {{*base::network::parse("10.0.0.0/8")}});
  ASSERT_TRUE(got);
  ASSERT_EQ(got->origins.size(), 1u);
  EXPECT_EQ(got->origins[0].server, "o1");
  const auto odd = parse_handed_state(
      R"({"later":1,"origins":[1,{}],"drained":[1,"o"],"owners":[null,{},{"stream":"a","origin":"o","epoch":"1.1"},
          {"stream":"v/a/s","origin":"","epoch":"1.1"},{"stream":"v/a/s","origin":"o","epoch":"x"},
          {"stream":"v/a/s","origin":"o","epoch":"1.1","started_ms":"x"},{"stream":"v.w/a/s","origin":"o","epoch":"1.1"}],
          "sessions":[1,{},{"key":"k"},{"value":"v"},{"key":1,"value":"v"},{"key":"k","value":"v"}]})",
      {});
  ASSERT_TRUE(odd);
  EXPECT_TRUE(odd->origins.empty());
  EXPECT_EQ(odd->drained, std::vector<std::string>{"o"});
  ASSERT_EQ(odd->owners.size(), 1u);
  EXPECT_EQ(odd->owners[0].second.epoch, (epoch{1, 1}));
  EXPECT_EQ(odd->sessions, (std::vector<std::pair<std::string, std::string>>{{"k", "v"}}));
}

TEST(handed_state, garbage_is_an_error) {
  for (const auto* text : {"", "x", "[]", "{", "1"})
    EXPECT_EQ(parse_handed_state(text, {}).error().reason, "bad_state");
  EXPECT_FALSE(parse_handed_state(std::string(100, '[') + std::string(100, ']'), {}));
}

}  // namespace
}  // namespace sluice::cluster
