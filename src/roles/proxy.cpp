#include "roles/proxy.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "admin/api.hpp"
#include "admin/static_files.hpp"
#include "relay/shard_status.hpp"
#include "roles/api_server.hpp"
#include "roles/cluster_handover.hpp"
#include "roles/exit_deadline.hpp"
#include "roles/listeners.hpp"
#include "roles/proxy_rtc.hpp"
#include "roles/proxy_setup.hpp"
#include "roles/proxy_shard.hpp"
#include "roles/proxy_state.hpp"
#include "roles/proxy_udp.hpp"
#include "roles/ready.hpp"
#include "roles/srt_service.hpp"
#include "roles/upgrade.hpp"
#include "runtime/process.hpp"
#include "runtime/shard.hpp"
#include "runtime/udp.hpp"

namespace sluice::roles {
namespace {

// Descriptors for what is no client and no origin: listeners, probes, API calls, files.
constexpr size_t descriptors_reserved_max = 512;
// Media ports open after this even if fewer origins have registered than were awaited.
constexpr base::duration wait_origins_max = std::chrono::seconds(10);
constexpr base::duration drain_check = std::chrono::milliseconds(100);
// Of records that the process before has handed over, from the end of its sessions on.
constexpr base::duration handed_owners_ttl = std::chrono::seconds(60);

/// A proxy: the control thread (this one) with registry, store, probes and APIs; and shards that carry the media.
class proxy {
 public:
  proxy(const proxy_config& config, base::log_sink& log)
      : config_(config),
        log_(log),
        shard_count_(config.shards > 0 ? config.shards : runtime::usable_cpus()),
        budgets_{runtime::descriptor_budget(available_descriptors()), runtime::session_budget(config.max_sessions)},
        ends_(config.recover_wait),
        limits_(limits_of(config, budgets_)),
        players_limits_(players_of(config, budgets_)),
        passing_{config.trusted_networks, players_limits_.player_stall, &budgets_.sessions},
        hls_config_(hls_of(config, shard_count_)),
        relays_(relays_of(config, budgets_.descriptors, retention_, ends_)),
        coordination_(coordination_of(config)),
        state_(control_, config, coordination_.proxy_id, log, metrics_),
        director_(control_, coordination_, state_.store(), log, metrics_),
        threads_(shard_count_),
        shards_(shard_count_),
        shard_metrics_(shard_count_),
        feeds_(shard_count_),
        hls_(shard_count_),
        listeners_(shard_count_, log),
        upgrade_(control_, config.upgrade_socket, log, metrics_,
                 {[this] { return offer(); }, [this] { give_way(); }, [this] { fail(); }, [this] { take_udp(); }}),
        srt_(config, budgets_.sessions),
        rtc_(config, {control_, threads_, shard_metrics_, director_, state_.sessions(), budgets_, relays_.vhosts, log,
                      metrics_}),
        open_timer_(control_, [this] { open_media("fewer origins than awaited have registered"); }),
        drain_timer_(control_, [this] { on_drain_check(); }) {}

  int run() {
    start_shards();
    const int code = serve();
    state_.leave();
    stop_shards();
    return code;
  }

 private:
  size_t available_descriptors() {
    const size_t limit = runtime::raise_descriptor_limit();
    log_.info("limits", {{"descriptors", limit}, {"shards", shard_count_}});
    const size_t taken =
        runtime::descriptors_in_use() + std::min(descriptors_reserved_max, limit / 8) + 8 * shard_count_;
    return limit > taken ? limit - taken : 0;
  }

