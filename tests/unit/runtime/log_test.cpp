#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <thread>

#include "gtest/gtest.h"
#include "runtime/log_format.hpp"

namespace sluice::runtime {
namespace {

using base::log_field;
using base::log_level;

const auto at = std::chrono::system_clock::from_time_t(1'795'352'400) + std::chrono::milliseconds(123);

std::string line(log_format format, std::vector<log_field> fields) {
  return format_log_line(format, at, log_level::info, "event", {}, fields);
}

TEST(log_line, has_time_level_event_common_fields_and_fields) {
  const std::vector<log_field> common = {{"role", "proxy"}, {"pid", 7}};
  const std::vector<log_field> fields = {{"peer", "1.2.3.4:5"}, {"bytes", 12}, {"ratio", 0.5}, {"text", "a b"}};
  EXPECT_EQ(
      format_log_line(log_format::text, at, log_level::info, "listening", common, fields),
      "2026-11-22T13:00:00.123Z info  listening role=proxy pid=7 peer=1.2.3.4:5 bytes=12 ratio=0.5 text=\"a b\"\n");
  EXPECT_EQ(
      format_log_line(log_format::json, at, log_level::error, "listening", common, fields),
      "{\"ts\":\"2026-11-22T13:00:00.123Z\",\"level\":\"error\",\"event\":\"listening\",\"role\":\"proxy\",\"pid\":7,"
      "\"peer\":\"1.2.3.4:5\",\"bytes\":12,\"ratio\":0.5,\"text\":\"a b\"}\n");
}

TEST(log_line, leaves_empty_fields_out) {
  EXPECT_EQ(line(log_format::text, {{"a", ""}, {"b", "1"}}), "2026-11-22T13:00:00.123Z info  event b=1\n");
  EXPECT_EQ(line(log_format::json, {{"a", ""}, {"b", "1"}}),
            "{\"ts\":\"2026-11-22T13:00:00.123Z\",\"level\":\"info\",\"event\":\"event\",\"b\":\"1\"}\n");
}

TEST(log_line, escapes_what_could_forge_fields_lines_or_terminals) {
  struct {
    std::string_view value, escaped;
  } const cases[] = {
      {"a\nb", R"("a\nb")"},
      {"a\r\n2026 error fake", R"("a\u000d\n2026 error fake")"},
      {"x y=z", R"("x y=z")"},
      {"quote\"", R"("quote\"")"},
      {"back\\slash", R"("back\\slash")"},
      {"\x1b[31m", R"("\u001b[31m")"},
      {"\x7f", R"("\u007f")"},
      {"\xc2\x9b", R"("\u009b")"},
      {"\xe2\x80\xa8", R"("\u2028")"},
      {std::string_view("\0", 1), R"("\u0000")"},
      {"caf\xc3\xa9", "\"caf\xc3\xa9\""},
      {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
      // not UTF-8: a lone lead, a lone trail, an overlong slash, a surrogate, above U+10FFFF, cut at the end
      {"a\xff", "\"a\xef\xbf\xbd\""},
      {"\x80", "\"\xef\xbf\xbd\""},
      {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
      {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
      {"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
      {"\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
  };
  for (const auto& [value, escaped] : cases) {
    EXPECT_EQ(line(log_format::text, {{"k", value}}),
              "2026-11-22T13:00:00.123Z info  event k=" + std::string(escaped) + "\n");
    const std::string json = line(log_format::json, {{"k", value}});
    EXPECT_NE(json.find("\"k\":" + std::string(escaped)), std::string::npos) << json;
    EXPECT_NO_THROW(boost::json::parse(json)) << json;
  }
}

TEST(log_line, every_byte_gives_valid_json_on_one_line) {
  for (int a = 0; a < 256; ++a) {
    std::string value = {'x', static_cast<char>(a), static_cast<char>(0x80 + a % 64), 'y'};
    for (const auto format : {log_format::json, log_format::text}) {
      const std::string l = line(format, {{"k", value}});
      EXPECT_EQ(l.find('\n'), l.size() - 1);
      if (format == log_format::json) EXPECT_NO_THROW(boost::json::parse(l)) << l;
    }
  }
}

TEST(log_line, numbers_that_json_lacks_become_text) {
  EXPECT_NE(line(log_format::json, {{"k", NAN}}).find("\"k\":\"nan\""), std::string::npos);
  EXPECT_NE(line(log_format::json, {{"k", -INFINITY}}).find("\"k\":\"-inf\""), std::string::npos);
  EXPECT_NE(line(log_format::json, {{"k", true}}).find("\"k\":true"), std::string::npos);
  EXPECT_NE(line(log_format::json, {{"k", 1e300}}).find("\"k\":1e+300"), std::string::npos);
}

TEST(log_line, long_values_are_cut) {
  const std::string l = line(log_format::text, {{"k", std::string(100'000, 'x')}});
  EXPECT_LT(l.size(), log_value_bytes_max + 100);
  EXPECT_TRUE(l.ends_with("x…\"\n"));
}

class log_pipe : public ::testing::Test {
 protected:
  log_pipe() { EXPECT_EQ(pipe2(fds_.data(), O_CLOEXEC), 0); }
  ~log_pipe() override {
    for (const int fd : fds_) {
      if (fd >= 0) close(fd);
    }
  }
  void close_end(size_t end) { close(std::exchange(fds_[end], -1)); }
  std::string read_all() {
    close_end(1);
    std::string all;
    std::array<char, 65536> part;
    for (ssize_t n; (n = read(fds_[0], part.data(), part.size())) > 0;) all.append(part.data(), static_cast<size_t>(n));
    return all;
  }
  std::array<int, 2> fds_{-1, -1};
};

TEST_F(log_pipe, lines_of_many_threads_arrive_whole_and_at_the_end) {
  constexpr int threads = 4, each = 500;
  std::string all;
  std::thread reader;
  {
    auto log = make_log_to(fds_[1], log_format::json, log_level::info, {{"role", "test"}});
    EXPECT_FALSE(log->enabled(log_level::debug));
    std::vector<std::thread> writers;
    reader = std::thread([&] {
      std::array<char, 65536> part;
      for (ssize_t n; (n = read(fds_[0], part.data(), part.size())) > 0;) {
        all.append(part.data(), static_cast<size_t>(n));
      }
    });
    for (int t = 0; t < threads; ++t) {
      writers.emplace_back([&log, t] {
        for (int i = 0; i < each; ++i) log->info("line", {{"thread", t}, {"i", i}});
      });
    }
    for (auto& w : writers) w.join();
  }
  close_end(1);
  reader.join();
  size_t count = 0;
  for (size_t from = 0, to; (to = all.find('\n', from)) != std::string::npos; from = to + 1, ++count) {
    ASSERT_NO_THROW(boost::json::parse(all.substr(from, to - from)));
  }
  EXPECT_EQ(count, threads * each);
}

TEST_F(log_pipe, a_full_pipe_blocks_nobody_and_what_is_lost_is_counted) {
  auto log = make_log_to(fds_[1], log_format::text, log_level::debug, {});
  constexpr int lines = 5000;
  const std::string value(900, 'x');
  for (int i = 0; i < lines; ++i) log->info("line", {{"k", value}});  // 4.5 MB: more than pipe and buffer hold
  std::string all;
  std::thread reader([&] {
    std::array<char, 65536> part;
    for (ssize_t n; (n = read(fds_[0], part.data(), part.size())) > 0;) all.append(part.data(), static_cast<size_t>(n));
  });
  log.reset();
  close_end(1);
  reader.join();
  int written = 0;
  for (size_t p = 0; (p = all.find(" line ", p)) != std::string::npos; ++p) ++written;
  const size_t report = all.find("log_lines_dropped count=");
  ASSERT_NE(report, std::string::npos);
  EXPECT_EQ(written + std::stoi(all.substr(report + 24)), lines);
}

TEST_F(log_pipe, a_reader_that_never_reads_does_not_keep_the_process_from_ending) {
  auto log = make_log_to(fds_[1], log_format::text, log_level::debug, {});
  for (int i = 0; i < 2000; ++i) log->info("line", {{"k", std::string(900, 'x')}});
  const auto start = std::chrono::steady_clock::now();
  log.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST_F(log_pipe, a_reader_that_is_gone_raises_no_signal) {
  close_end(0);
  auto log = make_log_to(fds_[1], log_format::text, log_level::debug, {});
  log->info("line", {});
  log.reset();
}

}  // namespace
}  // namespace sluice::runtime
