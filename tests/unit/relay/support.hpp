#pragma once

#include <gtest/gtest.h>

#include <array>
#include <future>
#include <memory>

#include "cluster/store/memory_store.hpp"
#include "relay/proxy_handler.hpp"
#include "runtime/shard.hpp"
#include "unit/relay/context.hpp"
#include "unit/servers/support.hpp"

/// A proxy of two shards between clients and origins, in one process: each origin and each shard on a thread of its
/// own, the control thread is the test's, where the clients live, too.
namespace sluice::relay::test {

using media::test::packet;
using rtmp::client_intent;
using servers::test::any_port;
using servers::test::ask_for;
using servers::test::made_up_stream;
using servers::test::packets;
using servers::test::rtmp_client;
using servers::test::run_until;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// Runs `task` on the thread of `l`, and waits for it.
inline void on_thread_of(runtime::loop& l, std::function<void()> task) {
  std::promise<void> done;
  l.post([&] {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

/// An origin on a thread of its own.
class origin_thread {
 public:
  using handler_maker = std::function<std::unique_ptr<servers::client_handler>(servers::connection&)>;

  /// With `make`, its clients get handlers of the test's, and it has no streams.
  explicit origin_thread(std::string server_id, handler_maker make = {})
      : id_(std::move(server_id)), make_(std::move(make)) {
    limits.trusted = {*base::network::parse("127.0.0.0/8")};
  }
  ~origin_thread() { die(); }

  void start() {
    thread_.start();
    on_thread_of(thread_.loop(), [this] {
      if (make_) {
        bare_ = std::make_unique<servers::rtmp_server>(thread_.loop(), "origin", limits, base::duration::zero(), log,
                                                       metrics_, make_);
        at = *bare_->listen(any_port(), {});
      } else {
        parts_ = std::make_unique<servers::test::origin_parts>(thread_.loop(), limits, stream_limits, log);
        at = parts_->at;
      }
    });
  }
  /// Its listener and all its connections are gone, as after a crash.
  void die() {
    if (parts_ || bare_) {
      on_thread_of(thread_.loop(), [this] { server().stop_listening(); });
      on_thread_of(thread_.loop(), [this] { server().close_all("died"); });
      thread_.stop();
      parts_.reset();
      bare_.reset();
    }
    thread_.stop();
  }
  /// Its thread does nothing until the returned promise is kept, while its kernel goes on.
  std::unique_ptr<std::promise<void>> freeze() {
    auto thaw = std::make_unique<std::promise<void>>();
    std::promise<void> frozen;
    thread_.loop().post([&frozen, until = thaw->get_future().share()] {
      frozen.set_value();
      until.wait();
    });
    frozen.get_future().wait();
    return thaw;
  }
  /// Closes its connections without a word, and lives on.
  void kick_all() {
    on_thread_of(thread_.loop(), [this] { server().close_all("kicked"); });
  }
  /// The same for those that do not play.
  void kick_publishers() {
    on_thread_of(thread_.loop(), [this] { server().drain("kicked", false); });
  }
  /// A proxy tells it that the stream has an owner above the one that it knows.
  void fence(const cluster::stream_key& key) {
    const auto e = epoch_of(key);
    on_thread_of(thread_.loop(), [&] { parts_->streams.told(key, {e.counter + 1, e.claim_id}); });
  }
  /// Under which it holds the stream.
  cluster::epoch epoch_of(const cluster::stream_key& key) {
    cluster::epoch e;
    on_thread_of(thread_.loop(), [&] { e = parts_->fence.current(key); });
    return e;
  }
  size_t sessions() {
    size_t count = 0;
    on_thread_of(thread_.loop(), [&] { count = server().sessions(); });
    return count;
  }
  size_t published() {
    size_t count = 0;
    on_thread_of(thread_.loop(), [&] { count = parts_->streams.published(); });
    return count;
  }
  cluster::origin_registration registration(bool is_sluice) const {
    cluster::origin_registration r;
    r.server = id_;
    r.service = "s";
    r.pid = "1";
    r.address = at.address;
    r.ip = at.address.to_string();
    r.rtmp = {at};
    if (is_sluice) r.sluice = cluster::sluice_info{.version = "test"};
    return r;
  }

  servers::server_limits limits;
  runtime::session_budget one_session{1};
  servers::directory_limits stream_limits;
  servers::test::memory_log log;
  base::endpoint at;

 private:
  servers::rtmp_server& server() { return bare_ ? *bare_ : parts_->server; }
  const std::string id_;
  const handler_maker make_;
  base::metrics metrics_;
  runtime::shard thread_{9};
  std::unique_ptr<servers::test::origin_parts> parts_;
  std::unique_ptr<servers::rtmp_server> bare_;
};

/// What one shard of a proxy has; as roles/proxy.cpp puts it together.
struct proxy_shard {
  proxy_shard(unsigned index, runtime::loop& l, const servers::server_limits& limits, const relay_config& relays,
              director& control, base::log_sink& log, const std::vector<feed_set*>& all)
      : server(l, "proxy", limits, base::duration::zero(), log, metrics,
               [this](servers::connection& c) { return make_proxy_handler(c, context, feeds); }),
        prompt(l, base::duration::zero()),
        context(make_context(index, l, log, metrics, relays, control, server.flusher(), prompt, all)),
        feeds(context) {}

  base::metrics metrics;
  servers::rtmp_server server;
  servers::hub_flusher prompt;
  shard_context context;
  feed_set feeds;
};

class proxy_test : public ::testing::Test {
 protected:
  proxy_test() {
    relays.private_hub.gop_cache = false;
    relays.retention_hub.strip_set_data_frame = false;
    relays.retention_hub.retain = seconds(4);
    relays.retention_hub.lag_max = std::chrono::hours(1);
    relays.linger = milliseconds(50);
    cluster.proxy_id = "p1";
    cluster.seed = 7;
    cluster.claim_wait = milliseconds(500);
    // Sessions at the origins are counted: no control connections among them.
    cluster.ping_interval = cluster.suspect_after = cluster.dead_after = std::chrono::hours(1);
  }
  ~proxy_test() override {
    clients_.clear();
    if (control_) stop_proxy();
    origins_.clear();
  }

  /// A started origin, registered at the proxy.
  origin_thread& origin(bool is_sluice = true) {
    auto& o = add_origin({});
    o.start();
    introduce(o, is_sluice);
    return o;
  }
  origin_thread& add_origin(origin_thread::handler_maker make) {
    return *origins_.emplace_back(
        std::make_unique<origin_thread>("origin" + std::to_string(origins_.size() + 1), std::move(make)));
  }
  void introduce(const origin_thread& o, bool is_sluice) {
    EXPECT_TRUE(control().registration(o.registration(is_sluice)));
  }

  director& control() {
    if (!control_) start_proxy();
    return *control_;
  }
  cluster::memory_store& store() { return store_; }
  /// A client of shard 0 or 1.
  rtmp_client& client(unsigned shard, rtmp::client_request request) {
    control();
    return *clients_.emplace_back(
        std::make_unique<rtmp_client>(loop, at_[shard], std::move(request), rtmp_client::options{}));
  }
  rtmp_client& publisher(unsigned shard, const std::string& name) {
    auto& c = client(shard, ask_for(client_intent::publish, name));
    run_until(loop, [&] { return c.started; });
    return c;
  }
  /// Asks, and does not wait.
  rtmp_client& player(unsigned shard, const std::string& name) {
    return client(shard, ask_for(client_intent::play, name));
  }
  bool await(rtmp_client& c, size_t count) {
    return run_until(loop, [&] { return c.got.size() >= count || c.ended; }) && c.got.size() >= count;
  }
  /// Publishes `sent` a few messages at a time. The first four (headers and a keyframe) reach every player alone: who
  /// starts with them starts at the stream's beginning.
  void publish(rtmp_client& pub, const packets& sent, const std::vector<rtmp_client*>& players) {
    pub.publish(packets(sent.begin(), sent.begin() + 4));
    for (auto* p : players) await(*p, 4);
    for (size_t i = 4; i < sent.size(); i += 5) {
      pub.publish(packets(sent.begin() + i, sent.begin() + std::min(i + 5, sent.size())));
      servers::test::run_turns(loop, 1);
    }
  }
  static cluster::stream_key key_of(const std::string& name) { return {"__defaultVhost__", "live", name}; }
  /// Streams by the shard on which their pull runs, in the proxy of two.
  static std::string stream_with_home(unsigned home) {
    for (int i = 0;; ++i) {
      const auto name = "s" + std::to_string(i);
      if (std::hash<cluster::stream_key>{}({"__defaultVhost__", "live", name}) % 2 == home) return name;
    }
  }
  size_t feeds(unsigned shard) {
    size_t count = 0;
    on_thread_of(threads_.loop_of(shard), [&] { count = shards_[shard]->feeds.size(); });
    return count;
  }
  std::vector<std::string> origins_of(std::string_view kind) {
    std::vector<std::string> ids;
    for (const auto& line : log.of("session_start"))
      if (line.field("kind") == kind) ids.push_back(line.field("origin"));
    return ids;
  }

  runtime::loop loop;  // control thread
  servers::test::memory_log log;
  relay_config relays;
  servers::server_limits limits;
  cluster::coordinator_config cluster;

 private:
  void start_proxy() {
    control_ = std::make_unique<director>(loop, cluster, store_, log, metrics_);
    const auto tell = [this](const std::function<void(shard_context&)>& what) {
      for (unsigned i = 0; i < shards_.size(); ++i)
        threads_.loop_of(i).post([this, i, what] { what(shards_[i]->context); });
    };
    control_->on_origin_lost = [tell](const std::string& id, cluster::loss_reason reason) {
      tell([id, reason](shard_context& c) { c.origin_lost(id, reason); });
    };
    control_->on_owner_changed = [tell](const cluster::stream_key& key, const cluster::assignment& to) {
      tell([key, to](shard_context& c) { c.owner_changed(key, to); });
    };
    control_->on_move = [tell](const cluster::action::move& what) { tell([what](shard_context& c) { c.move(what); }); };
    threads_.start();
    threads_.run_on_all([this](runtime::shard& s) {
      const auto i = static_cast<unsigned>(s.index());
      shards_[i] = std::make_unique<proxy_shard>(i, s.loop(), limits, relays, *control_, log, all_feeds_);
      all_feeds_[i] = &shards_[i]->feeds;
    });
    threads_.run_on_all([this](runtime::shard& s) {
      const auto i = s.index();
      at_[i] = *shards_[i]->server.listen(any_port(), {});
    });
  }
  // As roles/proxy.cpp does it.
  void stop_proxy() {
    threads_.run_on_all([this](runtime::shard& s) {
      shards_[s.index()]->server.stop_listening();
      shards_[s.index()]->server.close_all("shutdown");
    });
    threads_.run_on_all([this](runtime::shard& s) { shards_[s.index()]->feeds.clear(); });
    threads_.run_on_all([](runtime::shard&) {});
    threads_.stop();
    shards_ = {};
  }

  cluster::memory_store store_{[] { return runtime::loop::monotonic_now(); }};
  base::metrics metrics_;
  std::unique_ptr<director> control_;
  runtime::shard_group threads_{2};
  std::vector<feed_set*> all_feeds_{nullptr, nullptr};
  std::array<std::unique_ptr<proxy_shard>, 2> shards_;
  std::array<base::endpoint, 2> at_;
  std::vector<std::unique_ptr<origin_thread>> origins_;
  std::vector<std::unique_ptr<rtmp_client>> clients_;
};

}  // namespace sluice::relay::test
