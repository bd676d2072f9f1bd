#pragma once

#include <fmt/format.h>

#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cluster/core/stream_key.hpp"
#include "sim/network.hpp"
#include "sim/plan.hpp"

namespace sluice::sim {

class direct_encoder;
class encoder;
class monitor;
class origin;
class proxy;
class shared_store;
class viewer;

/// An invariant that does not hold.
struct violation : std::runtime_error {
  using runtime_error::runtime_error;
};

struct outcome {
  bool ok = true;
  std::string what;               ///< the invariant, if not ok
  std::deque<std::string> trace;  ///< its tail, if asked for
  uint64_t events = 0;
  uint64_t digest = 0;           ///< of all that happened: equal for equal seeds
  duration served_after_max{};   ///< the longest that a stream was without an owner after the last fault
  duration watched_after_max{};  ///< the same for viewers
};

struct run_options {
  size_t trace_lines_max = 0;
  bool print_trace = false;
  bool deaf_publishers = false;  ///< do not hear of another owner, as those of proxies of another make
};

/// One schedule under way.
class world {
 public:
  world(uint64_t seed, run_options options);
  ~world();
  world(const world&) = delete;
  world& operator=(const world&) = delete;
  outcome run();
  const run_options& options() const { return options_; }

  /// A line of the trace; goes into the digest by its format and numbers only when traced, see note().
  template <typename... A>
  void trace(fmt::format_string<A...> format, A&&... arguments) {
    if (tracing()) trace_line(fmt::format(format, std::forward<A>(arguments)...));
  }
  bool tracing() const { return options_.trace_lines_max > 0; }
  /// Goes into the digest.
  void note(uint64_t what) {
    digest_ = (digest_ ^ what) * 0x100000001B3 + static_cast<uint64_t>(queue.now().time_since_epoch().count());
  }
  [[noreturn]] void fail(std::string what) { throw violation(std::move(what)); }

  // Nodes.
  node origin_node(int index) const { return how.proxies + index; }
  int origin_index(node n) const { return n - how.proxies; }
  node store_node() const { return how.proxies + how.origins; }
  node outside_node() const { return store_node() + 1; }
  std::string name_of(node n) const;
  const cluster::stream_key& key(int stream) const { return keys_[static_cast<size_t>(stream)]; }
  static int stream_of(const cluster::stream_key& key);

  /// The wall clock without anybody's error.
  uint64_t wall_ms() const;
  bool healed() const { return healed_; }
  time_point healed_at() const { return healed_at_; }
  /// What an encoder or viewer connects to: any proxy that the load balancer believes in; null: none.
  proxy* some_proxy(const proxy* but = nullptr);
  uint64_t next_id() { return ++last_id_; }

  const uint64_t seed;
  event_queue queue;
  random_source random;
  plan how;
  network net;
  std::unique_ptr<monitor> watch;
  std::unique_ptr<shared_store> store;
  std::vector<std::unique_ptr<proxy>> proxies;
  std::vector<std::unique_ptr<origin>> origins;
  std::vector<std::unique_ptr<encoder>> encoders;
  std::unique_ptr<direct_encoder> direct;
  std::vector<std::unique_ptr<viewer>> viewers;

 private:
  friend class fault_script;
  void build();
  void start();
  void heal();
  void trace_line(std::string line);

  const run_options options_;
  std::vector<cluster::stream_key> keys_;
  std::deque<std::string> trace_;
  uint64_t digest_ = 0;
  uint64_t last_id_ = 0;
  bool healed_ = false;
  time_point healed_at_{};
  std::unique_ptr<class fault_script> script_;
};

}  // namespace sluice::sim
