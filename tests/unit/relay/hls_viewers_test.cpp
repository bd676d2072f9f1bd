#include "relay/hls_viewers.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>

namespace sluice::relay {
namespace {

using std::chrono::seconds;

struct audiences : testing::Test {
  hls_viewers& viewers() {
    if (!viewers_) viewers_.emplace(limits, metrics);
    return *viewers_;
  }
  /// The client of that number, by that program, gets a playlist.
  void give(int client, const std::string& query = {}, const std::string& program = "p",
            const std::string& stream = "s", const std::string& text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n") {
    runtime::http_request request;
    request.query = query;
    request.headers = {{"User-Agent", program}};
    runtime::http_response playlist;
    playlist.body = text;
    viewers().given({"v", "live", stream}, request,
                    *base::ip_address::parse(fmt::format("10.0.{}.{}", client / 250, client % 250)), playlist, now);
  }
  std::map<std::string, size_t> counted() {
    viewers().expire(now);
    std::map<std::string, size_t> all;
    viewers().for_each_stream([&](const std::string& stream, size_t n) { all[stream] = n; });
    EXPECT_EQ(metrics.gauge("sluice_hls_viewers", "").value(), static_cast<int64_t>(viewers().size()));
    return all;
  }
  size_t of(const std::string& stream) {
    const auto all = counted();
    const auto found = all.find("v/live/" + stream);
    return found == all.end() ? 0 : found->second;
  }
  int64_t uncounted() { return metrics.counter("sluice_hls_viewers_uncounted_total", "").value(); }

  base::metrics metrics;
  hls_viewers::limits limits;
  base::time_point now = base::time_point{} + seconds(1000);

 private:
  std::optional<hls_viewers> viewers_;
};

TEST_F(audiences, are_told_apart_by_address_and_program) {
  for (int again = 0; again < 3; ++again) {
    give(1);
    give(2);
    give(1, "", "q");
    give(1, "token=x");
  }
  EXPECT_EQ(of("s"), 3u);
}

TEST_F(audiences, are_told_apart_by_their_sessions) {
  // Three behind one address: each gets a master playlist, and there his session.
  for (const auto* session : {"a", "b", "c"}) {
    give(1);
    give(1, fmt::format("x=1&hls_ctx={}", session));
  }
  for (const auto* session : {"a", "b", "c"}) give(1, fmt::format("hls_ctx={}", session));
  give(2, "hls_ctx=c");  // whose address has changed
  EXPECT_EQ(of("s"), 3u);
}

TEST_F(audiences, are_told_apart_by_their_sessions_also_who_begin_at_once) {
  for (int i = 0; i < 3; ++i) give(1);
  EXPECT_EQ(of("s"), 1u);
  for (const auto* session : {"a", "b", "c"}) give(1, fmt::format("hls_ctx={}", session));
  EXPECT_EQ(of("s"), 3u);
}

TEST_F(audiences, keep_who_has_no_session_beside_those_who_have) {
  give(1);
  give(1);
  give(1, "hls_ctx=a");
  EXPECT_EQ(of("s"), 2u);
}

TEST_F(audiences, are_of_a_stream) {
  give(1, "", "p", "s");
  give(1, "", "p", "t");
  EXPECT_EQ(counted(), (std::map<std::string, size_t>{{"v/live/s", 1}, {"v/live/t", 1}}));
}

TEST_F(audiences, lose_who_does_not_ask_for_15_s) {
  give(1);
  now += seconds(10);
  give(2);
  now += seconds(4);
  EXPECT_EQ(of("s"), 2u);
  give(2);
  now += seconds(1);
  EXPECT_EQ(of("s"), 1u);
  now += seconds(15);
  EXPECT_EQ(counted(), (std::map<std::string, size_t>{}));
  EXPECT_EQ(viewers().size(), 0u);
}

TEST_F(audiences, wait_for_three_target_durations) {
  struct row {
    const char* text;
    int kept_s;
  };
  int stream = 0;
  for (const auto& [text, kept_s] : {row{"#EXT-X-TARGETDURATION:2\n", 15}, row{"#EXT-X-TARGETDURATION:10\n", 30},
                                     row{"#EXT-X-TARGETDURATION:x\n", 15},
                                     row{"#EXT-X-TARGETDURATION:4000000000\n", 60}, row{"#EXT-X-STREAM-INF:\n", 15}}) {
    const auto name = fmt::format("s{}", ++stream);
    give(1, "", "p", name, text);
    now += seconds(kept_s - 1);
    EXPECT_EQ(of(name), 1u) << text;
    give(1, "", "p", name, "");  // a 304: what is known goes on counting
    now += seconds(kept_s - 1);
    EXPECT_EQ(of(name), 1u) << text;
    now += seconds(1);
    EXPECT_EQ(of(name), 0u) << text;
  }
}

TEST_F(audiences, have_limits) {
  limits = {.stream_max = 3, .all_max = 5};
  for (int i = 0; i < 10; ++i) give(i);
  EXPECT_EQ(of("s"), 3u);
  EXPECT_EQ(uncounted(), 7);
  give(0);  // is counted
  EXPECT_EQ(uncounted(), 7);
  for (int i = 0; i < 10; ++i) give(i, "", "p", "t");
  give(1, "", "p", "u");
  EXPECT_EQ(counted(), (std::map<std::string, size_t>{{"v/live/s", 3}, {"v/live/t", 2}})) << "and none of u";
  EXPECT_EQ(uncounted(), 7 + 8 + 1);
  now += seconds(15);
  EXPECT_EQ(counted().size(), 0u);
  give(1, "", "p", "u");
  EXPECT_EQ(of("u"), 1u);
}

}  // namespace
}  // namespace sluice::relay
