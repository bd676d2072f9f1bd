#include "app/values.hpp"

#include <gtest/gtest.h>

namespace sluice::app {
namespace {

using namespace std::chrono_literals;

TEST(Duration, ReadsGoText) {
  const std::pair<const char*, base::duration> cases[] = {
      {"0", 0ns},        {"0s", 0ns},     {"300s", 300s},         {"1m30s", 90s},
      {"500ms", 500ms},  {"1.5h", 90min}, {".5s", 500ms},         {"1.s", 1s},
      {"1h2m3s", 3723s}, {"10us", 10us},  {"10\u00b5s", 10us},    {"10\u03bcs", 10us},
      {"7ns", 7ns},      {"0.1s", 100ms}, {"2562047h", 2562047h}, {"1.000000001s", 1000000001ns},
  };
  for (const auto& [text, value] : cases) {
    const auto parsed = parse_duration(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(*parsed, value) << text;
  }
}

TEST(Duration, RefusesOtherText) {
  for (const char* text : {"", "5", "s", "5 s", "-5s", "+5s", ".", ".s", "1d", "1m30", "5sec", "2562048h", "1e3s",
                           "99999999999999999999s", "1..5s"}) {
    const auto parsed = parse_duration(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().text.find("1m30s"), std::string::npos) << text;
  }
}

TEST(Duration, WritesWhatItReads) {
  for (const auto d :
       {base::duration(0), base::duration(90s), base::duration(1500ms), base::duration(3600s), base::duration(1ns)}) {
    const auto again = parse_duration(to_text(d));
    ASSERT_TRUE(again) << to_text(d);
    EXPECT_EQ(*again, d);
  }
  EXPECT_EQ(to_text(90s), "1m30s");
}

TEST(Size, Units) {
  const std::pair<const char*, uint64_t> cases[] = {
      {"0", 0},           {"65536", 65536}, {"10B", 10},        {"512k", 512u << 10}, {"512K", 512u << 10},
      {"8MiB", 8u << 20}, {"8m", 8u << 20}, {"8MB", 8'000'000}, {"1GiB", 1u << 30},   {"1g", 1u << 30},
      {"3kB", 3000},
  };
  for (const auto& [text, value] : cases) {
    const auto parsed = parse_size(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(*parsed, value) << text;
  }
  for (const char* text : {"", "k", "-1", "1.5m", "8 MiB", "1t", "18446744073709551615k"})
    EXPECT_FALSE(parse_size(text)) << text;
}

TEST(Switch, Words) {
  for (const char* text : {"on", "ON", "true", "yes", "1"}) EXPECT_TRUE(parse_switch(text).value()) << text;
  for (const char* text : {"off", "Off", "false", "no", "0"}) EXPECT_FALSE(parse_switch(text).value()) << text;
  for (const char* text : {"", "onn", "2"}) EXPECT_FALSE(parse_switch(text)) << text;
}

TEST(Listen, Forms) {
  const std::pair<const char*, const char*> cases[] = {
      {"1935", "[::]:1935"},          {":1935", "[::]:1935"},   {"0", "[::]:0"},
      {"127.0.0.1:0", "127.0.0.1:0"}, {"[::1]:80", "[::1]:80"}, {"0.0.0.0:1935", "0.0.0.0:1935"},
  };
  for (const auto& [text, value] : cases) {
    const auto parsed = parse_listen(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(parsed->to_string(), value);
  }
  for (const char* text :
       {"", ":", "65536", "-1", "::1:80", "localhost:80", "1935x", "1.2.3.4", "1.2.3.4:", "::1935"}) {
    EXPECT_FALSE(parse_listen(text)) << text;
  }
}

TEST(List, SplitsAndTrims) {
  EXPECT_EQ(split_list(" a, b ,,c"), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(split_list("").empty());
  EXPECT_TRUE(split_list(" , ").empty());
}

TEST(Closest, SuggestsOnlyWhatIsNear) {
  const std::vector<std::string> known{"rtmp_server", "http_server", "merge"};
  EXPECT_EQ(closest("rtmp_servr", known), "rtmp_server");
  EXPECT_EQ(closest("rmtp_server", known), "rtmp_server");
  EXPECT_EQ(closest("merg", known), "merge");
  EXPECT_EQ(closest("something_else", known), "");
}

}  // namespace
}  // namespace sluice::app
