#include "proto/amf0/value.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "golden/golden.hpp"

namespace sluice::amf0 {
namespace {

using test::hex;

struct vector_case {
  const char* name;
  const char* bytes;
  value v;
};

// Adobe AMF0 specification §2: every marker with its payload.
const std::vector<vector_case>& vectors() {
  static const std::vector<vector_case> all{
      {"number", "00 3ff8000000000000", value(1.5)},
      {"boolean_false", "01 00", value(false)},
      {"boolean_true", "01 01", value(true)},
      {"string", "02 0004 6c697665", value("live")},
      {"empty_string", "02 0000", value("")},
      {"object", "03 0001 61 05 0001 62 00 4000000000000000 0000 09", value(object{{"a", value()}, {"b", value(2)}})},
      {"empty_object", "03 0000 09", value(object{})},
      {"null", "05", value()},
      {"undefined", "06", value(value::storage(undefined{}))},
      {"reference", "07 0102", value(value::storage(reference{0x102}))},
      {"ecma_array", "08 00000001 0001 6b 01 01 0000 09", value(value::storage(ecma_array{{{"k", value(true)}}}))},
      {"strict_array", "0a 00000002 05 02 0001 78", value(value::storage(strict_array{{value(), value("x")}}))},
      {"date", "0b 426d1a94a2000000 ffc4", value(value::storage(date{1e12, -60}))},
      {"unsupported", "0d", value(value::storage(unsupported{}))},
      {"xml_document", "0f 00000004 3c612f3e", value(value::storage(xml_document{"<a/>"}))},
      {"typed_object", "10 0001 54 0001 6d 06 0000 09",
       value(value::storage(typed_object{"T", {{"m", value(value::storage(undefined{}))}}}))},
      {"amf3", "11 0a0b01", value(value::storage(amf3_bytes{{0x0a, 0x0b, 0x01}}))},
  };
  return all;
}

TEST(amf0, encodes_every_marker) {
  for (const auto& c : vectors()) {
    std::vector<uint8_t> out;
    encode(c.v, out);
    EXPECT_EQ(out, hex(c.bytes)) << c.name;
  }
}

TEST(amf0, decodes_every_marker) {
  for (const auto& c : vectors()) {
    const auto bytes = hex(c.bytes);
    base::byte_reader in(bytes);
    const auto v = decode(in);
    ASSERT_TRUE(v) << c.name << ": " << v.error().text;
    EXPECT_EQ(in.remaining(), 0u) << c.name;
    EXPECT_EQ(v->get().index(), c.v.get().index()) << c.name;
    std::vector<uint8_t> again;
    encode(*v, again);
    EXPECT_EQ(again, bytes) << c.name;
  }
}

TEST(amf0, refuses_every_cut_value) {
  for (const auto& c : vectors()) {
    if (std::holds_alternative<amf3_bytes>(c.v.get())) continue;  // reaches to the end, wherever that is
    const auto bytes = hex(c.bytes);
    for (size_t size = 0; size < bytes.size(); ++size) {
      const std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      base::byte_reader in(cut);
      const auto v = decode(in);
      // The one leniency: an ECMA array with as many members as announced, and nothing behind.
      if (std::holds_alternative<ecma_array>(c.v.get()) && size == bytes.size() - 3) {
        EXPECT_TRUE(v);
        continue;
      }
      ASSERT_FALSE(v) << c.name << " cut at " << size;
      EXPECT_EQ(v.error().reason, "amf_truncated") << c.name << " cut at " << size;
    }
  }
}

TEST(amf0, decodes_a_command_value_by_value) {
  const auto bytes = hex("02 0007 636f6e6e656374 00 3ff0000000000000 03 0003 617070 02 0004 6c697665 0000 09");
  const auto values = decode_all(bytes);
  ASSERT_TRUE(values);
  ASSERT_EQ(values->size(), 3u);
  EXPECT_EQ((*values)[0].string_or(""), "connect");
  EXPECT_EQ((*values)[1].number_or(0), 1);
  ASSERT_NE((*values)[2].find("app"), nullptr);
  EXPECT_EQ((*values)[2].find("app")->string_or(""), "live");
  EXPECT_EQ((*values)[2].find("ap"), nullptr);
}

TEST(amf0, long_string_is_used_only_where_needed) {
  for (const size_t size : {0xFFFFu, 0x10000u}) {
    const std::string text(size, 'x');
    std::vector<uint8_t> out;
    encode(value(text), out);
    EXPECT_EQ(out[0], size > 0xFFFF ? 0x0C : 0x02);
    const auto back = decode_all(out);
    ASSERT_TRUE(back);
    EXPECT_EQ((*back)[0].string_or(""), text);
  }
}

TEST(amf0, refuses_reserved_and_unknown_markers) {
  for (const int marker : {0x04, 0x09, 0x0E, 0x12, 0xFF}) {
    const std::vector<uint8_t> bytes{static_cast<uint8_t>(marker), 0, 0, 0, 0, 0, 0, 0, 0};
    const auto v = decode_all(bytes);
    ASSERT_FALSE(v) << marker;
    EXPECT_EQ(v.error().reason, "amf_bad_marker");
  }
}

TEST(amf0, refuses_amf3_inside_a_container) {
  const auto v = decode_all(hex("03 0001 61 11 01"));
  ASSERT_FALSE(v);
  EXPECT_EQ(v.error().reason, "amf_bad_marker");
}

// faults.md row 7.
TEST(amf0, refuses_70000_nested_containers) {
  for (const char* level : {"03 0001 61", "0a 00000001", "08 00000001 0001 61", "10 0000 0001 61"}) {
    std::vector<uint8_t> bytes;
    for (int i = 0; i < 70000; ++i) {
      const auto one = hex(level);
      bytes.insert(bytes.end(), one.begin(), one.end());
    }
    const auto v = decode_all(bytes);
    ASSERT_FALSE(v) << level;
    EXPECT_EQ(v.error().reason, "amf_too_deep") << level;
  }
}

TEST(amf0, accepts_exactly_the_depth_limit) {
  for (const unsigned depth : {3u, 4u}) {
    std::vector<uint8_t> bytes;
    for (unsigned i = 0; i < depth; ++i) {
      const auto level = hex("0a 00000001");
      bytes.insert(bytes.end(), level.begin(), level.end());
    }
    bytes.push_back(0x05);
    EXPECT_EQ(decode_all(bytes, {.depth_max = 3}).has_value(), depth == 3);
  }
}

TEST(amf0, refuses_counts_that_the_bytes_do_not_hold) {
  for (const char* bytes :
       {"0a ffffffff", "0a ffffffff 05 05", "0c ffffffff 6161", "0f ffffffff", "08 ffffffff 0001 61 05"}) {
    const auto v = decode_all(hex(bytes));
    ASSERT_FALSE(v) << bytes;
    EXPECT_EQ(v.error().reason, "amf_truncated") << bytes;
  }
}

TEST(amf0, refuses_more_values_than_the_limit) {
  const std::vector<uint8_t> nulls(5, 0x05);
  EXPECT_TRUE(decode_all(nulls, {.values_max = 5}));
  const auto v = decode_all(nulls, {.values_max = 4});
  ASSERT_FALSE(v);
  EXPECT_EQ(v.error().reason, "amf_too_large");
  const auto members = decode_all(hex("03 0001 61 05 0001 62 05 0000 09"), {.values_max = 2});
  ASSERT_FALSE(members);
  EXPECT_EQ(members.error().reason, "amf_too_large");
}

TEST(amf0, ecma_array_count_is_only_a_hint) {
  for (const char* bytes :
       {"08 00000000 0001 61 05 0000 09", "08 00000007 0001 61 05 0000 09", "08 00000001 0001 61 05"}) {
    const auto v = decode_all(hex(bytes));
    ASSERT_TRUE(v) << bytes;
    EXPECT_EQ((*v)[0].members().size(), 1u) << bytes;
  }
}

TEST(amf0, find_takes_the_first_of_equal_names_and_knows_empty_ones) {
  const auto v = decode_all(hex("03 0001 61 01 01 0001 61 01 00 0000 05 0000 09"));
  ASSERT_TRUE(v);
  EXPECT_EQ((*v)[0].members().size(), 3u);
  EXPECT_TRUE((*v)[0].find("a")->boolean_or(false));
  ASSERT_NE((*v)[0].find(""), nullptr);
  EXPECT_TRUE((*v)[0].find("")->is_null());
}

TEST(amf0, accessors_fall_back_on_other_types) {
  const value text("1");
  EXPECT_EQ(text.number_or(7), 7);
  EXPECT_TRUE(text.boolean_or(true));
  EXPECT_EQ(value(1).string_or("none"), "none");
  EXPECT_TRUE(text.members().empty());
  EXPECT_EQ(text.find("x"), nullptr);
  EXPECT_TRUE(value(value::storage(undefined{})).is_null());
  EXPECT_FALSE(text.is_null());
}

}  // namespace
}  // namespace sluice::amf0
