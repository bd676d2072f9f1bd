#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/log.hpp"
#include "base/time.hpp"
#include "roles/config.hpp"
#include "roles/proxy_rtc.hpp"
#include "roles/proxy_shard.hpp"
#include "roles/srt_service.hpp"
#include "runtime/loop.hpp"
#include "runtime/shard.hpp"

namespace sluice::roles {

/// The UDP ports of a proxy, SRT's and WebRTC's. They are not handed over in an upgrade, since datagrams of one session
/// would reach both processes: the old one closes them, and the next one opens them. SRT's sessions end then; WebRTC's
/// go on in the next one with their clients' next checks (relay/rtc, resume.cpp). Control thread.
class proxy_udp {
 public:
  struct failure {
    const listen_address& listen;
    base::error why;
  };
  /// All outlive it.
  proxy_udp(runtime::loop& control, const proxy_config& config, runtime::shard_group& threads,
            const std::vector<std::unique_ptr<proxy_shard>>& shards, srt_service& srt, proxy_rtc& rtc,
            base::log_sink& log)
      : control_(control),
        config_(config),
        threads_(threads),
        shards_(shards),
        srt_(srt),
        rtc_(rtc),
        log_(log),
        retry_(control, [this] { try_to_take(); }) {}

  /// Makes sure of both, without serving them yet.
  std::optional<failure> reserve();
  std::optional<failure> open();
  /// Both, as soon as nobody else has them: waits, and says so in the log if it takes long. `done` hears how open()
  /// ended, possibly from within.
  void take(std::function<void(const std::optional<failure>&)> done);
  /// What take() has not taken yet, this process does not want any more.
  void stop_waiting() { retry_.cancel(); }
  /// Ends all sessions, and gives the ports up. They must not be opened again.
  void close(std::string_view reason);

 private:
  void try_to_take();

  runtime::loop& control_;
  const proxy_config& config_;
  runtime::shard_group& threads_;
  const std::vector<std::unique_ptr<proxy_shard>>& shards_;
  srt_service& srt_;
  proxy_rtc& rtc_;
  base::log_sink& log_;
  runtime::timer retry_;
  std::function<void(const std::optional<failure>&)> taken_;
  base::time_point next_complaint_{};
};

}  // namespace sluice::roles
