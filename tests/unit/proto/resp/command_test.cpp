#include "proto/resp/command.hpp"

#include <gtest/gtest.h>

#include "base/buffer.hpp"
#include "proto/resp/parser.hpp"

namespace sluice::resp {
namespace {

TEST(resp_command, is_an_array_of_bulk_strings) {
  const std::vector<std::string> command{"SET", "a key", std::string("\0\r\n\xff", 4), ""};
  std::vector<uint8_t> out{'x'};
  write_command(out, command);
  EXPECT_EQ(base::as_text(out), std::string("x*4\r\n$3\r\nSET\r\n$5\r\na key\r\n$4\r\n\0\r\n\xff\r\n$0\r\n\r\n", 41));
  EXPECT_EQ(command_bytes(command), out.size() - 1);
  parser p;
  auto in = base::bytes_view(out).subspan(1);
  const auto v = p.read(in);
  ASSERT_TRUE(v && *v);
  ASSERT_EQ((*v)->elements.size(), command.size());
  for (size_t i = 0; i < command.size(); ++i) EXPECT_EQ((*v)->elements[i].text, command[i]);
}

TEST(resp_command, size_is_known_beforehand) {
  for (const size_t parts : {1u, 9u, 10u, 100u}) {
    for (const size_t bytes : {0u, 9u, 10u, 999u, 1000u}) {
      const std::vector<std::string> command(parts, std::string(bytes, 'x'));
      std::vector<uint8_t> out;
      write_command(out, command);
      EXPECT_EQ(command_bytes(command), out.size());
    }
  }
}

// CLUSTER KEYSLOT of redis-server 7.0.15; 123456789 gives 0x31C3, says the Cluster specification.
TEST(resp_command, slot_of_a_key) {
  EXPECT_EQ(key_slot("123456789"), 0x31C3);
  EXPECT_EQ(key_slot(""), 0);
  EXPECT_EQ(key_slot("foo"), 12182);
  EXPECT_EQ(key_slot("bar"), 5061);
  EXPECT_EQ(key_slot("{user1000}.following"), key_slot("{user1000}.followers"));
  EXPECT_EQ(key_slot("{user1000}.following"), key_slot("user1000"));
  EXPECT_EQ(key_slot("foo{bar}{zap}"), key_slot("bar"));
  EXPECT_EQ(key_slot("foo{{bar}}zap"), key_slot("{bar"));
  EXPECT_NE(key_slot("foo{}{bar}"), key_slot("bar"));
  EXPECT_NE(key_slot("foo{bar"), key_slot("bar"));
  EXPECT_EQ(key_slot("sluice-own:{srs-proxy-url:live/a}"), key_slot("srs-proxy-url:live/a"));
}

}  // namespace
}  // namespace sluice::resp
