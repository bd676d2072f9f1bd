#include "roles/origin.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "admin/api.hpp"
#include "admin/registrar.hpp"
#include "cluster/core/fence.hpp"
#include "roles/api_server.hpp"
#include "roles/ready.hpp"
#include "runtime/descriptor_budget.hpp"
#include "runtime/http_server.hpp"
#include "runtime/process.hpp"
#include "servers/http/front.hpp"
#include "servers/http/hls_server.hpp"
#include "servers/http/live_access.hpp"
#include "servers/live/directory.hpp"
#include "servers/rtmp/origin_handler.hpp"
#include "servers/rtmp/server.hpp"

namespace sluice::roles {
namespace {

// Descriptors for what is not a client: listeners, heartbeats, API calls, files.
constexpr size_t descriptors_reserved_max = 128;
// Of the memory that there is, what HLS segments may take.
constexpr size_t hls_memory_share = 4;
constexpr base::duration drain_check = std::chrono::milliseconds(20);
// Of the memory that the cgroup allows, replays that are kept may take one part in this many.
constexpr uint64_t replays_memory_share = 10;

servers::second_publisher policy_of(second_publisher_policy p) {
  switch (p) {
    case second_publisher_policy::refuse:
      return servers::second_publisher::refuse;
    case second_publisher_policy::takeover:
      return servers::second_publisher::takeover;
    case second_publisher_policy::takeover_if_idle:
      break;
  }
  return servers::second_publisher::takeover_if_idle;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "origin";
  return name.data();
}

/// An origin: one loop with its RTMP server, the directory of its streams, the API and the heartbeats.
class origin {
 public:
  origin(const origin_config& config, base::log_sink& log)
      : config_(config),
        log_(log),
        budget_(budget(log)),
        sessions_(config.max_sessions),
        limits_(make_limits()),
        streams_limits_(make_stream_limits()),
        fence_(!config.register_urls.empty(), loop_.refresh()),
        rtmp_(loop_, "origin", limits_, config.merge, log, metrics_,
              [this](servers::connection& c) { return servers::make_origin_handler(c, streams_, vhosts_); }),
        streams_(
            loop_, streams_limits_, fence_, rtmp_.flusher(), [this](media::hub& h) { rtmp_.flusher().forget(h); },
            metrics_),
        vhosts_{config.vhosts, false},
        players_limits_(make_player_limits()),
        access_(streams_),
        players_(loop_, "origin", players_limits_, access_, log, metrics_),
        hls_limits_(make_hls_limits()),
        hls_(loop_, hls_limits_, access_, vhosts_, log, metrics_),
        wake_timer_(loop_, [this] { wake_timer_.arm_after(cluster::fence::wake_interval); }),
        drain_timer_(loop_, [this] { on_drain_check(); }) {}

  ~origin() {
    hls_.close_all();
    players_.close_all("shutdown");
    rtmp_.close_all("shutdown");
  }

  int run() {
    const auto rtmp = rtmp_.listen(config_.rtmp.at, {});
    if (!rtmp) return cannot_listen(log_, config_.rtmp.key, config_.rtmp.at, rtmp.error().reason, rtmp.error().text);
    auto http = open_http();
    if (!http) return cannot_listen(log_, config_.http.key, config_.http.at, http.error().reason, http.error().text);
    http_ = std::move(*http);
    me_ = registration(*rtmp);
    me_.http = {http_->local()};
    const admin::version_info version{SLUICE_VERSION, me_.pid, me_.server, me_.service};
    auto routes = admin::make_origin_api(version, [this](bool per_stream) { return metrics_text(per_stream); });
    auto api =
        open_api(loop_, runtime::listen_on(config_.api.at, {}), std::move(routes), api_crowd::few, log_, metrics_);
    if (!api) return cannot_listen(log_, config_.api.key, config_.api.at, api.error().reason, api.error().text);
    me_.api = {(*api)->local()};

    const admin::registrar_config targets{config_.register_urls, config_.register_token, config_.register_interval,
                                          advertised(*rtmp)};
    heartbeats_.emplace(loop_, targets, heartbeat_parts(), log_, metrics_);
    loop_.on_wake([this] { on_wake(); });
    wake_timer_.arm_after(cluster::fence::wake_interval);
    runtime::signal_watch signals(loop_, {SIGTERM, SIGINT}, [this](int) { stop(); });
    const named_endpoints addresses = {{"rtmp", *rtmp}, {"http", http_->local()}, {"api", (*api)->local()}};
    report_phase(config_.ready_fd, "ready", addresses);
    log_ready(log_, addresses);
    if (config_.ready_fd >= 0) ::close(config_.ready_fd);
    loop_.run();
    heartbeats_.reset();
    log_.info("stopped", {});
    return 0;
  }

