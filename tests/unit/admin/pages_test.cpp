#include "admin/pages.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "admin/api.hpp"
#include "runtime/http_content.hpp"
#include "web_assets/assets.hpp"

namespace sluice::admin {
namespace {

using runtime::http_request;
using runtime::http_response;
using testing::HasSubstr;
using testing::Not;

http_request get(std::string path, std::vector<std::pair<std::string, std::string>> headers = {}) {
  http_request request;
  request.method = "GET";
  request.path = request.target = std::move(path);
  request.headers = std::move(headers);
  return request;
}

std::string header(const http_response& response, std::string_view name) {
  for (const auto& [key, value] : response.headers)
    if (key == name) return value;
  return {};
}

const web_assets::asset& a_script() {
  for (const auto& a : web_assets::all_assets())
    if (a.path.ends_with(".js") && !a.gzip.empty()) return a;
  throw std::logic_error("no script is built in");
}

TEST(WebAssets, AreWhatWasBuilt) {
  const auto* page = web_assets::find_asset("/index.html");
  ASSERT_TRUE(page);
  EXPECT_TRUE(page->body.starts_with("<!doctype html>")) << page->body.substr(0, 40);
  EXPECT_TRUE(page->body.ends_with("</html>\n")) << page->body;
  EXPECT_FALSE(page->immutable);
  // The page asks for nothing that is not there, and has no script or style of its own, which its policy forbids.
  size_t scripts = 0;
  for (const auto& a : web_assets::all_assets()) {
    EXPECT_EQ(a.hash.size(), 32u) << a.path;
    EXPECT_FALSE(a.body.empty()) << a.path;
    if (a.gzip.empty()) continue;
    EXPECT_LT(a.gzip.size(), a.body.size()) << a.path;
    EXPECT_TRUE(a.gzip.starts_with("\x1f\x8b")) << a.path;
  }
  for (size_t at = 0; (at = page->body.find("./assets/", at)) != page->body.npos; ++at, ++scripts) {
    const auto path = page->body.substr(at + 1, page->body.find('"', at) - at - 1);
    const auto* named = web_assets::find_asset(path);
    ASSERT_TRUE(named) << path;
    EXPECT_TRUE(named->immutable) << path;
  }
  EXPECT_GE(scripts, 2u);
  EXPECT_EQ(page->body.find("<style"), page->body.npos);
  EXPECT_EQ(page->body.find("<script>"), page->body.npos);
  EXPECT_FALSE(web_assets::find_asset("/"));
  EXPECT_FALSE(web_assets::find_asset("/index.html/"));
}

TEST(Pages, TheRootIsThePlayer) {
  const auto page = page_response(get("/"));
  ASSERT_TRUE(page);
  EXPECT_EQ(page->status, 200);
  EXPECT_EQ(page->content_type, "text/html; charset=utf-8");
  EXPECT_EQ(page->body, web_assets::find_asset("/index.html")->body);
  EXPECT_EQ(header(*page, "Cache-Control"), "no-cache");
  EXPECT_EQ(header(*page, "X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(header(*page, "Content-Encoding"), "");
  const auto policy = header(*page, "Content-Security-Policy");
  EXPECT_THAT(policy, HasSubstr("default-src 'none'"));
  EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
  EXPECT_EQ(page_response(get("/index.html"))->body, page->body);
}

TEST(Pages, NamedByTheirContentTheyAreKeptForEver) {
  const auto& script = a_script();
  const auto answer = page_response(get(std::string(script.path)));
  ASSERT_TRUE(answer);
  EXPECT_EQ(header(*answer, "Cache-Control"), "public, max-age=31536000, immutable");
  EXPECT_EQ(answer->content_type, "text/javascript; charset=utf-8");
  EXPECT_EQ(answer->body, script.body);
}

TEST(Pages, CompressedForWhoTakesIt) {
  const auto& script = a_script();
  const auto answer = page_response(get(std::string(script.path), {{"accept-encoding", "br, gzip;q=0.8"}}));
  EXPECT_EQ(header(*answer, "Content-Encoding"), "gzip");
  EXPECT_EQ(header(*answer, "Vary"), "Accept-Encoding");
  EXPECT_EQ(answer->body, script.gzip);
  EXPECT_NE(header(*answer, "ETag"), header(*page_response(get(std::string(script.path))), "ETag"));
}

TEST(Pages, NotSentAgainToWhoHasThem) {
  const auto tag = header(*page_response(get("/")), "ETag");
  const auto again = page_response(get("/", {{"If-None-Match", "\"x\", W/" + tag}}));
  EXPECT_EQ(again->status, 304);
  EXPECT_TRUE(again->body.empty());
  EXPECT_EQ(header(*again, "ETag"), tag);
  EXPECT_EQ(page_response(get("/", {{"If-None-Match", "\"x\""}}))->status, 200);
}

TEST(Pages, NothingElse) {
  for (const char* path : {"", "//", "/assets", "/assets/", "/assets/../index.html", "/index.html%00", "/live/x.flv"})
    EXPECT_FALSE(page_response(get(path))) << path;
  auto post = get("/");
  post.method = "POST";
  EXPECT_EQ(page_response(post)->status, 405);
  EXPECT_EQ(header(*page_response(post), "Allow"), "GET, HEAD");
  post.method = "HEAD";
  EXPECT_EQ(page_response(post)->status, 200);
}

TEST(Pages, BehindTheRoutesOfTheServer) {
  const auto api = make_site({"0.1.2", "77", "", "", "p1"}, make_pages(""));
  const auto status = [&](std::string path) {
    int got = 0;
    api(get(std::move(path)), [&](http_response r) { got = r.status; });
    return got;
  };
  EXPECT_EQ(status("/"), 200);
  EXPECT_EQ(status("/api/v1/versions"), 200);
  EXPECT_EQ(status("/live/x.flv"), 404);
}

TEST(FileResponse, ContentTypes) {
  EXPECT_EQ(runtime::content_type_of("/a.b/x.HTML"), "text/html; charset=utf-8");
  EXPECT_EQ(runtime::content_type_of("/x.m3u8"), "application/vnd.apple.mpegurl");
  EXPECT_EQ(runtime::content_type_of("/x"), "application/octet-stream");
  EXPECT_EQ(runtime::content_type_of("/x."), "application/octet-stream");
}

TEST(FileResponse, AcceptEncoding) {
  for (const char* yes : {"gzip", "GZIP", "br, gzip", "gzip;q=0.5", "deflate , gzip ; q=1"})
    EXPECT_TRUE(runtime::accepts_gzip(yes)) << yes;
  for (const char* no : {"", "br", "gzip;q=0", "gzip; q=0.000", "xgzip", "*;q=0"})
    EXPECT_FALSE(runtime::accepts_gzip(no)) << no;
}

TEST(FileResponse, Ranges) {
  const auto of = [](std::string_view text) {
    const auto r = runtime::parse_range(text, 100);
    return r ? std::to_string(r->first) + "+" + std::to_string(r->count) : "none";
  };
  EXPECT_EQ(of("bytes=0-"), "0+100");
  EXPECT_EQ(of("bytes=10-19"), "10+10");
  EXPECT_EQ(of("bytes=99-500"), "99+1");
  EXPECT_EQ(of("bytes=-10"), "90+10");
  EXPECT_EQ(of("bytes=-500"), "0+100");
  EXPECT_EQ(of("bytes=100-"), "0+0");
  EXPECT_EQ(of("bytes=-0"), "100+0");
  for (const char* bad : {"", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6",
                          "bytes=99999999999999999999999-"})
    EXPECT_EQ(of(bad), "none") << bad;
  EXPECT_EQ(runtime::parse_range("bytes=0-", 0)->count, 0u);
}

}  // namespace
}  // namespace sluice::admin
