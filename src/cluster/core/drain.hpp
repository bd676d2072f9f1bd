#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cluster/core/stream_key.hpp"

namespace sluice::cluster {

/// What is to be moved away from servers that are drained: which streams of this proxy are there still, whose turn it
/// is, and why some stay. Part of the coordinator; owner_table_move.cpp carries it out.
class drains {
 public:
  static constexpr size_t reasons_max = 100;

  void begin(const std::string& server_id) { plans_.try_emplace(server_id); }
  void end(const std::string& server_id) { plans_.erase(server_id); }
  bool is_on(const std::string& server_id) const { return plans_.contains(server_id); }

  /// The stream is published there: it is to be moved.
  void add(const std::string& server_id, const stream_key& key);
  /// It is there no more.
  void remove(const std::string& server_id, const stream_key& key);
  /// The next in turn, of any server.
  struct turn {
    std::string server_id;
    stream_key key;
  };
  std::optional<turn> next();
  /// A stream whose turn came too early has another.
  void retry(const std::string& server_id, const stream_key& key);
  /// No origin can take it: its turn comes again with unblock().
  void block(const std::string& server_id, const stream_key& key);
  void unblock();
  /// It stays for good.
  void refuse(const std::string& server_id, const stream_key& key, const std::string& reason);

  size_t to_move(const std::string& server_id) const;
  /// `stream: reason` of those that stay, the last reasons_max.
  std::vector<std::string> reasons(const std::string& server_id) const;

 private:
  struct plan {
    std::set<stream_key> all;      // still there
    std::set<stream_key> turns;    // of these, still to be tried
    std::set<stream_key> blocked;  // of these, for want of an origin
    std::deque<std::string> refused;
  };
  std::map<std::string, plan> plans_;
};

}  // namespace sluice::cluster
