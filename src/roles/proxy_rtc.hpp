#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "admin/router.hpp"
#include "base/log.hpp"
#include "base/metrics.hpp"
#include "cluster/store/session_store.hpp"
#include "relay/director.hpp"
#include "relay/rtc/relay.hpp"
#include "relay/rtc/sessions.hpp"
#include "relay/rtc/signalling.hpp"
#include "roles/config.hpp"
#include "roles/proxy_setup.hpp"
#include "runtime/shard.hpp"

namespace sluice::roles {

/// WebRTC of a proxy: requests on the control thread, media on every shard. Made and used on the control thread.
class proxy_rtc {
 public:
  struct surroundings {
    runtime::loop& control;
    runtime::shard_group& shards;
    std::deque<base::metrics>& shard_metrics;
    relay::director& owners;
    cluster::session_store& store;
    proxy_budgets& budgets;
    const cluster::vhost_rules& vhosts;
    base::log_sink& log;
    base::metrics& metrics;
  };
  proxy_rtc(const proxy_config& config, const surroundings& around);
  ~proxy_rtc();

  /// Makes sure of the port, without serving it yet. Error reasons: address_in_use, cannot_bind.
  base::result<void> reserve();
  /// The requests that begin and change sessions.
  void add_routes(admin::router& api);
  /// The shards run. Before the first request.
  void start();
  /// Media is served from now on.
  base::result<void> open();
  /// No new sessions from now on.
  void stop_taking() { signalling_.stop_taking(); }
  base::endpoint at() const { return at_; }

  // What the control thread decides.
  void origin_lost(const std::string& origin_id, cluster::loss_reason reason) {
    sessions_.origin_lost(origin_id, reason);
  }
  void owner_changed(const cluster::stream_key& key, const cluster::assignment& to) {
    sessions_.owner_changed(key, to);
  }
  bool refuse_move(const cluster::action::move& what) { return sessions_.refuse_move(what); }

  size_t sessions() const { return sessions_.count(); }
  void for_each_viewer(const std::function<void(const std::string& stream)>& visit) const;
  /// Ends all sessions, on the shards too, which still run; none begins or is resumed any more. May be called again.
  void close(std::string_view reason);

 private:
  struct shard_part;
  const surroundings here_;
  const listen_address listen_;
  const relay::rtc_config config_;
  const base::duration interval_;
  base::endpoint at_;
  int reserved_ = -1;
  relay::rtc_sessions sessions_;
  relay::rtc_signalling signalling_;
  std::vector<std::unique_ptr<shard_part>> parts_;
  std::vector<relay::rtc_relay*> relays_;
};

}  // namespace sluice::roles
