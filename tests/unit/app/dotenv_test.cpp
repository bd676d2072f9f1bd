#include "app/dotenv.hpp"

#include <gtest/gtest.h>

namespace sluice::app {
namespace {

struct dotenv_case {
  const char* text;
  std::vector<std::pair<std::string, std::string>> values;
};

TEST(Dotenv, Forms) {
  const dotenv_case cases[] = {
      {"A=1", {{"A", "1"}}},
      {"\xef\xbb\xbf# a comment\n\n  A = 1 \r\nB=2\r\n", {{"A", "1"}, {"B", "2"}}},
      {"export A=1\nexport\tB=2", {{"A", "1"}, {"B", "2"}}},
      {"A=x # comment\nB=x#y\nC=# nothing", {{"A", "x"}, {"B", "x#y"}, {"C", ""}}},
      {"A='a # $b \\n'\nB=\"x\\n\\\"y\\\" \\$z\" # c", {{"A", "a # $b \\n"}, {"B", "x\n\"y\" $z"}}},
      {"A=\"two\nlines\"\nB=1", {{"A", "two\nlines"}, {"B", "1"}}},
      {"A=\nB=a=b", {{"A", ""}, {"B", "a=b"}}},
      {"A=''", {{"A", ""}}},
      {"exported=1", {{"exported", "1"}}},
  };
  for (const auto& c : cases) {
    const auto parsed = parse_dotenv(c.text);
    EXPECT_TRUE(parsed.warnings.empty()) << c.text;
    ASSERT_EQ(parsed.values.size(), c.values.size()) << c.text;
    for (size_t i = 0; i < c.values.size(); ++i) {
      EXPECT_EQ(parsed.values[i].name, c.values[i].first) << c.text;
      EXPECT_EQ(parsed.values[i].value, c.values[i].second) << c.text;
    }
  }
}

TEST(Dotenv, WarnsOfOtherLinesAndGoesOn) {
  const auto parsed = parse_dotenv("nonsense\n1A=2\nB=\"open\nC=3\n=4");
  ASSERT_EQ(parsed.values.size(), 1u);
  EXPECT_EQ(parsed.values[0].name, "C");
  EXPECT_EQ(parsed.values[0].line, 4u);
  EXPECT_EQ(parsed.warnings,
            (std::vector<std::string>{".env line 1: want NAME=value", ".env line 2: want NAME=value",
                                      ".env line 3: want NAME=value", ".env line 5: want NAME=value"}));
}

}  // namespace
}  // namespace sluice::app
