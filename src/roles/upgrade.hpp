#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "base/result.hpp"
#include "runtime/socket_handover.hpp"

namespace sluice::roles {

/// How a proxy takes the place of the one that runs on this host, and gives its own to the next one
/// (docs/adr/0009-upgrade-by-handing-sockets-over.md). Does nothing without a path. Control thread.
class upgrade {
 public:
  struct parts {
    std::function<runtime::handover_offer()> offer;
    std::function<void()> give_way;  ///< the next one serves: take nobody any more, and drain
    std::function<void()> give_up;   ///< the one before goes on: this process has to end
    std::function<void()> taken;     ///< the one before has been told to give way to this process
  };
  upgrade(runtime::loop& l, const std::string& path, base::log_sink& log, base::metrics& metrics, parts p)
      : loop_(l), path_(path), log_(log), metrics_(metrics), parts_(std::move(p)) {}

  /// What the running proxy hands over; empty if there is none. Blocks for as long as the handover's steps may.
  struct inheritance {
    std::vector<runtime::handed_socket> sockets;
    std::string state;
  };
  base::result<inheritance> begin();
  /// There is one before this, which serves until this one does.
  bool takes_over() const { return taker_ != nullptr; }
  /// All ports are open. From here on the next process may ask, once the one before has given way.
  void serving();
  /// This process stops by itself: nobody can take its place any more.
  void stop() { giver_.reset(); }

 private:
  void listen();
  void count(std::string_view outcome);
  void settled(const base::result<void>& outcome);

  runtime::loop& loop_;
  const std::string& path_;
  base::log_sink& log_;
  base::metrics& metrics_;
  const parts parts_;
  std::unique_ptr<runtime::handover_taker> taker_;
  std::unique_ptr<runtime::handover_giver> giver_;
};

}  // namespace sluice::roles
