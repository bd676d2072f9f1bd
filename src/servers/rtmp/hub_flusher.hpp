#pragma once

#include <deque>
#include <utility>

#include "media/hub.hpp"
#include "runtime/loop.hpp"

namespace sluice::servers {

/// Flushes the hubs of one loop: after the batch of events in which their frames came (merge 0), or `merge` after the
/// first frame that waits. Large audiences are served in slices, so that other work of the loop gets its turn in
/// between.
class hub_flusher final : public media::hub_driver {
 public:
  hub_flusher(runtime::loop& l, base::duration merge);
  void on_frames_pending(media::hub& h) override;
  /// While on, nothing that comes in is shown to readers; what they were shown before they may still take. Afterwards
  /// they get what their hubs have kept.
  void suspend(bool on);
  /// Must be called before a hub is destroyed.
  void forget(media::hub& h);

 private:
  void schedule();
  void flush_due();
  void on_merge_over();

  runtime::loop& loop_;
  const base::duration merge_;
  std::deque<media::hub*> due_;
  std::deque<std::pair<base::time_point, media::hub*>> merging_;  // in order of time: every hub waits equally long
  runtime::timer merge_timer_;
  bool scheduled_ = false;
  bool suspended_ = false;
};

}  // namespace sluice::servers
