#pragma once

#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "media/byte_log.hpp"
#include "runtime/loop.hpp"
#include "servers/http/target.hpp"

namespace sluice::servers {

/// The serialised forms of one loop's streams: each is made for its first watcher and lives as long as it has one.
class format_set final : public media::byte_log_driver {
 public:
  format_set(runtime::loop& l, const media::byte_log_limits& limits) : loop_(l), limits_(limits) {}

  media::byte_log& open(media::hub& h, http_format format);
  /// A reader of that log has gone. If it was the last the log goes, at once: it must not outlive the hub. Not from
  /// within on_bytes().
  void leave(media::byte_log& log);

 private:
  void on_bytes_pending(media::byte_log& log) override;
  void schedule();
  void flush_due();

  runtime::loop& loop_;
  const media::byte_log_limits& limits_;
  std::map<std::pair<const media::hub*, http_format>, std::unique_ptr<media::byte_log>> logs_;
  std::deque<media::byte_log*> due_;
  bool scheduled_ = false;
};

}  // namespace sluice::servers
