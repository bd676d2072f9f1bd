#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "cluster/store/memory_store.hpp"
#include "relay/feed_set.hpp"
#include "relay/hls_relay.hpp"
#include "relay/hls_url.hpp"
#include "servers/rtmp/hub_flusher.hpp"
#include "unit/relay/context.hpp"
#include "unit/servers/support.hpp"

// HLS relays of two shards, a director and origins' HTTP servers, all on one loop.
namespace sluice::relay::test {

using runtime::http_request;
using runtime::http_response;
using servers::test::any_port;
using servers::test::run_turns;
using servers::test::run_until;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// A media playlist of segments s-FIRST.ts and so on.
inline std::string window(uint64_t first, size_t count) {
  std::string out =
      fmt::format("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{}\n", first);
  for (uint64_t n = first; n < first + count; ++n) out += fmt::format("#EXTINF:2.000,\ns-{}.ts\n", n);
  return out;
}

/// An origin's HTTP server, and what it has been asked.
struct fake_origin {
  fake_origin(runtime::loop& l, base::log_sink& log) : loop(l), log_(log) { start(any_port()); }
  void start(const base::endpoint& where) {
    server = *runtime::http_server::open(loop, where, {}, log_, [this](const http_request& r, auto respond) {
      if (r.path == "/api/v1/versions") return respond({});  // it lives
      asked.push_back(r);
      if (held) {
        r.client->on_gone = [this] { ++gone; };
        return waiting.push_back(std::move(respond));
      }
      respond(answer(r));
    });
    at = server->local();
  }
  http_response answer(const http_request& r) const {
    const auto found = files.find(r.target);
    if (found != files.end()) return found->second;
    http_response missing;
    missing.status = 404;
    return missing;
  }
  void put(const std::string& target, std::string body, std::vector<std::pair<std::string, std::string>> headers = {}) {
    http_response r;
    r.content_type = target.find(".m3u8") != std::string::npos ? "application/vnd.apple.mpegurl" : "video/mp2t";
    r.body = std::move(body);
    r.headers = std::move(headers);
    files[target] = std::move(r);
  }
  void put_window(uint64_t first, size_t count) {
    put("/live/s.m3u8?media=ts", window(first, count));
    for (uint64_t n = first; n < first + count; ++n) put(fmt::format("/live/s-{}.ts", n), fmt::format("media {}", n));
  }
  size_t count(std::string_view target) const {
    return static_cast<size_t>(std::ranges::count(asked, target, &http_request::target));
  }
  void release() {
    held = false;
    for (size_t i = 0; i < waiting.size(); ++i) waiting[i](answer(asked[asked.size() - waiting.size() + i]));
    waiting.clear();
  }

  runtime::loop& loop;
  base::log_sink& log_;
  std::map<std::string, http_response> files;
  std::vector<http_request> asked;
  bool held = false;
  int gone = 0;  // who hung up while he was held
  std::vector<runtime::http_server::respond> waiting;
  std::unique_ptr<runtime::http_server> server;
  base::endpoint at;
};

/// One shard of a proxy, as far as HLS needs it.
struct shard_parts {
  shard_parts(unsigned index, runtime::loop& l, base::log_sink& log, const relay_config& relays, director& control,
              const hls_relay_config& config, const std::vector<feed_set*>& feeds, const std::vector<hls_relay*>& all)
      : flusher(l, base::duration::zero()),
        context(make_context(index, l, log, metrics, relays, control, flusher, flusher, feeds)),
        hls(context, config, all) {}
  base::metrics metrics;
  servers::hub_flusher flusher;
  shard_context context;
  hls_relay hls;
};

class hls_relaying : public ::testing::Test {
 protected:
  hls_relaying() {
    coordination.proxy_id = "p1";
    coordination.ping_interval = coordination.suspect_after = coordination.dead_after = std::chrono::hours(1);
    coordination.play_wait = relays.play_wait = milliseconds(50);
    config.playlist_kept = config.owner_kept = base::duration::zero();
    config.patience = milliseconds(20);
    config.trusted = {*base::network::parse("10.0.0.0/8")};
  }
  ~hls_relaying() override {
    shards_.clear();
    control_.reset();
  }

