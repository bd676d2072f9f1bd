#include "runtime/handover_message.hpp"

#include <gtest/gtest.h>

namespace sluice::runtime {
namespace {

TEST(handover_message, comes_back_as_it_was) {
  const handover_message m{
      "sockets", {{"name", "rtmp"}, {"name", "http"}, {"version", ""}}, std::string("a\0b\n\n", 5)};
  EXPECT_EQ(encode(m), std::string("sluice-handover 1 sockets\nname rtmp\nname http\nversion \n\na\0b\n\n", 61));
  const auto got = decode_handover(encode(m));
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(*got, m);
  EXPECT_EQ(got->field("name"), "rtmp") << "the first";
  EXPECT_EQ(got->field("nothing"), "");
}

TEST(handover_message, a_value_cannot_become_a_field) {
  const auto got = decode_handover(encode({"refused", {{"text", std::string("a\nname x\0", 9)}}, {}}));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->fields, (decltype(got->fields){{"text", "a name x "}}));
}

TEST(handover_message, what_a_later_version_adds_is_passed_over) {
  const auto got = decode_handover("sluice-handover 1 go\nsome_new_key with a value\n\n");
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->kind, "go");
}

TEST(handover_message, another_version_is_named) {
  const auto got = decode_handover("sluice-handover 2 hello\n\n");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().reason, "other_version");
  EXPECT_NE(got.error().text.find("version 2"), std::string::npos);
}

TEST(handover_message, garbage_is_refused) {
  const std::string_view cases[] = {
      "",
      "GET / HTTP/1.1\r\n\r\n",
      "sluice-handover ",
      "sluice-handover 1",
      "sluice-handover 1 go",
      "sluice-handover 1 go\n",
      "sluice-handover 1 Go\n\n",
      "sluice-handover 1 \n\n",
      "sluice-handover 1 go\nkey\n\n",
      "sluice-handover 1 go\nKey value\n\n",
      "sluice-handover 1 go\n value\n\n",
      "sluice-handover 1 go\nkey value",
      std::string_view("sluice-handover 1 go\nkey a\0b\n\n", 30),
  };
  for (const auto text : cases) {
    const auto got = decode_handover(text);
    ASSERT_FALSE(got) << text;
    EXPECT_EQ(got.error().reason, "bad_message") << text;
  }
  handover_message many{"go", {}, {}};
  for (size_t i = 0; i < handover_fields_max; ++i) many.fields.emplace_back("key", "value");
  EXPECT_TRUE(decode_handover(encode(many)));
  many.fields.emplace_back("key", "value");
  EXPECT_FALSE(decode_handover(encode(many)));
  EXPECT_FALSE(decode_handover("sluice-handover 1 go\n\n" + std::string(handover_packet_bytes_max, 'x')));
}

}  // namespace
}  // namespace sluice::runtime