  // -- start
  int serve() {
    auto before = upgrade_.begin();
    if (!before) return 1;
    if (const auto adopted = listeners_.adopt(std::move(before->sockets)); !adopted)
      return refuse_start(config_.rtmp, adopted.error());
    // Every address is checked before anything is told to anybody.
    const auto rtmp = listeners_.reserve("rtmp", config_.rtmp);
    if (!rtmp) return refuse_start(config_.rtmp, rtmp.error());
    rtmp_at_ = *rtmp;
    const auto http = listeners_.reserve("http", config_.http);
    if (!http) return refuse_start(config_.http, http.error());
    http_at_ = *http;
    if (!upgrade_.takes_over())
      if (const auto udp = udp_.reserve()) return refuse_start(udp->listen, udp->why);

    if (!config_.static_files.empty() && !admin::static_files(config_.static_files).available())
      log_.warn("no_static_files", {{"folder", config_.static_files},
                                    {"text", "PROXY_STATIC_FILES is no folder now; it may still become one"}});
    const std::string token = config_.auth.enabled ? config_.auth.token : std::string();
    auto sink = [this](cluster::origin_registration r, const base::endpoint& peer,
                       const std::function<void(base::result<cluster::registration_reply>)>& done) {
      // Only this host can say what listens on its loopback.
      if (r.address.is_loopback() && !peer.address.is_loopback())
        return done(base::fail("forbidden_address", "a loopback address can be registered from this host only"));
      done(state_.registration(std::move(r)));
    };
    const auto unready = [this]() -> std::string_view {
      return stopping_ ? "stopping" : media_open_ ? "" : "starting";
    };
    struct api {
      const char* name;
      const listen_address& listen;
      admin::router routes;
      api_crowd crowd;
      std::unique_ptr<runtime::http_server>& server;
      runtime::http_introduction introduction = {};  // origins, probes and operators come to the system API directly
    };
    const cluster::address_policy policy{config_.origin_networks};
    auto proxy_api = admin::make_proxy_api(version_, token, unready);
    rtc_.add_routes(proxy_api);
    api apis[] = {
        {"http_api", config_.http_api, std::move(proxy_api), api_crowd::many, http_api_, introduction_of(config_)},
        {"system_api", config_.system_api,
         admin::make_system_api(
             version_, policy, token, sink, [this](bool per_stream) { return metrics_text(per_stream); }, unready,
             state_.operations()),
         api_crowd::few, system_api_}};
    for (auto& a : apis) {
      auto opened = open_api(control_, listeners_.alone(a.name, a.listen), std::move(a.routes), a.crowd, log_, metrics_,
                             std::move(a.introduction));
      if (!opened) return refuse_start(a.listen, opened.error());
      a.server = std::move(*opened);
    }
    director_.on_change = [this](const cluster::cluster_snapshot& s) { on_snapshot(s); };
    pass_on_decisions();
    state_.attach(director_, [this] { return cluster_report(); });
    take_cluster_state(before->state, policy, director_, state_.store(), state_.sessions(),
                       {handed_owners_ttl + config_.grace_quit, relay::rtc_config{}.store_ttl}, log_);
    runtime::signal_watch signals(control_, {SIGTERM, SIGINT}, [this](int) { on_stop_signal(); });
    report_phase(config_.ready_fd, "api", {{"system_api", system_api_->local()}});
    // The one before has served with the origins that there are.
    if (config_.wait_origins == 0 || upgrade_.takes_over()) {
      state_.when_known([this] { open_media({}); });
    } else {
      open_timer_.arm_after(wait_origins_max);
    }
    control_.run();
    return exit_code_;
  }

  int refuse_start(const listen_address& listen, const base::error& e) {
    return cannot_listen(log_, listen.key, listen.at, e.reason, e.text);
  }

  // -- what the control thread decides, and shards carry out
  void on_every_shard(const std::function<void(relay::shard_context&)>& task) {
    for (size_t i = 0; i < shard_count_; ++i)
      threads_.loop_of(i).post([&context = shards_[i]->context, task] { task(context); });
  }

