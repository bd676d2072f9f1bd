#pragma once

#include <memory>

#include "relay/srt_door.hpp"
#include "roles/config.hpp"
#include "runtime/session_budget.hpp"
#include "runtime/udp.hpp"

namespace sluice::roles {

/// The SRT callers of one shard. Made, used and destroyed on its thread.
struct srt_part {
  srt_part(relay::shard_context& shard, relay::srt_common& common, base::duration interval)
      : io(shard.loop, shard.metrics, interval), door(shard, common, io) {}
  runtime::udp_io io;
  relay::srt_door door;
};

/// SRT at a proxy: one port, which all shards share. On the control thread, but for open().
class srt_service {
 public:
  srt_service(const proxy_config& config, runtime::session_budget& sessions);
  ~srt_service() { release(); }

  /// Takes the port for this process.
  base::result<void> reserve();
  base::endpoint at() const { return at_; }  ///< as configured, until reserve()
  relay::srt_common& common() { return common_; }
  /// On a shard's thread.
  base::result<void> open(srt_part& part) const;
  /// Once all shards have opened, or will not.
  void release();

 private:
  const base::endpoint wanted_;
  base::endpoint at_;
  int reservation_ = -1;
  relay::srt_common common_;
};

}  // namespace sluice::roles
