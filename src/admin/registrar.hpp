#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

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

/// Tells every proxy, every interval, that this origin lives. One loop's thread. Says in the log when a proxy begins or
/// ceases to take it.
class registrar {
 public:
  /// `describe` gives the registration of the moment; its address is replaced as the configuration says.
  registrar(runtime::loop& l, registrar_config config, std::function<cluster::origin_registration()> describe,
            base::log_sink& log, base::metrics& metrics);
  ~registrar();

 private:
  struct target {
    std::string url;
    std::optional<base::ip_address> route;
    bool in_flight = false;
    std::optional<bool> accepted;  // the last outcome
  };
  void beat();
  void call(target& t);
  void send(target& t);
  void finished(target& t, bool ok, const std::string& text);

  runtime::loop& loop_;
  const registrar_config config_;
  std::function<cluster::origin_registration()> describe_;
  base::log_sink& log_;
  base::metric_cell& failures_;
  std::vector<std::unique_ptr<target>> targets_;
  runtime::timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::admin