  void pass_on_decisions() {
    director_.on_origin_lost = [this](const std::string& origin_id, cluster::loss_reason reason) {
      on_every_shard([origin_id, reason](relay::shard_context& s) { s.origin_lost(origin_id, reason); });
      rtc_.origin_lost(origin_id, reason);
    };
    director_.on_owner_changed = [this](const cluster::stream_key& key, const cluster::assignment& to) {
      on_every_shard([key, to](relay::shard_context& s) { s.owner_changed(key, to); });
      rtc_.owner_changed(key, to);
    };
    director_.on_move = [this](const cluster::action::move& what) {
      if (!rtc_.refuse_move(what)) on_every_shard([what](relay::shard_context& s) { s.move(what); });
    };
  }

  // -- what operators see
  admin::cluster_report cluster_report() {
    admin::cluster_report r;
    r.proxies = {
        {director_.proxy_id(), SLUICE_VERSION, std::to_string(::getpid()), control_.now() - started_, sessions()}};
    r.now = control_.now();
    r.snapshot = director_.snapshot();
    r.streams = director_.streams();
    rtc_.for_each_viewer([&](const std::string& stream) { ++r.figures[stream].viewers; });
    std::mutex mutex;
    threads_.run_on_all([&](runtime::shard& s) {
      const auto publishers = relay::publisher_statuses(shards_[s.index()]->context);
      const std::lock_guard lock(mutex);
      for (const auto& p : publishers) r.figures[p.key.str()].retained_bytes += p.retained_bytes;
      shards_[s.index()]->server.for_each_session([&](std::string_view kind, const std::string& stream) {
        if (kind == "play") ++r.figures[stream].viewers;
      });
      const auto count_viewer = [&](const std::string& stream) { ++r.figures[stream].viewers; };
      shards_[s.index()]->players.for_each_session(count_viewer);
      shards_[s.index()]->pass.for_each_session(count_viewer);
      shards_[s.index()]->hls.for_each_audience([&](const auto& stream, size_t n) { r.figures[stream].viewers += n; });
      shards_[s.index()]->srt.door.for_each_session([&](std::string_view kind, const std::string& stream) {
        if (kind == "play") count_viewer(stream);
      });
    });
    return r;
  }

  void on_snapshot(const cluster::cluster_snapshot& s) {
    const size_t alive = note_cluster(metrics_, s);
    if (!media_open_ && config_.wait_origins > 0 && alive >= config_.wait_origins) open_media({});
  }

  void open_media(std::string_view warning) {
    if (std::exchange(media_open_, true)) return;
    open_timer_.cancel();
    if (!warning.empty()) log_.warn("media_ports_open_early", {{"text", warning}, {"awaited", config_.wait_origins}});
    base::result<void> rtmp, http;
    std::mutex mutex;
    threads_.run_on_all([&](runtime::shard& s) {
      auto sockets = listeners_.of_shard("rtmp", s.index());
      const auto opened = sockets ? shards_[s.index()]->server.listen(std::move(*sockets))
                                  : base::result<base::endpoint>(tl::unexpected(sockets.error()));
      const auto opened_http = open_http(*shards_[s.index()], s);
      const std::lock_guard lock(mutex);
      if (!opened) rtmp = tl::unexpected(opened.error());
      if (!opened_http) http = opened_http;
    });
    if (!rtmp || !http) {
      exit_code_ = rtmp ? refuse_start(config_.http, http.error()) : refuse_start(config_.rtmp, rtmp.error());
      return control_.stop();
    }
    if (!upgrade_.takes_over()) {
      if (const auto udp = udp_.open()) {
        exit_code_ = refuse_start(udp->listen, udp->why);
        return control_.stop();
      }
    }
    const named_endpoints addresses = {{"rtmp", rtmp_at_}, {"http", http_at_},    {"http_api", http_api_->local()},
                                       {"srt", srt_.at()}, {"webrtc", rtc_.at()}, {"system_api", system_api_->local()}};
    report_phase(config_.ready_fd, "ready", addresses);
    log_ready(log_, addresses);
    if (config_.ready_fd >= 0) ::close(config_.ready_fd);
    upgrade_.serving();
  }

