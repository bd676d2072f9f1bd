#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "roles/config.hpp"
#include "roles/proxy_rtc.hpp"
#include "roles/proxy_shard.hpp"
#include "roles/srt_service.hpp"
#include "runtime/shard.hpp"

namespace sluice::roles {

/// The UDP ports of a proxy, SRT's and WebRTC's. They are not handed over in an upgrade, since datagrams of one session
/// would reach both processes: the old one closes them, and its sessions end. Control thread.
class proxy_udp {
 public:
  struct failure {
    const listen_address& listen;
    base::error why;
  };
  /// All outlive it.
  proxy_udp(const proxy_config& config, runtime::shard_group& threads,
            const std::vector<std::unique_ptr<proxy_shard>>& shards, srt_service& srt, proxy_rtc& rtc)
      : config_(config), threads_(threads), shards_(shards), srt_(srt), rtc_(rtc) {}

  /// Makes sure of both, without serving them yet.
  std::optional<failure> reserve();
  std::optional<failure> open();
  /// Ends all sessions, and gives the ports up.
  void close(std::string_view reason);

 private:
  const proxy_config& config_;
  runtime::shard_group& threads_;
  const std::vector<std::unique_ptr<proxy_shard>>& shards_;
  srt_service& srt_;
  proxy_rtc& rtc_;
};

}  // namespace sluice::roles