 private:
  static size_t budget(base::log_sink& log) {
    const size_t limit = runtime::raise_descriptor_limit();
    log.info("limits", {{"descriptors", limit}});
    const size_t taken = runtime::descriptors_in_use() + std::min(descriptors_reserved_max, limit / 8);
    return limit > taken ? limit - taken : 0;
  }

  servers::server_limits make_limits() {
    servers::server_limits l;
    l.session.message_bytes_max = static_cast<uint32_t>(config_.message_bytes_max);
    l.session.handshake_timeout = config_.handshake_timeout;
    l.sessions = &sessions_;
    l.descriptors = &budget_;
    l.player_stall = config_.player_stall;
    l.trusted = config_.trusted_networks;
    return l;
  }

  servers::media_server_limits make_player_limits() {
    servers::media_server_limits l;
    l.sessions = &sessions_;
    l.descriptors = &budget_;
    l.player_stall = config_.player_stall;
    l.trusted = config_.trusted_networks;
    l.log.bytes_max = std::max(config_.gop_bytes, config_.player_queue_bytes);
    l.log.lag_max = config_.player_queue_duration;
    return l;
  }

  servers::hls_limits make_hls_limits() const {
    servers::hls_limits l;
    l.window.window_ms =
        static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(config_.hls_window).count());
    l.bytes_max = runtime::usable_memory() / hls_memory_share;
    return l;
  }

  base::result<std::unique_ptr<runtime::http_server>> open_http() {
    front_.serve_media(players_, hls_);
    front_.other = admin::make_site({SLUICE_VERSION, std::to_string(::getpid()), config_.server_id, {}, {}},
                                    admin::make_pages({}));
    return open_media_http(loop_, runtime::listen_on(config_.http.at, {}), budget_, front_, vhosts_, log_, metrics_);
  }

  servers::directory_limits make_stream_limits() const {
    servers::directory_limits l;
    l.hub.gop_cache = config_.gop_cache;
    l.hub.bytes_max = std::max(config_.gop_bytes, config_.player_queue_bytes);
    l.hub.age_max = config_.gop_duration;
    l.hub.lag_max = config_.player_queue_duration;
    if (config_.capacity > 0) l.publishers_max = config_.capacity;
    l.hls_segment = config_.hls_segment;
    l.policy = policy_of(config_.second_publisher);
    l.publisher_idle = config_.publisher_idle;
    l.replays_bytes_max = runtime::usable_memory() / replays_memory_share;
    return l;
  }

  cluster::origin_registration registration(const base::endpoint& rtmp) const {
    cluster::origin_registration r;
    r.server = config_.server_id.empty() ? fmt::format("{}-{}", host_name(), rtmp.port) : config_.server_id;
    r.service = runtime::random_id(8);
    r.pid = std::to_string(::getpid());
    r.device_id = config_.device_id;
    r.rtmp = {rtmp};
    return r;
  }

  std::optional<base::ip_address> advertised(const base::endpoint& rtmp) const {
    if (config_.advertise) return config_.advertise;
    if (!rtmp.address.is_unspecified()) return rtmp.address;
    return std::nullopt;  // the route to each proxy tells
  }

  cluster::origin_registration current() const {
    auto r = me_;
    cluster::sluice_info info;
    info.version = SLUICE_VERSION;
    info.period_ms =
        static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(config_.register_interval).count());
    info.load.streams = static_cast<uint32_t>(streams_.published());
    info.load.sessions = static_cast<uint32_t>(rtmp_.sessions() + players_.sessions());
    info.weight = config_.weight;
    info.capacity = static_cast<uint32_t>(config_.capacity);
    r.sluice = info;
    return r;
  }