  director& control() {
    if (!control_) {
      control_ = std::make_unique<director>(loop, coordination, store_, log, metrics_);
      control_->on_origin_lost = [this](const std::string& id, cluster::loss_reason why) {
        for (auto& s : shards_) s->context.origin_lost(id, why);
      };
    }
    return *control_;
  }
  fake_origin& origin(const std::string& server, bool is_sluice = true) {
    auto& o = *origins_.emplace_back(std::make_unique<fake_origin>(loop, log));
    introduce(o, server, is_sluice, {o.at});
    return o;
  }
  /// A heartbeat of it, with these HTTP endpoints.
  void introduce(const fake_origin& o, const std::string& server, bool is_sluice, std::vector<base::endpoint> http) {
    cluster::origin_registration r;
    r.server = server;
    r.service = "s";
    r.pid = "1";
    r.address = o.at.address;
    r.ip = o.at.address.to_string();
    r.rtmp = {{o.at.address, 1}};
    r.http = std::move(http);
    r.api = {o.at};
    if (is_sluice) r.sluice.emplace().version = "test";
    EXPECT_TRUE(control().registration(r));
  }
  /// Somebody publishes the stream: an owner is claimed. `lost`: the id of the one that he had.
  std::string publish(const std::string& lost = {}) { return publish(lost, key); }
  std::string publish(const std::string& lost, const cluster::stream_key& stream) {
    std::optional<base::result<cluster::assignment>> answer;
    cluster::claim_request request{.session = "pub", .deadline = loop.now() + seconds(5), .fail_over = !lost.empty()};
    if (!lost.empty()) request.exclude = {lost};
    control().claim(loop, stream, request, [&](auto a) { answer = std::move(a); });
    run_until(loop, [&] { return answer.has_value(); });
    EXPECT_TRUE(answer && *answer);
    if (!answer || !*answer) return {};
    control().publish_started(stream, (*answer)->epoch);
    return (*answer)->server_id;
  }
  hls_relay& shard(size_t index) {
    control();
    while (shards_.size() < 2) {
      shards_.push_back(std::make_unique<shard_parts>(static_cast<unsigned>(shards_.size()), loop, log, relays,
                                                      *control_, config, feeds_, all_));
      all_[shards_.size() - 1] = &shards_.back()->hls;
    }
    return shards_[index]->hls;
  }
  static http_request request_for(const std::string& target) {
    http_request r;
    r.method = "GET";
    r.target = target;
    const auto mark = target.find('?');
    r.path = target.substr(0, mark);
    if (mark != std::string::npos) r.query = target.substr(mark + 1);
    r.headers = {{"Host", "viewer.test:8080"}};
    r.peer = *base::endpoint::parse("192.0.2.1:1000");
    return r;
  }
  using answers = std::vector<http_response>;
  void ask(const http_request& r, answers& into, size_t at_shard = 0) {
    const auto target = servers::parse_media_target(r, relays.vhosts);
    ASSERT_TRUE(target) << r.target;
    const auto keep = [&into](http_response response) { into.push_back(std::move(response)); };
    if (target->kind == servers::media_kind::playlist) {
      shard(at_shard).playlist(r, *target, keep);
    } else {
      shard(at_shard).segment(r, *target, keep);
    }
  }
  http_response get(const http_request& r, size_t at_shard = 0) {
    auto got = std::make_shared<answers>();
    ask(r, *got, at_shard);
    run_until(loop, [&] { return !got->empty(); });
    return got->empty() ? http_response{.status = 0} : std::move(got->front());
  }
  http_response get(const std::string& target, size_t at_shard = 0) { return get(request_for(target), at_shard); }
  /// Asks until the answer is as awaited.
  void await(const std::string& target, const std::function<bool(const std::string&)>& holds) {
    const auto until = runtime::loop::monotonic_now() + seconds(10);
    bool held = false;
    while (!held && runtime::loop::monotonic_now() < until) held = holds(body(get(target)));
    EXPECT_TRUE(held) << target;
  }
  static std::string body(const http_response& r) { return r.shared_body ? *r.shared_body : r.body; }
  static std::string header(const http_response& r, std::string_view name) {
    for (const auto& [n, v] : r.headers)
      if (n == name) return v;
    return {};
  }
  /// The origin dies as by SIGKILL.
  void kill(fake_origin& o) { o.server.reset(); }

  const cluster::stream_key key{"viewer.test", "live", "s"};
  runtime::loop loop;
  servers::test::memory_log log;
  relay_config relays;
  hls_relay_config config;
  cluster::coordinator_config coordination;

 private:
  cluster::memory_store store_{[] { return runtime::loop::monotonic_now(); }};
  base::metrics metrics_;
  std::unique_ptr<director> control_;
  std::vector<feed_set*> feeds_{nullptr, nullptr};
  std::vector<hls_relay*> all_{nullptr, nullptr};
  std::vector<std::unique_ptr<fake_origin>> origins_;

 protected:
  std::vector<std::unique_ptr<shard_parts>> shards_;
};

}  // namespace sluice::relay::test
