#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admin/held_report.hpp"
#include "base/log.hpp"
#include "base/metrics.hpp"
#include "cluster/core/registration.hpp"
#include "runtime/loop.hpp"

namespace sluice::admin {

struct registrar_config {
  std::vector<std::string> urls;  ///< whole URLs of register calls
  std::string token;              ///< bearer token, or empty
  base::duration interval{};
  std::optional<base::ip_address> advertise;  ///< else the source address of the route to each proxy
};

/// What a registrar says and whom it tells. Called on its loop's thread.
struct registrar_parts {
  /// The registration of the moment, without streams; its address is replaced as the configuration says.
  std::function<cluster::origin_registration()> describe;
  /// The streams that this origin holds.
  std::function<std::vector<cluster::held_stream>()> held;
  /// A proxy says that the stream has another owner by now, of that epoch.
  std::function<void(const cluster::stream_key&, const cluster::epoch&)> on_fenced;
  /// A proxy took the whole list of streams, which was sent then (on_fenced() was called before).
  std::function<void(base::time_point sent_at)> on_whole_taken;
};

/// Tells every proxy, every interval, that this origin lives and what it holds. One loop's thread. Says in the log when
/// a proxy begins or ceases to take it.
class registrar {
 public:
  registrar(runtime::loop& l, registrar_config config, registrar_parts parts, base::log_sink& log,
            base::metrics& metrics);
  ~registrar();

  /// Tells every proxy the whole list, now or as soon as the call under way has ended.
  void tell_all_now();

 private:
  struct target {
    std::string url;
    std::optional<base::ip_address> route;
    bool in_flight = false;
    bool again = false;            // tell_all_now() came meanwhile
    std::optional<bool> accepted;  // the last outcome
    std::string proxy;             // id of the one that took the last call
    held_report held;
    held_report::part sent;  // by the call under way
    uint64_t beat = 0;       // its number
    uint64_t taken = 0;      // the last that a proxy took
  };
  void take_reply(target& t, const std::string& body);
  void beat();
  void call(target& t);
  void send(target& t);
  void finished(target& t, bool ok, const std::string& text);

  runtime::loop& loop_;
  const registrar_config config_;
  const registrar_parts parts_;
  base::log_sink& log_;
  base::metric_cell& failures_;
  std::vector<std::unique_ptr<target>> targets_;
  uint64_t beats_ = 0;  // to all targets together: proxies tell each other of them
  runtime::timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::admin