  admin::registrar_parts heartbeat_parts() {
    return {[this] { return current(); }, [this] { return streams_.held(); },
            [this](const cluster::stream_key& key, const cluster::epoch& e) { on_fenced(key, e); },
            [this](base::time_point sent_at) { on_whole_taken(sent_at); }};
  }

  // A process that was stopped does not know what its streams' publishers did meanwhile: they may go on at another
  // origin. Until a proxy has said which of its epochs still hold, viewers get nothing new from it.
  void on_wake() {
    fence_.woke(loop_.now());
    if (!fence_.suspended() || std::exchange(suspended_, true)) return;
    suspended_since_ = loop_.now();
    rtmp_.flusher().suspend(true);
    log_.warn("suspended", {{"streams", streams_.published()},
                            {"text", "this process was stopped: no new media until a proxy confirms its streams"}});
    if (heartbeats_) heartbeats_->tell_all_now();
  }

  void on_whole_taken(base::time_point sent_at) {
    fence_.confirmed(sent_at);
    if (fence_.suspended() || !std::exchange(suspended_, false)) return;
    rtmp_.flusher().suspend(false);
    const auto lasted = std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now() - suspended_since_);
    log_.info("resumed", {{"streams", streams_.published()}, {"suspended_ms", lasted.count()}});
  }

  void on_fenced(const cluster::stream_key& key, const cluster::epoch& e) {
    if (streams_.told(key, e)) log_.warn("stream_fenced", {{"stream", key.str()}, {"epoch", cluster::text_of(e)}});
  }

  std::string metrics_text(bool per_stream) {
    note_process(metrics_);
    base::metrics streams;
    if (per_stream)
      streams_.for_each([&](const servers::live_stream& s) {
        note_stream(streams, s.name, s.players(), s.hub.bytes(), s.published());
      });
    const base::metrics* parts[] = {&metrics_, &streams};
    return base::metrics::render(parts);
  }

  // No new work; publishers end, and players when they have what came before that, at most after the grace time. A
  // second signal ends all at once.
  void stop() {
    if (std::exchange(stopping_, true)) return loop_.stop();
    log_.info("stopping", {{"sessions", rtmp_.sessions() + players_.sessions()}});
    give_up_at_ = loop_.now() + config_.grace_quit;
    heartbeats_.reset();
    rtmp_.stop_listening();
    http_->stop_listening();
    rtmp_.drain("shutdown", false);
    // The last frames are shown to players after `merge`.
    drain_timer_.arm_after(rtmp_.sessions() + players_.sessions() == 0 ? base::duration::zero()
                                                                       : config_.merge + drain_check);
  }

  void on_drain_check() {
    rtmp_.drain("shutdown", true);
    players_.drain("shutdown");
    if (rtmp_.sessions() + players_.sessions() == 0 || loop_.now() >= give_up_at_) return loop_.stop();
    drain_timer_.arm_at(std::min(loop_.now() + drain_check, give_up_at_));
  }

  const origin_config& config_;
  base::log_sink& log_;
  runtime::loop loop_;
  base::metrics metrics_;
  runtime::descriptor_budget budget_;
  runtime::session_budget sessions_;
  const servers::server_limits limits_;
  const servers::directory_limits streams_limits_;
  cluster::fence fence_;
  servers::rtmp_server rtmp_;
  servers::directory streams_;
  const cluster::vhost_rules vhosts_;
  const servers::media_server_limits players_limits_;
  servers::live_access access_;
  servers::media_server players_;
  const servers::hls_limits hls_limits_;
  servers::hls_server hls_;
  servers::http_front front_;
  std::unique_ptr<runtime::http_server> http_;
  cluster::origin_registration me_;
  std::optional<admin::registrar> heartbeats_;
  runtime::timer wake_timer_, drain_timer_;
  base::time_point give_up_at_{}, suspended_since_{};
  bool stopping_ = false, suspended_ = false;
};

}  // namespace

int run_origin(const origin_config& config, base::log_sink& log) { return origin(config, log).run(); }

}  // namespace sluice::roles
