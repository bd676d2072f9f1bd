#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "http_test_tools.hpp"
#include "runtime/http_text.hpp"

namespace sluice::runtime {
namespace {

using namespace std::chrono_literals;
using namespace std::string_view_literals;

TEST_F(http, client_and_server_exchange_whole_messages) {
  open([this](const http_request& r, http_server::respond respond) {
    seen_.push_back(r);
    respond({.status = 201, .headers = {{"X-Answer", "42"}}, .body = "{\"ok\":true}"});
  });
  const auto r = fetch({.method = "POST",
                        .url = url("/api/v1/a%20b?x=1&name=l%26r"),
                        .headers = {{"Authorization", "Bearer t"}},
                        .content_type = "application/json",
                        .body = "{}"});
  ASSERT_TRUE(r) << r.error().text;
  EXPECT_EQ(r->status, 201);
  EXPECT_EQ(r->body, "{\"ok\":true}");
  EXPECT_EQ(r->content_type, "application/json");
  EXPECT_NE(std::find(r->headers.begin(), r->headers.end(), std::pair<std::string, std::string>{"X-Answer", "42"}),
            r->headers.end());
  ASSERT_EQ(seen_.size(), 1u);
  EXPECT_EQ(seen_[0].method, "POST");
  EXPECT_EQ(seen_[0].target, "/api/v1/a%20b?x=1&name=l%26r");
  EXPECT_EQ(seen_[0].path, "/api/v1/a b");
  EXPECT_EQ(seen_[0].query, "x=1&name=l%26r");
  EXPECT_EQ(seen_[0].query_value("name"), "l&r");
  EXPECT_EQ(seen_[0].query_value("absent"), "");
  EXPECT_EQ(seen_[0].header("AUTHORIZATION"), "Bearer t");
  EXPECT_EQ(seen_[0].header("content-type"), "application/json");
  EXPECT_EQ(seen_[0].body, "{}");
  EXPECT_TRUE(seen_[0].peer.address.is_loopback());
}

TEST_F(http, a_connection_serves_many_requests_also_pipelined) {
  open_echo();
  const std::string answer =
      raw("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
          "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
          "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"
          "GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  ASSERT_EQ(seen_.size(), 4u);
  EXPECT_NE(answer.find("GET /1 "), std::string::npos);
  EXPECT_NE(answer.find("POST /2 abc"), std::string::npos);
  EXPECT_NE(answer.find("POST /3 def"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("GET /4 ")) << answer;
}

TEST_F(http, pieces_of_any_size_make_the_same_requests) {
  open_echo();
  const std::string bytes =
      "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
      "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"
      "GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  for (const size_t piece : {1u, 2u, 7u, 50u, 60u}) {
    seen_.clear();
    tcp_stream stream;
    size_t sent = 0;
    timer drip(loop_, [&] {
      const auto part = base::as_bytes(bytes).subspan(sent).first(std::min(piece, bytes.size() - sent));
      sent += stream.write(part).bytes;
      drip.arm_after(0ns);  // in the next round, when the server has had its turn
      const auto r = stream.read(loop_.read_buffer(), loop::read_buffer_size);
      if (r.status == io_status::closed || r.status == io_status::failed) loop_.stop();
    });
    tcp_connector connector(loop_, server_->local(), 5s, [&](base::result<tcp_stream> s) {
      stream = std::move(*s);
      drip.arm_after(0ns);
    });
    run();
    ASSERT_EQ(seen_.size(), 4u) << piece;
    EXPECT_EQ(seen_[1].body + seen_[2].body, "abcdef") << piece;
  }
}

TEST_F(http, a_long_row_of_requests_leaves_others_their_turn) {
  constexpr int count = 300;
  std::string bytes;
  for (int i = 0; i < count; ++i)
    bytes += "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(i + 1 < count ? "" : "Connection: close\r\n") + "\r\n";
  int answered = 0, at_first_turn = -1;
  open([&](const http_request&, http_server::respond respond) {
    if (answered++ == 0) loop_.defer([&] { at_first_turn = answered; });
    respond({.body = "ok"});
  });
  const std::string all = raw(bytes);
  EXPECT_EQ(answered, count);
  EXPECT_LT(at_first_turn, count / 4);
  EXPECT_TRUE(all.ends_with("ok"));
}

TEST_F(http, an_answer_may_come_later) {
  std::optional<http_server::respond> kept;
  timer later(loop_, [&] { std::exchange(kept, std::nullopt).value()({.body = "late"}); });
  open([&](const http_request&, http_server::respond respond) {
    kept = std::move(respond);
    later.arm_after(1ms);
  });
  const auto r = fetch({.url = url("/")});
  ASSERT_TRUE(r);
  EXPECT_EQ(r->body, "late");
}

TEST_F(http, a_handler_that_throws_or_forgets_to_answer_gets_a_500) {
  open([](const http_request& r, http_server::respond respond) {
    if (r.path == "/throw") throw std::runtime_error("a bug of ours");
  });
  for (const auto* path : {"/throw", "/forget"}) {
    const auto r = fetch({.url = url(path)});
    ASSERT_TRUE(r);
    EXPECT_EQ(r->status, 500);
  }
  EXPECT_TRUE(log_.has("a bug of ours"));
  EXPECT_TRUE(log_.has("path=/throw"));
}

TEST_F(http, head_gets_the_header_only) {
  open_echo();
  const std::string answer = raw("HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_NE(answer.find("Content-Length: 8\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\n"));
  const auto r = fetch({.method = "HEAD", .url = url("/x")});
  ASSERT_TRUE(r) << r.error().text;
  EXPECT_EQ(r->body, "");
}

TEST_F(http, a_target_in_absolute_form_is_one_in_origin_form) {
  open_echo();
  raw("GET http://b.test:81/x%20y?q=1 HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n"
      "GET http://b.test HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  ASSERT_EQ(seen_.size(), 2u);
  EXPECT_EQ(seen_[0].target, "/x%20y?q=1");
  EXPECT_EQ(seen_[0].path, "/x y");
  EXPECT_EQ(seen_[0].header("host"), "b.test:81");
  EXPECT_EQ(std::ranges::count(seen_[0].headers, "Host", [](const auto& h) { return h.first; }), 1);
  EXPECT_EQ(seen_[0].header("x"), "1");
  EXPECT_EQ(seen_[1].target, "/");
}

TEST_F(http, empty_lines_before_a_request_are_passed_over) {
  open_echo();
  const std::string all =
      raw("\r\n\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_NE(all.find("GET /1 "), std::string::npos);
  EXPECT_NE(all.find("GET /2 "), std::string::npos);
  EXPECT_EQ(raw("\r\n\rGET / HTTP/1.1\r\nHost: a\r\n\r\n").find("HTTP/1.1 400"), 0u);
}

TEST_F(http, answers_say_when_they_were_made) {
  open([](const http_request& r, http_server::respond respond) {
    http_response response;
    if (r.path == "/old") response.headers = {{"date", "Thu, 01 Jan 1970 00:00:00 GMT"}};
    respond(std::move(response));
  });
  const auto dates = [](std::string_view text) {
    size_t n = 0;
    for (size_t at = 0; (at = text.find("\r\nDate: ", at)) != std::string_view::npos; ++at) ++n;
    return n;
  };
  const auto own = raw("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(dates(own), 2u);
  // IMF-fixdate (RFC 9110 section 5.6.7).
  const auto at = own.find("\r\nDate: ") + 8;
  EXPECT_EQ(own.substr(at + 3, 2), ", ");
  EXPECT_EQ(own.substr(at + 25, 6), " GMT\r\n") << own.substr(at, 40);
  EXPECT_EQ(dates(raw("GET /old HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")), 0u) << "what an origin said stays";
  EXPECT_EQ(dates(raw("nonsense\r\n\r\n")), 1u);
}

TEST_F(http, a_204_has_no_body) {
  open([](const http_request&, http_server::respond respond) { respond({.status = 204}); });
  const std::string answer = raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 204"));
  EXPECT_EQ(answer.find("Content-Length"), std::string::npos);
}

TEST_F(http, expect_100_continue_is_answered) {
  open_echo();
  const std::string answer =
      raw("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")) << answer;
}

TEST_F(http, header_values_cannot_split_the_answer) {
  open([](const http_request&, http_server::respond respond) {
    respond({.headers = {{"X-Bad", "a\r\nX-Forged: 1"}, {"Bad Name", "b"}, {"X-Good", "c"}}, .body = ""});
  });
  const std::string answer = raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(answer.find("Forged"), std::string::npos);
  EXPECT_EQ(answer.find("Bad Name"), std::string::npos);
  EXPECT_NE(answer.find("X-Good: c"), std::string::npos);
}

struct bad_request {
  std::string_view name, bytes;
  int status = 400;
};

class http_bad_request : public http, public ::testing::WithParamInterface<bad_request> {};

TEST_P(http_bad_request, is_refused_and_the_connection_closed) {
  limits_.body_bytes_max = 1000;
  limits_.header_bytes_max = 2000;
  open_echo();
  // What follows must not be taken for a request.
  std::string bytes(GetParam().bytes);
  if (const size_t at = bytes.find("LONG"); at != std::string::npos) bytes.replace(at, 4, std::string(3000, 'x'));
  const std::string answer = raw(bytes + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + std::to_string(GetParam().status) + " ")) << answer;
  EXPECT_NE(answer.find("Connection: close"), std::string::npos);
  EXPECT_NE(answer.find("{\"code\":" + std::to_string(GetParam().status)), std::string::npos);
  EXPECT_EQ(answer.find("smuggled"), std::string::npos);
  EXPECT_TRUE(seen_.empty());
  EXPECT_TRUE(log_.has("http_refused peer=127.0.0.1:"));
}

INSTANTIATE_TEST_SUITE_P(
    all, http_bad_request,
    ::testing::Values(
        bad_request{"length_and_chunked",
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        bad_request{"chunked_and_length",
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"},
        bad_request{"length_and_other_coding",
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nabcde"},
        bad_request{"two_lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde"},
        bad_request{"the_same_length_twice",
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde"},
        bad_request{"a_list_of_lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nabcde"},
        bad_request{"a_negative_length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nabcde"},
        bad_request{"a_signed_length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde"},
        bad_request{"an_overflowing_length",
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n"},
        bad_request{"an_unknown_coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nabcde"},
        bad_request{
            "chunked_twice",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        bad_request{"chunked_in_a_list",
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
        bad_request{"chunked_in_1_0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        bad_request{"a_bad_chunk_size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"},
        bad_request{"an_empty_header_name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"},
        bad_request{"a_space_before_the_colon", "GET / HTTP/1.1\r\nHost: a\r\nX : x\r\n\r\n"},
        bad_request{"a_zero_byte", "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"sv},
        bad_request{"no_host", "GET / HTTP/1.1\r\n\r\n"},
        bad_request{"two_hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
        bad_request{"no_http", "hello\r\n\r\n"},
        bad_request{"a_zero_in_the_path", "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n"},
        bad_request{"a_bad_escape", "GET /a%g0 HTTP/1.1\r\nHost: a\r\n\r\n"},
        bad_request{"a_cut_escape", "GET /a%4 HTTP/1.1\r\nHost: a\r\n\r\n"},
        bad_request{"no_path", "GET a HTTP/1.1\r\nHost: a\r\n\r\n"},
        bad_request{"a_header_too_large", "GET / HTTP/1.1\r\nHost: a\r\nX: LONG\r\n\r\n", 431},
        bad_request{"a_target_too_large", "GET /LONG HTTP/1.1\r\nHost: a\r\n\r\n", 431},
        bad_request{"a_body_too_large", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\nLONG", 413},
        bad_request{"a_chunked_body_too_large",
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nbb8\r\nLONG\r\n0\r\n\r\n", 413}),
    [](const auto& test) { return std::string(test.param.name); });

TEST_F(http, a_large_answer_that_is_asked_for_again_and_again_is_the_same_each_time) {
  std::string text(5'000'000, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 23);
  const auto shared = std::make_shared<const std::string>(std::move(text));
  open([&](const http_request&, http_server::respond respond) {
    respond({.content_type = "video/mp2t", .shared_body = shared});
  });
  const std::string ask = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string all = raw(ask + ask + ask + "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" +
                              "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  size_t at = 0, answers = 0, bodies = 0;
  while (at < all.size()) {
    const size_t end = all.find("\r\n\r\n", at);
    ASSERT_NE(end, std::string::npos);
    EXPECT_NE(all.substr(at, end - at).find("Content-Length: 5000000"), std::string::npos);
    at = end + 4;
    ++answers;
    if (answers == 4) continue;  // HEAD
    ASSERT_EQ(all.compare(at, shared->size(), *shared), 0) << "answer " << answers;
    at += shared->size();
    ++bodies;
  }
  EXPECT_EQ(answers, 5u);
  EXPECT_EQ(bodies, 4u);
}

// ---- text

TEST(http_text, targets) {
  const auto parse = [](std::string_view t) {
    const auto r = parse_http_target(t);
    return r ? r->path + "|" + r->query : "refused";
  };
  EXPECT_EQ(parse("/"), "/|");
  EXPECT_EQ(parse("/a/b?c=d?e"), "/a/b|c=d?e");
  EXPECT_EQ(parse("/%41%2f%C3%A9"), "/A/é|");
  EXPECT_EQ(parse("/a%25"), "/a%|");
  EXPECT_EQ(parse("http://host:80/p?q"), "/p|q");
  EXPECT_EQ(parse("http://host"), "/|");
  EXPECT_EQ(parse("http://host?q"), "/|q");
  EXPECT_EQ(parse("*"), "*|");
  const auto absolute = parse_http_target("http://host:80?q");
  ASSERT_TRUE(absolute);
  EXPECT_EQ(absolute->authority, "host:80");
  EXPECT_EQ(absolute->origin_form, "/?q");
  EXPECT_EQ(parse_http_target("/a%2f?b")->origin_form, "/a%2f?b");
  EXPECT_EQ(parse_http_target("/a")->authority, "");
  for (const auto* bad :
       {"", "a", "host:443", "://x", "http:///x", "http://u@h/", "/%", "/%4", "/%zz", "/%00", "/a\tb"}) {
    EXPECT_EQ(parse(bad), "refused") << bad;
  }
}

TEST(http_text, query_values) {
  http_request r;
  r.query = "a=1&b=&c&d=x%3Dy=z&%65=5&bad=%zz&a=2&&";
  EXPECT_EQ(r.query_value("a"), "1");
  EXPECT_EQ(r.query_value("b"), "");
  EXPECT_EQ(r.query_value("c"), "");
  EXPECT_EQ(r.query_value("d"), "x=y=z");
  EXPECT_EQ(r.query_value("e"), "5");
  EXPECT_EQ(r.query_value("bad"), "");
}

}  // namespace
}  // namespace sluice::runtime
