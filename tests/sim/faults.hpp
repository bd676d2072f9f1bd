#pragma once

#include <functional>
#include <map>

#include "sim/plan.hpp"

namespace sluice::sim {

class origin;
class proxy;
class world;

/// Makes the plan's faults happen, and ends each in time, at the latest when everything is healed.
class fault_script {
 public:
  explicit fault_script(world& w) : w_(w) {}
  void start();
  void heal();

 private:
  using undo = std::function<void(bool healing)>;
  void begin(const fault& f);
  /// `end` is called once: after `lasts`, or by heal().
  void until(duration lasts, undo end);
  void crash(origin& o, duration lasts, bool silent);
  void pause(origin& o, duration lasts);
  void cut(int a, int b, duration lasts, bool media_only);
  void of_clients(const fault& f);
  void of_store(const fault& f);
  origin& some_origin();
  proxy& any_proxy();
  std::vector<int> half_of_origins();

  world& w_;
  std::map<uint64_t, undo> active_;
  uint64_t last_ = 0;
};

}  // namespace sluice::sim
