#include "admin/static_files.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "admin/api.hpp"

namespace sluice::admin {
namespace {

namespace fs = std::filesystem;
using runtime::http_request;
using runtime::http_response;

/// A folder to serve, with a neighbour that must not be.
struct Static : testing::Test {
  Static() {
    std::string name = testing::TempDir() + "sluice-static-XXXXXX";
    base = ::mkdtemp(name.data());
    root = base / "www";
    fs::create_directories(root / "sub");
    write(base / "secret.txt", "secret");
    write(root / "a.txt", "0123456789");
    write(root / "sub/index.html", "<p>sub</p>");
    write(root / ".hidden", "hidden");
  }
  ~Static() override { fs::remove_all(base); }

  static void write(const fs::path& at, const std::string& text) { std::ofstream(at) << text; }

  std::optional<http_response> get(std::string path, std::vector<std::pair<std::string, std::string>> headers = {},
                                   std::string method = "GET") const {
    http_request request;
    request.method = std::move(method);
    request.path = request.target = std::move(path);
    request.headers = std::move(headers);
    return static_files(root)(request);
  }
  static std::string header(const std::optional<http_response>& response, std::string_view name) {
    for (const auto& [key, value] : response->headers)
      if (key == name) return value;
    return {};
  }

  fs::path base, root;
};

TEST_F(Static, ServesFilesAndIndexes) {
  const auto file = get("/a.txt");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->status, 200);
  EXPECT_EQ(file->body, "0123456789");
  EXPECT_EQ(file->content_type, "text/plain; charset=utf-8");
  EXPECT_EQ(get("/sub/")->body, "<p>sub</p>");
  EXPECT_EQ(get("/sub/")->content_type, "text/html; charset=utf-8");
  EXPECT_EQ(get("/a.txt", {}, "HEAD")->status, 200);
  EXPECT_FALSE(get("/"));  // has no index
  EXPECT_FALSE(get("/none.txt"));
  EXPECT_FALSE(get("/a.txt/"));
  EXPECT_FALSE(get("/a.txt", {}, "POST"));
}

TEST_F(Static, AFolderIsSentToItsSlash) {
  const auto moved = get("/sub");
  ASSERT_TRUE(moved);
  EXPECT_EQ(moved->status, 301);
  EXPECT_EQ(header(moved, "Location"), "/sub/");
  http_request absolute;
  absolute.method = "GET";
  absolute.path = "/sub";
  absolute.target = "http://elsewhere/sub";
  EXPECT_FALSE(static_files(root)(absolute));
}

/// Row 14 of the faults that servers of this field have had. The paths are as the server hands them on, decoded once.
TEST_F(Static, NothingOutsideOfTheFolder) {
  for (const char* path : {"/../secret.txt", "/..", "/sub/../../secret.txt", "/sub/../a.txt", "/./a.txt", "//a.txt",
                           "//etc/passwd", "a.txt", "", "/..\\secret.txt", "/sub\\..\\..\\secret.txt", "/a.txt\n",
                           "/.hidden", "/..%2fsecret.txt", "/%2e%2e/secret.txt"})
    EXPECT_FALSE(get(path)) << path;
  EXPECT_FALSE(get(std::string("/a.txt\0.html", 12)));
  EXPECT_FALSE(get("/" + std::string(5000, 'x')));
  // As a request target that was decoded by the server.
  http_request request;
  request.method = "GET";
  request.target = "/..%2f..%2fsecret.txt";
  request.path = "/../../secret.txt";
  EXPECT_FALSE(static_files(root)(request));
}

TEST_F(Static, NoLinkLeadsOut) {
  fs::create_symlink(base / "secret.txt", root / "out.txt");
  fs::create_symlink("../secret.txt", root / "relative.txt");
  fs::create_directory_symlink(base, root / "up");
  fs::create_directories(base / "www-2");
  write(base / "www-2/index.html", "a folder whose name begins like the root's");
  fs::create_directory_symlink(base / "www-2", root / "twin");
  for (const char* path : {"/out.txt", "/relative.txt", "/up/secret.txt", "/up", "/twin/", "/twin", "/twin/index.html"})
    EXPECT_FALSE(get(path)) << path;
  fs::create_symlink("sub/index.html", root / "inside.html");
  ASSERT_TRUE(get("/inside.html"));
  EXPECT_EQ(get("/inside.html")->body, "<p>sub</p>");
}

TEST_F(Static, TheRootItselfMayBeALink) {
  fs::create_directory_symlink(root, base / "link");
  root = base / "link";
  ASSERT_TRUE(get("/a.txt"));
  EXPECT_EQ(get("/a.txt")->body, "0123456789");
}

TEST_F(Static, OnlyFiles) {
  ASSERT_EQ(::mkfifo((root / "pipe").c_str(), 0600), 0);  // opening it for reading would wait for a writer
  EXPECT_FALSE(get("/pipe"));
  fs::create_symlink("/dev/zero", root / "zero");
  EXPECT_FALSE(get("/zero"));
}

TEST_F(Static, NotSentAgain) {
  const auto first = get("/a.txt");
  EXPECT_EQ(get("/a.txt", {{"If-None-Match", header(first, "ETag")}})->status, 304);
  EXPECT_EQ(get("/a.txt", {{"If-Modified-Since", header(first, "Last-Modified")}})->status, 304);
  EXPECT_EQ(
      get("/a.txt", {{"If-None-Match", "\"other\""}, {"If-Modified-Since", header(first, "Last-Modified")}})->status,
      200);
  write(root / "a.txt", "01234567890");
  EXPECT_EQ(get("/a.txt", {{"If-None-Match", header(first, "ETag")}})->status, 200);
}

TEST_F(Static, Dates) {
  timespec times[2] = {{784111777, 0}, {784111777, 0}};  // the example of RFC 9110, 5.6.7
  ASSERT_EQ(::utimensat(AT_FDCWD, (root / "a.txt").c_str(), times, 0), 0);
  EXPECT_EQ(header(get("/a.txt"), "Last-Modified"), "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST_F(Static, Ranges) {
  const auto part = get("/a.txt", {{"Range", "bytes=2-4"}});
  EXPECT_EQ(part->status, 206);
  EXPECT_EQ(part->body, "234");
  EXPECT_EQ(header(part, "Content-Range"), "bytes 2-4/10");
  const auto outside = get("/a.txt", {{"Range", "bytes=10-"}});
  EXPECT_EQ(outside->status, 416);
  EXPECT_EQ(header(outside, "Content-Range"), "bytes */10");
  EXPECT_EQ(get("/a.txt", {{"Range", "bytes=2-4"}, {"If-Range", "\"other\""}})->body, "0123456789");
}

TEST_F(Static, LongFilesInPartsOnly) {
  fs::resize_file(root / "a.txt", static_files::bytes_max * 2);
  EXPECT_EQ(get("/a.txt")->status, 403);
  const auto part = get("/a.txt", {{"Range", "bytes=0-"}});
  EXPECT_EQ(part->status, 206);
  EXPECT_EQ(part->body.size(), static_files::bytes_max);
  EXPECT_EQ(header(part, "Content-Range"), "bytes 0-8388607/16777216");
}

TEST_F(Static, AFileWinsOverThePageOfItsName) {
  const auto pages = make_pages(root);
  http_request request;
  request.method = "GET";
  request.path = request.target = "/";
  EXPECT_NE(pages(request)->body.find("Sluice player"), std::string::npos);
  write(root / "index.html", "mine");
  EXPECT_EQ(pages(request)->body, "mine");
}

TEST(StaticFiles, NoFolder) {
  http_request request;
  request.method = "GET";
  request.path = request.target = "/etc/passwd";
  EXPECT_FALSE(static_files("")(request));
  EXPECT_FALSE(static_files("").available());
  EXPECT_FALSE(static_files("/no/such/folder")(request));
  EXPECT_FALSE(static_files("/no/such/folder").available());
  EXPECT_TRUE(static_files("/tmp").available());
}

}  // namespace
}  // namespace sluice::admin
