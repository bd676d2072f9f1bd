#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cluster/core/registration.hpp"
#include "cluster/core/stream_key.hpp"

namespace sluice::cluster {

/// The streams that a heartbeat lists: see sluice_info.
struct held_list {
  std::vector<held_stream> streams;
  bool whole = false;
  uint64_t beat = 0, since = 0;
};

/// Which Sluice origins hold which streams with a publisher, as their heartbeats tell, and which of these copies are to
/// be dropped because a higher epoch is elsewhere. Bounded: held_streams_max of an origin, `copies_max` in all; what is
/// beyond is not recorded. Part of the coordinator.
class holders {
 public:
  explicit holders(size_t copies_max) : copies_max_(copies_max) {}

  struct copy {
    std::string origin_id;
    cluster::epoch epoch;      ///< zero: published without one
    cluster::epoch fenced_by;  ///< zero: it may stay
    uint64_t round = 0;        ///< of the heartbeat that told last
  };

  struct news {
    std::vector<stream_key> held;   ///< it says that they have a publisher there
    std::vector<stream_key> ended;  ///< they had one
  };

  /// Takes a heartbeat's list, unless a later one is known (by their numbers, if they have any). One that leaves a gap
  /// to the last one known is taken, but then the list is no longer whole.
  news update(const std::string& origin_id, const held_list& told);
  /// The origin is dead, void or expired: what it holds is unknown.
  void drop(const std::string& origin_id);
  /// It has told all that it holds.
  bool has_whole(const std::string& origin_id) const;

  const std::vector<copy>& of(const stream_key& key) const;
  std::vector<stream_key> keys(const std::string& origin_id) const;
  bool holds(const std::string& origin_id, const stream_key& key) const;
  /// The same, under this epoch or a higher one.
  bool holds(const std::string& origin_id, const stream_key& key, const epoch& least) const;

  /// Copies of the stream below `e` at others than `owner` are to be dropped; replies say so until they are.
  void fence(const stream_key& key, const std::string& owner, const epoch& e);
  /// What to tell this origin now.
  std::vector<std::pair<std::string, epoch>> fenced(const std::string& origin_id) const;

  template <typename Visit>
  void for_each(const Visit& visit) const {
    for (const auto& [key, copies] : copies_) visit(key, copies);
  }
  size_t size() const { return size_; }

 private:
  struct origin_list {
    std::unordered_map<stream_key, bool> streams;  // and whether the copy is fenced
    uint64_t round = 0;
    uint64_t beat = 0;  // of the last list taken
    size_t fenced = 0;
    bool whole = false;
  };
  /// False: it was not there.
  bool remove(origin_list& list, const std::string& origin_id, const stream_key& key);
  void set_fenced(origin_list& list, const stream_key& key, bool on);
  copy* find(const std::string& origin_id, const stream_key& key);

  const size_t copies_max_;
  std::unordered_map<stream_key, std::vector<copy>> copies_;
  std::unordered_map<std::string, origin_list> origins_;
  size_t size_ = 0;
};

}  // namespace sluice::cluster
