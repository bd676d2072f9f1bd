#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "cluster/core/coordinator.hpp"

namespace sluice::relay {

/// Somebody on a shard whose media goes through an origin.
class origin_watcher {
 public:
  /// The origin is dead, by the judgement of the control thread. It watches no more.
  virtual void on_origin_lost(cluster::loss_reason reason) = 0;

 protected:
  ~origin_watcher() = default;
};

/// Somebody on a shard whose stream has an owner that he follows by ending: his client comes back, and finds the new
/// one.
class owner_watcher {
 public:
  /// As cluster::action::owner_changed.
  virtual void on_owner_changed(const cluster::assignment& to) = 0;
  /// A drain asks who publishes with epoch `what.from` to leave.
  virtual void on_move(const cluster::action::move& what) = 0;

 protected:
  ~owner_watcher() = default;
};

/// Who on a shard is connected to which origin. One thread.
class origin_watchers {
 public:
  void add(const std::string& origin_id, origin_watcher& w) { by_origin_.emplace(origin_id, &w); }
  void remove(const std::string& origin_id, origin_watcher& w) {
    auto [at, end] = by_origin_.equal_range(origin_id);
    while (at != end && at->second != &w) ++at;
    if (at != end) by_origin_.erase(at);
  }
  /// Tells each of them once; what one does may end others.
  void lost(const std::string& origin_id, cluster::loss_reason reason) {
    for (auto at = by_origin_.find(origin_id); at != by_origin_.end(); at = by_origin_.find(origin_id)) {
      origin_watcher* w = at->second;
      by_origin_.erase(at);
      w->on_origin_lost(reason);
    }
  }

 private:
  std::unordered_multimap<std::string, origin_watcher*> by_origin_;
};

/// A watcher's entry: watches one origin at a time, at most.
class origin_watch {
 public:
  origin_watch(origin_watchers& all, origin_watcher& w) : all_(all), watcher_(w) {}
  ~origin_watch() { stop(); }
  origin_watch(const origin_watch&) = delete;
  origin_watch& operator=(const origin_watch&) = delete;

  void start(const std::string& origin_id) {
    stop();
    all_.add(origin_ = origin_id, watcher_);
  }
  void stop() {
    if (!origin_.empty()) all_.remove(origin_, watcher_);
    origin_.clear();
  }

 private:
  origin_watchers& all_;
  origin_watcher& watcher_;
  std::string origin_;
};

}  // namespace sluice::relay