  // -- UDP ports
  /// The process before has given way: it closes its UDP ports now.
  void take_udp() {
    if (stopping_) return;
    udp_.take([this](const std::optional<proxy_udp::failure>& failed) {
      if (failed) {
        exit_code_ = refuse_start(failed->listen, failed->why);
        return control_.stop();
      }
      log_.info("udp_open", {{"srt", srt_.at().to_string()}, {"webrtc", rtc_.at().to_string()}});
    });
  }

  base::result<void> open_http(proxy_shard& on, runtime::shard& s) {
    on.front.other = admin::make_site(version_, admin::make_pages(config_.static_files));
    auto opened = open_media_http(s.loop(), listeners_.of_shard("http", s.index()), budgets_.descriptors, on.front,
                                  relays_.vhosts, log_, shard_metrics_[s.index()], introduction_of(config_));
    if (!opened) return tl::unexpected(opened.error());
    on.http = std::move(*opened);
    return {};
  }

  // -- shards
  void start_shards() {
    threads_.start();
    threads_.run_on_all([this](runtime::shard& s) {
      const auto i = s.index();
      shards_[i] = std::make_unique<proxy_shard>(
          static_cast<unsigned>(i), s.loop(), config_.merge, config_.srt_interval, limits_, players_limits_, passing_,
          hls_config_, relays_, director_, log_, shard_metrics_[i], feeds_, hls_, srt_.common());
      feeds_[i] = &shards_[i]->feeds;
      hls_[i] = &shards_[i]->hls;
    });
    rtc_.start();
  }

  void stop_shards() {
    udp_.close("shutdown");
    // Clients first, while all feeds are there for them to leave; then feeds, whose farewells reach other shards; then
    // the rest.
    threads_.run_on_all([this](runtime::shard& s) {
      auto& mine = *shards_[s.index()];
      mine.server.stop_listening();
      mine.http.reset();
      mine.players.close_all("shutdown");
      mine.pass.close_all("shutdown");
      mine.server.close_all("shutdown");
    });
    threads_.run_on_all([this](runtime::shard& s) {
      shards_[s.index()]->context.ending.clear();
      shards_[s.index()]->feeds.clear();
    });
    threads_.run_on_all([](runtime::shard&) {});
    threads_.stop();
    shards_.clear();
    log_.info("stopped", {});
  }

  size_t sessions() {
    std::atomic<size_t> all{rtc_.sessions()};
    threads_.run_on_all([&](runtime::shard& s) { all += shards_[s.index()]->sessions(); });
    return all;
  }

  // -- the next process on this host
  runtime::handover_offer offer() {
    runtime::handover_offer o{listeners_.reservations(),
                              cluster_state(director_, state_.own_owners(), state_.own_sessions())};
    std::mutex mutex;
    const auto add = [&](const char* name, const std::vector<int>& fds) {
      const std::lock_guard lock(mutex);
      for (const int fd : fds) o.sockets.push_back({name, fd});
    };
    add("http_api", http_api_->listening());
    add("system_api", system_api_->listening());
    threads_.run_on_all([&](runtime::shard& s) {
      add("rtmp", shards_[s.index()]->server.listening());
      add("http", shards_[s.index()]->http->listening());
    });
    return o;
  }

  void give_way() {
    given_way_ = true;
    udp_.close("upgraded");
    http_api_->stop_listening();
    system_api_->stop_listening();
    stop();
  }

  void fail() {
    exit_code_ = 1;
    control_.stop();
  }

  // -- stop: no new work, then wait for the sessions to end, at most for the grace time
  void on_stop_signal() {
    if (std::exchange(signalled_, true)) return control_.stop();
    stop();
  }

