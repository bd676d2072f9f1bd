#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "runtime/loop.hpp"

namespace sluice::runtime {

/// A thread that runs a loop. What lives on the loop is made and destroyed on its thread: by tasks posted to it.
class shard {
 public:
  /// The thread starts in start(), so that the loop may be set up before, by the constructing thread.
  explicit shard(size_t index) : index_(index) {}
  ~shard() { stop(); }
  shard(const shard&) = delete;
  shard& operator=(const shard&) = delete;

  size_t index() const { return index_; }
  runtime::loop& loop() { return loop_; }
  void start();
  /// Ends the loop and waits for the thread; not from that thread. Harmless if it does not run.
  void stop();

 private:
  const size_t index_;
  runtime::loop loop_;
  std::thread thread_;
};

/// `count` shards, as a rule one per usable processor.
class shard_group {
 public:
  explicit shard_group(size_t count);
  ~shard_group() { stop(); }

  size_t size() const { return shards_.size(); }
  shard& at(size_t index) { return *shards_[index]; }
  loop& loop_of(size_t index) { return shards_[index]->loop(); }
  void start();
  /// Ends the loops and waits for their threads. The loops stay valid until the group is destroyed.
  void stop();
  /// Runs `task(shard)` on every shard's thread and returns when all have done so. Not from a shard's thread; the
  /// group must be started.
  void run_on_all(const std::function<void(shard&)>& task);

 private:
  std::vector<std::unique_ptr<shard>> shards_;
};

}  // namespace sluice::runtime
