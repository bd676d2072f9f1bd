#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "admin/cluster_api.hpp"
#include "base/log.hpp"
#include "base/metrics.hpp"
#include "cluster/store/memory_store.hpp"
#include "cluster/store/redis_state.hpp"
#include "cluster/store/session_store.hpp"
#include "relay/director.hpp"
#include "roles/config.hpp"

namespace sluice::roles {

/// Where a proxy's cluster state lives: in this process, or in Redis, where other proxies share it. Between the
/// director and whoever else is there; answers operators for all proxies together. Control thread.
class proxy_state {
 public:
  using own_report = std::function<admin::cluster_report()>;

  /// All but the configuration outlive it.
  proxy_state(runtime::loop& control, const proxy_config& config, std::string proxy_id, base::log_sink& log,
              base::metrics& metrics);

  cluster::owner_store& store();
  cluster::session_store& sessions();
  /// From now on `director` hears what other proxies say, and `report` is this proxy's part of the picture.
  void attach(relay::director& director, own_report report);
  /// Calls `task` once the state of the cluster is known, or as known as it will be for now: at once, or when Redis has
  /// answered, at most after a second.
  void when_known(std::function<void()> task);
  /// A heartbeat of an origin.
  base::result<cluster::registration_reply> registration(cluster::origin_registration registration);
  admin::cluster_operations operations();
  /// What ends with this process: owners, and clients' sessions, of stores in memory.
  std::vector<std::pair<cluster::stream_key, cluster::owner_record>> own_owners();
  std::vector<std::pair<std::string, std::string>> own_sessions();
  /// This proxy is about to end.
  void leave();

 private:
  void become_known();
  void on_stored(cluster::origin_registration stored, base::duration ago);
  void on_drains(const std::set<std::string>& server_ids);
  void on_question(const std::string& question, const std::function<void(std::string)>& respond);
  base::result<size_t> drain(const std::string& server_id, bool on);
  admin::stream_story own_story(const cluster::stream_key& key) const;
  void report(std::function<void(admin::cluster_report)> done);
  void explain(const cluster::stream_key& key, std::function<void(admin::stream_story)> done);
  void note_silent(admin::cluster_report& report, const cluster::redis_state::answer& from) const;

  base::log_sink& log_;
  std::unique_ptr<cluster::memory_store> memory_;
  std::unique_ptr<cluster::memory_session_store> memory_sessions_;
  std::unique_ptr<cluster::redis_state> redis_;
  relay::director* director_ = nullptr;
  own_report own_report_;
  std::function<void()> when_known_;
  bool reached_ = false;  // Redis has said whether it is there, or was waited for long enough
  runtime::timer patience_;
  // Origins are asked for the whole list of their streams once for each proxy that began anew.
  uint64_t wanted_ = 0;
  std::unordered_map<std::string, uint64_t> asked_;  // by id of an origin
};

}  // namespace sluice::roles
