#pragma once

#include <memory>

#include "media/hub.hpp"
#include "relay/shard.hpp"

namespace sluice::relay {

/// A publisher's hub and its share of the retention budget, for as long as anybody reads the hub: a connection that
/// parts from an old owner may do so longer than there is a publisher. One thread; the shard outlives it.
class retained_media {
 public:
  explicit retained_media(shard_context& shard);
  ~retained_media();
  retained_media(const retained_media&) = delete;
  retained_media& operator=(const retained_media&) = delete;

  /// After the hub has grown: tells the budget, and gives up the oldest groups while there is too much, of this stream
  /// or of all.
  void settle();

  media::hub hub;

 private:
  void account(size_t bytes);
  bool too_much() const;

  shard_context& shard_;
  size_t accounted_ = 0;    // bytes that the budget knows of
  uint64_t evictions_ = 0;  // that the metrics know of
};

}  // namespace sluice::relay
