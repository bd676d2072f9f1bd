#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "runtime/redis_backend.hpp"

namespace sluice::runtime {

/// Asks Sentinels, one after the other, where the master is, and listens to one for the news that it is another.
class redis_sentinels {
 public:
  using on_found = std::function<void(base::result<host_port>)>;
  struct news {
    std::function<void(host_port)> switched;
    std::function<void()> listening;  ///< to a Sentinel (again): what it said before was not heard
  };
  redis_sentinels(redis_environment& env, news n);

  /// One look-up at a time: a second one ends the first, whose `done` is not called. Never called from within.
  void find(on_found done);

 private:
  void ask(size_t index);
  void on_answer(const base::result<resp::value>& answer, size_t index);
  void next(size_t index, const base::error& why);
  void listen();

  redis_environment& env_;
  news news_;
  std::vector<host_port> order_;  // the one that answered last is first
  on_found done_;
  std::unique_ptr<redis_connection> asking_, listening_;
  size_t listened_ = 0;  // of the options' Sentinels
  unsigned listen_tries_ = 0;
  timer again_;
};

}  // namespace sluice::runtime