  void stop() {
    if (std::exchange(stopping_, true)) return;
    upgrade_.stop();
    udp_.stop_waiting();
    exit_deadline_.emplace(log_, config_.forced_end());
    log_.info("stopping", {{"sessions", sessions()}});
    give_up_at_ = control_.now() + config_.grace_quit;
    rtc_.stop_taking();
    threads_.run_on_all([&](runtime::shard& s) {
      auto& mine = *shards_[s.index()];
      mine.server.stop_listening();
      if (mine.http) mine.http->stop_listening();
      mine.srt.door.stop_accepting();
    });
    // Only now: who comes back at once must not find another shard of this very proxy.
    std::atomic<size_t> asked{0};
    threads_.run_on_all([&](runtime::shard& s) {
      asked += shards_[s.index()]->server.request_reconnect("This proxy is being stopped.");
    });
    // Those who can go elsewhere without a break of theirs; the others stay until they are done, or the time is over.
    log_.info("reconnect_requested", {{"sessions", asked.load()}});
    on_drain_check();
  }

  bool all_done() {
    // Who has connected and not yet asked is a session too; of the APIs' clients only where they cannot ask again.
    std::atomic<size_t> left{rtc_.sessions() +
                             (given_way_ ? http_api_->connections() + system_api_->connections() : 0)};
    threads_.run_on_all([&](runtime::shard& s) {
      const auto& mine = *shards_[s.index()];
      left += mine.sessions() + mine.context.ending.size() + (mine.http ? mine.http->connections() : 0);
    });
    return left == 0;
  }

  void on_drain_check() {
    if (all_done() || control_.now() >= give_up_at_) return control_.stop();
    drain_timer_.arm_after(drain_check);
  }

  std::string metrics_text(bool per_stream) {
    note_process(metrics_);
    std::vector<const base::metrics*> parts{&metrics_};
    for (const auto& m : shard_metrics_) parts.push_back(&m);
    std::deque<base::metrics> streams(per_stream ? shard_count_ : 0);
    if (per_stream)
      threads_.run_on_all([&](runtime::shard& s) {
        shards_[s.index()]->feeds.for_each([&](const relay::feed& f) {
          note_stream(streams[s.index()], f.key().str(), f.hub().readers(), f.hub().bytes(), f.hub().live());
        });
      });
    for (const auto& m : streams) parts.push_back(&m);
    return base::metrics::render(parts);
  }

  const proxy_config& config_;
  base::log_sink& log_;
  std::optional<exit_deadline> exit_deadline_;  // destroyed last: a destructor that hangs counts too
  const size_t shard_count_;
  proxy_budgets budgets_;
  relay::retention_budget retention_;
  relay::publication_ends ends_;
  const servers::server_limits limits_;
  const servers::media_server_limits players_limits_;
  const relay::http_pass_config passing_;
  const relay::hls_relay_config hls_config_;
  const relay::relay_config relays_;
  runtime::loop control_;
  base::metrics metrics_;
  const cluster::coordinator_config coordination_;
  proxy_state state_;
  relay::director director_;
  runtime::shard_group threads_;
  std::vector<std::unique_ptr<proxy_shard>> shards_;
  std::deque<base::metrics> shard_metrics_;
  std::vector<relay::feed_set*> feeds_;
  std::vector<relay::hls_relay*> hls_;
  const base::time_point started_ = control_.now();
  base::endpoint rtmp_at_, http_at_;
  const admin::version_info version_{SLUICE_VERSION, std::to_string(::getpid()), {}, {}, director_.proxy_id()};
  std::unique_ptr<runtime::http_server> http_api_, system_api_;
  listeners listeners_;
  upgrade upgrade_;
  srt_service srt_;
  proxy_rtc rtc_;
  proxy_udp udp_{control_, config_, threads_, shards_, srt_, rtc_, log_};
  runtime::timer open_timer_, drain_timer_;
  base::time_point give_up_at_{};
  bool media_open_ = false, stopping_ = false, signalled_ = false, given_way_ = false;
  int exit_code_ = 0;
};

}  // namespace

int run_proxy(const proxy_config& config, base::log_sink& log) { return proxy(config, log).run(); }

}  // namespace sluice::roles
