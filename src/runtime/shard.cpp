#include "runtime/shard.hpp"

#include <pthread.h>

#include <latch>
#include <string>

namespace sluice::runtime {

void shard::start() {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), ("shard-" + std::to_string(index_)).c_str());
    loop_.run();
  });
}

void shard::stop() {
  if (!thread_.joinable()) return;
  loop_.stop();
  thread_.join();
}

shard_group::shard_group(size_t count) {
  for (size_t i = 0; i < count; ++i) shards_.push_back(std::make_unique<shard>(i));
}

void shard_group::start() {
  for (const auto& s : shards_) s->start();
}

void shard_group::stop() {
  for (const auto& s : shards_) s->stop();
}

void shard_group::run_on_all(const std::function<void(shard&)>& task) {
  std::latch done(static_cast<ptrdiff_t>(shards_.size()));
  for (const auto& s : shards_) {
    s->loop().post([&task, &done, &s = *s] {
      task(s);
      done.count_down();
    });
  }
  done.wait();
}

}  // namespace sluice::runtime
