#include "proto/resp/parser.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace sluice::resp {
namespace {

value text(std::string_view s) { return make_text(kind::bulk, s); }
value simple(std::string_view s) { return make_text(kind::simple_string, s); }
value number(int64_t n) { return make_integer(n); }
value list(std::vector<value> e) { return make_aggregate(kind::array, std::move(e)); }
value boolean(bool b) {
  value v;
  v.type = kind::boolean;
  v.integer = b;
  return v;
}
value real(double d) {
  value v;
  v.type = kind::real;
  v.real = d;
  return v;
}

struct good_case {
  std::string_view bytes;
  value expected;
};

// From the examples of the specifications (RESP protocol description, RESP3.md), and what redis-server 7.0 sends.
std::vector<good_case> good_cases() {
  return {
      {"+OK\r\n", simple("OK")},
      {"+\r\n", simple("")},
      {"-ERR unknown command 'helloworld'\r\n", make_text(kind::error, "ERR unknown command 'helloworld'")},
      {":1000\r\n", number(1000)},
      {":-1\r\n", number(-1)},
      {":+7\r\n", number(7)},
      {":9223372036854775807\r\n", number(std::numeric_limits<int64_t>::max())},
      {":-9223372036854775808\r\n", number(std::numeric_limits<int64_t>::min())},
      {"$5\r\nhello\r\n", text("hello")},
      {"$0\r\n\r\n", text("")},
      {"$4\r\n\r\n\r\n\r\n", text("\r\n\r\n")},
      {"$-1\r\n", {}},
      {"*-1\r\n", {}},
      {"_\r\n", {}},
      {"*0\r\n", list({})},
      {"*2\r\n$5\r\nhello\r\n$5\r\nworld\r\n", list({text("hello"), text("world")})},
      {"*3\r\n:1\r\n$-1\r\n*2\r\n+a\r\n-b\r\n",
       list({number(1), {}, list({simple("a"), make_text(kind::error, "b")})})},
      {"*2\r\n*0\r\n*1\r\n*1\r\n:1\r\n", list({list({}), list({list({number(1)})})})},
      {",1.23\r\n", real(1.23)},
      {",10\r\n", real(10)},
      {",-1.5e10\r\n", real(-1.5e10)},
      {",inf\r\n", real(std::numeric_limits<double>::infinity())},
      {",-inf\r\n", real(-std::numeric_limits<double>::infinity())},
      {"#t\r\n", boolean(true)},
      {"#f\r\n", boolean(false)},
      {"(3492890328409238509324850943850943825024385\r\n",
       make_text(kind::big_number, "3492890328409238509324850943850943825024385")},
      {"(-1\r\n", make_text(kind::big_number, "-1")},
      {"!21\r\nSYNTAX invalid syntax\r\n", make_text(kind::bulk_error, "SYNTAX invalid syntax")},
      {"=15\r\ntxt:Some string\r\n", make_text(kind::verbatim, "Some string")},
      {"=4\r\nmkd:\r\n", make_text(kind::verbatim, "")},
      {"%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n",
       make_aggregate(kind::map, {simple("first"), number(1), simple("second"), number(2)})},
      {"%0\r\n", make_aggregate(kind::map, {})},
      {"~3\r\n+orange\r\n+apple\r\n#t\r\n",
       make_aggregate(kind::set, {simple("orange"), simple("apple"), boolean(true)})},
      {">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\np\r\n",
       make_aggregate(kind::push, {text("message"), text("c"), text("p")})},
      // Attributes, before a reply and inside of one, are dropped.
      {"|1\r\n+key-popularity\r\n%2\r\n$1\r\na\r\n,0.1923\r\n$1\r\nb\r\n,0.0012\r\n*2\r\n:2039123\r\n:9543892\r\n",
       list({number(2039123), number(9543892)})},
      {"*3\r\n:1\r\n:2\r\n|1\r\n+ttl\r\n:3600\r\n:3\r\n", list({number(1), number(2), number(3)})},
      {"|0\r\n+OK\r\n", simple("OK")},
  };
}

/// All replies that come of `bytes` cut in pieces of at most `step` bytes, or an error.
base::result<std::vector<value>> read_all(parser& p, std::string_view bytes, size_t step) {
  std::vector<value> values;
  for (size_t at = 0; at < bytes.size(); at += step) {
    auto in = base::as_bytes(bytes.substr(at, step));
    while (true) {
      auto v = p.read(in);
      if (!v) return tl::unexpected(v.error());
      if (!*v) break;
      values.push_back(std::move(**v));
    }
    EXPECT_TRUE(in.empty());
  }
  return values;
}

std::string reason_of(std::string_view bytes, const limits& lim = {}, size_t step = SIZE_MAX / 2) {
  parser p(lim);
  const auto v = read_all(p, bytes, step);
  return v ? "ok" : std::string(v.error().reason);
}

TEST(resp_parser, reads_every_type_whole_byte_by_byte_and_split_everywhere) {
  for (const auto& c : good_cases()) {
    for (const size_t step : {c.bytes.size(), size_t{1}, size_t{2}, size_t{3}}) {
      parser p;
      const auto v = read_all(p, c.bytes, step);
      ASSERT_TRUE(v) << c.bytes << v.error().text;
      EXPECT_EQ(*v, std::vector{c.expected}) << c.bytes;
      EXPECT_FALSE(p.in_reply());
    }
    for (size_t cut = 1; cut < c.bytes.size(); ++cut) {
      parser p;
      auto first = base::as_bytes(c.bytes.substr(0, cut)), rest = base::as_bytes(c.bytes.substr(cut));
      auto v = p.read(first);
      ASSERT_TRUE(v && !*v) << c.bytes << " " << cut;
      EXPECT_TRUE(p.in_reply() || c.bytes.substr(0, cut) == "|0\r\n");
      v = p.read(rest);
      ASSERT_TRUE(v && *v) << c.bytes << " " << cut;
      EXPECT_EQ(**v, c.expected);
    }
  }
}

TEST(resp_parser, reads_nan) {
  parser p;
  const auto v = read_all(p, ",nan\r\n", 1);
  ASSERT_TRUE(v);
  EXPECT_TRUE(std::isnan(v->front().real));
}

TEST(resp_parser, gives_one_reply_at_a_time_and_leaves_what_follows) {
  std::string all;
  std::vector<value> expected;
  for (const auto& c : good_cases()) {
    all += c.bytes;
    expected.push_back(c.expected);
  }
  for (const size_t step : {all.size(), size_t{1}, size_t{7}}) {
    parser p;
    const auto v = read_all(p, all, step);
    ASSERT_TRUE(v);
    EXPECT_EQ(*v, expected);
  }
}

TEST(resp_parser, refuses_what_is_no_reply) {
  for (const std::string_view bytes : {"\r\n",
                                       "OK\r\n",
                                       "+OK\n",
                                       "+O\rK\r\n",
                                       ":\r\n",
                                       ":1x\r\n",
                                       ":+-1\r\n",
                                       ":99999999999999999999\r\n",
                                       "$x\r\n",
                                       "$\r\n",
                                       "$-2\r\n",
                                       "$3\r\nabcd\r\n",
                                       "$3\r\nabc\n\n",
                                       "*x\r\n",
                                       "*-2\r\n",
                                       "%-1\r\n",
                                       "_x\r\n",
                                       "#x\r\n",
                                       "#\r\n",
                                       ",\r\n",
                                       ",1.2.3\r\n",
                                       "(\r\n",
                                       "(12a\r\n",
                                       "!-1\r\n",
                                       "=3\r\ntxt\r\n",
                                       "=8\r\ntxtSome:\r\n",
                                       "$?\r\n",
                                       "*?\r\n",
                                       ".\r\n",
                                       "*1\r\n>1\r\n+a\r\n",
                                       "HTTP/1.1 400 Bad Request\r\n"}) {
    EXPECT_EQ(reason_of(bytes), "bad_resp") << bytes;
    EXPECT_EQ(reason_of(bytes, {}, 1), "bad_resp") << bytes;
  }
}

TEST(resp_parser, keeps_its_limits) {
  const limits small{10, 60, 5, 3, 20};
  struct limit_case {
    std::string_view fits, exceeds;
  };
  for (const auto& c :
       {limit_case{"$10\r\n0123456789\r\n", "$11\r\n"}, limit_case{"*5\r\n+\r\n+\r\n+\r\n+\r\n+\r\n", "*6\r\n"},
        limit_case{"%2\r\n+\r\n+\r\n+\r\n+\r\n", "%3\r\n"},
        limit_case{"*1\r\n*1\r\n*1\r\n+\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n"},
        limit_case{"*2\r\n*2\r\n+\r\n+\r\n*1\r\n+\r\n", "*2\r\n*2\r\n+\r\n+\r\n*2\r\n"},
        limit_case{"+0123456789012345678\r\n", "+01234567890123456789\r\n"},
        limit_case{"*3\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n$10\r\n01234567",
                   "*4\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n$10\r\n"},
        limit_case{"|1\r\n+\r\n+\r\n+OK\r\n", "|1\r\n+\r\n+\r\n|2\r\n+\r\n+\r\n+\r\n+\r\n"},
        limit_case{"$18446744073709551\r\n"
                   "",
                   ""}}) {
    if (c.exceeds.empty()) {
      EXPECT_EQ(reason_of(c.fits, small), "resp_too_large");
      continue;
    }
    for (const size_t step : {SIZE_MAX / 2, size_t{1}}) {
      EXPECT_EQ(reason_of(c.fits, small, step), "ok") << c.fits;
      EXPECT_EQ(reason_of(c.exceeds, small, step), "resp_too_large") << c.exceeds;
    }
  }
  // A line without an end, and attributes without a reply.
  EXPECT_EQ(reason_of(std::string(100, '+'), small), "resp_too_large");
  std::string attributes;
  for (int i = 0; i < 100; ++i) attributes += "|0\r\n";
  EXPECT_EQ(reason_of(attributes, small), "resp_too_large");
}

TEST(resp_parser, begins_to_count_anew_with_each_reply) {
  const limits small{10, 40, 3, 3, 20};
  std::string many;
  for (int i = 0; i < 50; ++i) many += "*3\r\n:1\r\n$2\r\nab\r\n_\r\n";
  EXPECT_EQ(reason_of(many, small), "ok");
}

TEST(resp_value, looks_things_up) {
  const auto map = make_aggregate(kind::map, {text("proto"), number(3), text("role"), text("master")});
  ASSERT_TRUE(map.find("proto"));
  EXPECT_EQ(map.find("proto")->number(), 3);
  EXPECT_EQ(map.find("role")->text, "master");
  EXPECT_FALSE(map.find("master"));
  EXPECT_FALSE(number(1).find("proto"));
  EXPECT_EQ(text("12").number(), 12);
  EXPECT_FALSE(text("12x").number());
  EXPECT_FALSE(text("").number());
  EXPECT_EQ(to_string(list({number(1), {}, text("a"), boolean(true), real(1.5)})), R"([1, null, "a", true, 1.5])");
  EXPECT_LT(to_string(text(std::string(100'000, 'x'))).size(), 300u);
}

}  // namespace
}  // namespace sluice::resp
