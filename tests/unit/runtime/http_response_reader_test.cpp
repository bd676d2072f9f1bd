#include "runtime/http_response_reader.hpp"

#include <gtest/gtest.h>

namespace sluice::runtime {
namespace {

using namespace std::string_literals;

/// "STATUS body [end]" of a response fed in pieces of that size; "error" if it is refused.
std::string read(const std::string& bytes, size_t piece, bool eof = true, bool head_request = false,
                 size_t header_max = 1000) {
  http_response_reader reader(head_request, header_max);
  std::string body;
  bool head_before_body = true;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    const auto part = std::string_view(bytes).substr(at, piece);
    const auto ok = reader.feed(base::as_bytes(part), [&](base::bytes_view b) {
      head_before_body &= reader.head() != nullptr;
      body += base::as_text(b);
    });
    if (!ok) {
      EXPECT_EQ(ok.error().reason, "bad_response");
      return "error";
    }
    if (reader.done()) break;
  }
  EXPECT_TRUE(head_before_body);
  if (!reader.head()) return reader.finish() ? "no head, but an end" : "cut";
  std::string out = std::to_string(reader.head()->status) + " " + body;
  if (reader.done()) return out + " [end]";
  return out + (eof && reader.finish() ? " [end by close]" : " [cut]");
}

struct row {
  std::string bytes, said;
};

const row rows[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 hello [end]"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "200 hel [cut]"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200  [end]"},
    {"HTTP/1.1 200 OK\r\n\r\nhello", "200 hello [end by close]"},
    {"HTTP/1.0 200 OK\r\n\r\nhello", "200 hello [end by close]"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
     "200 hello world [end]"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: a\r\n\r\n", "200 hello [end]"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "200 hel [cut]"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "200 hello [cut]"},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not "
     "Found\r\nContent-Length: 2\r\n\r\nno",
     "404 no [end]"},
    {"HTTP/1.1 204 No Content\r\n\r\n", "204  [end]"},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304  [end]"},
    {"HTTP/1.1 200 OK\r\nContent-Le", "cut"},
    {"", "cut"},
};

TEST(http_response_reader, any_division_gives_the_same) {
  for (const auto& [bytes, said] : rows)
    for (size_t piece = 1; piece <= bytes.size() + 1; ++piece)
      EXPECT_EQ(read(bytes, piece), said) << piece << ": " << bytes;
}

TEST(http_response_reader, what_is_no_response_is_refused) {
  for (const auto& bytes : {"SSH-2.0-OpenSSH\r\n\r\n"s, "HTTP/1.1 abc\r\n\r\n"s, "HTTP/1.1 200 OK\r\n: x\r\n\r\n"s,
                            "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n"s, "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"s,
                            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"s,
                            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n"s,
                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"s,
                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXXXX\r\n"s}) {
    EXPECT_EQ(read(bytes, bytes.size()), "error") << bytes;
    EXPECT_EQ(read(bytes, 1), "error") << bytes;
  }
}

TEST(http_response_reader, headers_have_a_limit) {
  for (const size_t piece : {1u, 7u, 100'000u}) {
    EXPECT_EQ(read("HTTP/1.1 200 OK\r\nX: " + std::string(2000, 'x') + "\r\n\r\n", piece), "error") << piece;
    EXPECT_EQ(read("HTTP/1.1 200 " + std::string(2000, 'x'), piece), "error") << piece;
    EXPECT_EQ(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + std::string(20'000, 'x'), piece),
              "error")
        << piece;
  }
}

TEST(http_response_reader, headers_that_come_line_by_line_have_a_limit_too) {
  for (const auto& [start, more] :
       {std::pair{"HTTP/1.1 200 OK\r\nx"s, ": "s + std::string(100, 'b') + "\r\nx"},
        std::pair{""s, "HTTP/1.1 103 Early Hints\r\nLink: "s + std::string(100, 'b') + "\r\n\r\n"}}) {
    http_response_reader reader(false, 1000);
    size_t taken = start.size();
    bool ok = reader.feed(base::as_bytes(start), [](auto) {}).has_value();
    for (; ok && taken < 10'000; taken += more.size()) ok = reader.feed(base::as_bytes(more), [](auto) {}).has_value();
    EXPECT_FALSE(ok);
    EXPECT_GT(taken, 1000u);
    EXPECT_LT(taken, 1300u);
  }
}

TEST(http_response_reader, the_answer_to_head_has_no_body) {
  EXPECT_EQ(read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 1, true, true), "200  [end]");
  EXPECT_EQ(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 1000, true, true), "200  [end]");
}

TEST(http_response_reader, a_long_body_comes_whole) {
  std::string body;
  for (int i = 0; body.size() < 300'000; ++i) body += std::to_string(i) + ",";
  EXPECT_EQ(read("HTTP/1.1 200 OK\r\n\r\n" + body, SIZE_MAX / 2), "200 " + body + " [end by close]");
  std::string chunked =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n493e0\r\n" + body.substr(0, 300'000) + "\r\n0\r\n\r\n";
  EXPECT_EQ(read(chunked, 70'001), "200 " + body.substr(0, 300'000) + " [end]");
}

TEST(http_response_reader, what_follows_the_response_is_left) {
  EXPECT_EQ(read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 no\r\n\r\n", 1000), "200 ok [end]");
}

TEST(http_response_reader, headers_as_they_were_sent) {
  http_response_reader reader(false);
  ASSERT_TRUE(
      reader.feed(base::as_bytes("HTTP/1.1 200 OK\r\nX-A: 1\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n"), [](auto) {}));
  ASSERT_TRUE(reader.head());
  EXPECT_EQ(reader.head()->header("x-a"), "1");
  EXPECT_EQ(reader.head()->header("SET-COOKIE"), "a");
  EXPECT_EQ(reader.head()->header("absent"), "");
  EXPECT_EQ(reader.head()->headers.size(), 3u);
}

TEST(hop_by_hop, headers_of_one_connection) {
  for (const auto* name :
       {"Connection", "keep-alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Authorization"})
    EXPECT_TRUE(is_hop_by_hop(name, "")) << name;
  EXPECT_TRUE(is_hop_by_hop("X-Mine", "close, x-mine"));
  EXPECT_TRUE(is_hop_by_hop("x-mine", " X-MINE ,close"));
  for (const auto* name : {"Authorization", "Cookie", "Host", "X-Mine2", ""})
    EXPECT_FALSE(is_hop_by_hop(name, "close, x-mine")) << name;
}

TEST(http_request_text, is_a_request) {
  EXPECT_EQ(http_request_text("GET", "/a?b", {{"Host", "x"}, {"A", "b"}}),
            "GET /a?b HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n");
}

}  // namespace
}  // namespace sluice::runtime
