#include "proto/rtmp/handshake.hpp"

#include "golden/golden.hpp"
#include "unit/proto/rtmp/support.hpp"

namespace sluice::rtmp::test {
namespace {

constexpr size_t block = handshake_block_size;

handshake_block block_at(const bytes& all, size_t offset) { return handshake_block(all.data() + offset, block); }

bytes hello_of(handshake_form form, uint64_t seed) {
  client_handshake client(form, seed);
  bytes c0c1;
  client.begin(c0c1);
  EXPECT_EQ(c0c1.size(), 1 + block);
  return c0c1;
}

class handshake_of : public testing::TestWithParam<handshake_form> {};

TEST_P(handshake_of, both_sides_agree_however_the_bytes_are_cut) {
  const auto c0c1 = hello_of(GetParam(), 11);
  for_every_cut(
      c0c1,
      [&](const auto& pieces) {
        server_handshake server(22);
        client_handshake client(GetParam(), 11);
        bytes again, answer, c2;
        client.begin(again);
        ASSERT_EQ(again, c0c1);
        for (auto p : pieces) {
          ASSERT_TRUE(answer.empty());
          ASSERT_EQ(server.receive(p, answer).value(), p.size());
        }
        ASSERT_EQ(answer.size(), 1 + 2 * block);
        const size_t cut = pieces[0].size() % answer.size();
        ASSERT_EQ(client.receive(base::bytes_view(answer).first(cut), c2).value(), cut);
        ASSERT_EQ(client.receive(base::bytes_view(answer).subspan(cut), c2).value(), answer.size() - cut);
        ASSERT_TRUE(client.done());
        ASSERT_EQ(c2.size(), block);
        ASSERT_FALSE(server.done());
        const auto more = c2 + counted(10);
        ASSERT_EQ(server.receive(more, answer).value(), block) << "what follows is not the handshake's";
        ASSERT_TRUE(server.done());
        ASSERT_EQ(answer.size(), 1 + 2 * block);
      },
      37);
}

INSTANTIATE_TEST_SUITE_P(forms, handshake_of, testing::Values(handshake_form::simple, handshake_form::digest));

TEST(handshake, simple_form_echoes) {
  const auto c0c1 = hello_of(handshake_form::simple, 1);
  server_handshake server(2);
  bytes answer, c2;
  ASSERT_TRUE(server.receive(c0c1, answer));
  EXPECT_EQ(answer[0], 3);
  EXPECT_EQ(bytes(answer.begin() + 5, answer.begin() + 9), bytes(4, 0));
  EXPECT_EQ(bytes(answer.begin() + 1 + block, answer.end()), bytes(c0c1.begin() + 1, c0c1.end()));
  client_handshake client(handshake_form::simple, 1);
  ASSERT_TRUE(client.receive(answer, c2));
  EXPECT_EQ(c2, bytes(answer.begin() + 1, answer.begin() + 1 + block));
}

TEST(handshake, digest_form_is_signed_on_both_sides) {
  const auto c0c1 = hello_of(handshake_form::digest, 1);
  const auto c1_digest = find_digest(block_at(c0c1, 1), handshake_peer::player);
  ASSERT_TRUE(c1_digest);
  EXPECT_FALSE(find_digest(block_at(c0c1, 1), handshake_peer::server));
  server_handshake server(2);
  bytes answer, c2;
  ASSERT_TRUE(server.receive(c0c1, answer));
  const auto s1_digest = find_digest(block_at(answer, 1), handshake_peer::server);
  ASSERT_TRUE(s1_digest);
  EXPECT_EQ(s1_digest->scheme, c1_digest->scheme);
  EXPECT_TRUE(verify_answer(block_at(answer, 1 + block), handshake_peer::server, c1_digest->value));
  EXPECT_FALSE(verify_answer(block_at(answer, 1 + block), handshake_peer::server, s1_digest->value));
  client_handshake client(handshake_form::digest, 1);
  ASSERT_TRUE(client.receive(answer, c2));
  EXPECT_TRUE(verify_answer(block_at(c2, 0), handshake_peer::player, s1_digest->value));
}

TEST(handshake, a_broken_digest_gets_the_simple_form) {
  auto c0c1 = hello_of(handshake_form::digest, 1);
  c0c1[1500] ^= 1;
  server_handshake server(2);
  bytes answer;
  ASSERT_TRUE(server.receive(c0c1, answer));
  EXPECT_FALSE(find_digest(block_at(answer, 1), handshake_peer::server));
  EXPECT_EQ(bytes(answer.begin() + 1 + block, answer.end()), bytes(c0c1.begin() + 1, c0c1.end()));
}

TEST(handshake, versions_other_than_3_are_refused_at_the_first_byte) {
  for (const uint8_t version : bytes{0, 2, 4, 6, 0xF3, 'G'}) {
    server_handshake server(1);
    client_handshake client(handshake_form::simple, 1);
    bytes out;
    const bytes first{version};
    EXPECT_EQ(server.receive(first, out).error().reason, "bad_version");
    EXPECT_EQ(client.receive(first, out).error().reason, "bad_version");
    EXPECT_TRUE(out.empty());
  }
}

TEST(handshake, seeds_make_sessions_differ) {
  EXPECT_NE(hello_of(handshake_form::simple, 1), hello_of(handshake_form::simple, 2));
  EXPECT_EQ(hello_of(handshake_form::simple, 1), hello_of(handshake_form::simple, 1));
}

// Recorded against this server with the seed given: C1 must be found signed or not, and C2 must answer the S1 that the
// seed makes.
struct recorded {
  const char* file;
  uint64_t seed;
  bool c1_signed, c2_signed;  // FFmpeg signs C1 always, C2 only as a player
};
class recorded_handshake : public testing::TestWithParam<recorded> {};

TEST_P(recorded_handshake, of_real_clients) {
  const auto all = sluice::test::golden(GetParam().file);
  ASSERT_GT(all.size(), 1 + 2 * block);
  server_handshake server(GetParam().seed);
  bytes answer;
  ASSERT_EQ(server.receive(all, answer).value(), 1 + 2 * block);
  ASSERT_TRUE(server.done());
  EXPECT_EQ(find_digest(block_at(all, 1), handshake_peer::player).has_value(), GetParam().c1_signed);
  const auto s1 = find_digest(block_at(answer, 1), handshake_peer::server);
  ASSERT_EQ(s1.has_value(), GetParam().c1_signed);
  if (GetParam().c2_signed) {
    EXPECT_TRUE(verify_answer(block_at(all, 1 + block), handshake_peer::player, s1->value));
  } else {
    // An echo of S1, but for the four bytes in which the time of reading may be (RTMP 1.0 §5.2.4).
    EXPECT_EQ(bytes(all.begin() + 1 + block + 8, all.begin() + 1 + 2 * block),
              bytes(answer.begin() + 1 + 8, answer.begin() + 1 + block));
  }
}

INSTANTIATE_TEST_SUITE_P(clients, recorded_handshake,
                         testing::Values(recorded{"rtmp/ffmpeg_publish.bin", 1, true, false},
                                         recorded{"rtmp/ffmpeg_play.bin", 3, true, true},
                                         recorded{"rtmp/rtmpdump_play.bin", 2, false, false},
                                         recorded{"rtmp/gstreamer_publish.bin", 4, false, false}),
                         [](const auto& info) {
                           auto name = std::string(info.param.file).substr(5);
                           return name.substr(0, name.find('.'));
                         });

}  // namespace
}  // namespace sluice::rtmp::test
