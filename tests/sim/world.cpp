#include "sim/world.hpp"

#include <cstdio>
#include <cstdlib>

#include "sim/clients.hpp"
#include "sim/direct_encoder.hpp"
#include "sim/faults.hpp"
#include "sim/monitor.hpp"
#include "sim/origin.hpp"
#include "sim/proxy.hpp"
#include "sim/store.hpp"

namespace sluice::sim {
namespace {

constexpr time_point start_at{std::chrono::hours(1)};
constexpr uint64_t wall_start_ms = 1'700'000'000'000;
constexpr duration look_interval = 250ms;

}  // namespace

world::world(uint64_t s, run_options options)
    : seed(s), queue(start_at), random(s), how(make_plan(random)), net(queue, random, how.network), options_(options) {
  build();
}

world::~world() = default;

void world::build() {
  for (int s = 0; s < how.streams; ++s) keys_.push_back({"__defaultVhost__", "live", fmt::format("s{}", s)});
  watch = std::make_unique<monitor>(*this);
  store = std::make_unique<shared_store>(*this);
  for (int i = 0; i < how.proxies; ++i) {
    proxies.push_back(std::make_unique<proxy>(*this, i));
    net.add(*proxies.back(), proxies.back().get());
  }
  for (int i = 0; i < how.origins; ++i) {
    origins.push_back(std::make_unique<origin>(*this, i));
    net.add(*origins.back(), origins.back().get());
  }
  net.add(*store, nullptr);
  if (how.direct) {
    direct = std::make_unique<direct_encoder>(*this, how.streams - 1, random.below(how.origins));
    net.add(*direct, direct.get());
  }
  net.start();
  for (int s = 0; s < how.proxied_streams(); ++s) encoders.push_back(std::make_unique<encoder>(*this, s));
  for (int v = 0; v < how.viewers; ++v) viewers.push_back(std::make_unique<viewer>(*this, v % how.streams));
  script_ = std::make_unique<fault_script>(*this);
}

void world::start() {
  trace("{} proxies, {} origins, {} streams, {} viewers, {} store, hop {} us", how.proxies, how.origins, how.streams,
        how.viewers, how.memory_store ? "memory" : "shared", how.hop / 1us);
  for (const auto& p : proxies) {
    if (how.skewed) p->set_wall_error(random.between(-60'000, 60'000));
    p->start();
  }
  for (const auto& o : origins) o->start();
  for (const auto& e : encoders)
    queue.at(queue.now() + random.between(duration{}, 3s), [&client = *e] { client.start(); });
  for (const auto& v : viewers)
    queue.at(queue.now() + random.between(duration{}, 6s), [&client = *v] { client.start(); });
  if (direct) direct->start();
  script_->start();
}

outcome world::run() {
  outcome result;
  try {
    start();
    const time_point heal_at = queue.now() + how.faults_until;
    const time_point end_at = heal_at + how.settle;
    for (time_point next = queue.now(); next < end_at; next += look_interval) {
      if (!healed_ && next >= heal_at) heal();
      queue.run(next);
      watch->look();
    }
  } catch (const violation& v) {
    result.ok = false;
    result.what = v.what();
    trace("violated: {}", v.what());
  }
  result.trace = std::move(trace_);
  result.events = queue.events();
  result.digest = digest_;
  result.served_after_max = watch->served_after_max();
  result.watched_after_max = watch->watched_after_max();
  return result;
}

void world::heal() {
  healed_ = true;
  healed_at_ = queue.now();
  trace("-- healed");
  net.calm();
  script_->heal();
}

proxy* world::some_proxy(const proxy* but) {
  std::vector<proxy*> found;
  for (const auto& p : proxies) {
    if (p->up() && p.get() != but) found.push_back(p.get());
  }
  return found.empty() ? nullptr : found[static_cast<size_t>(random.below(static_cast<int>(found.size())))];
}

std::string world::name_of(node n) const {
  if (n < how.proxies) return fmt::format("P{}", n);
  return n == store_node() ? "store" : fmt::format("O{}", origin_index(n));
}

int world::stream_of(const cluster::stream_key& key) { return std::atoi(key.stream.c_str() + 1); }

uint64_t world::wall_ms() const { return wall_start_ms + static_cast<uint64_t>((queue.now() - start_at) / 1ms); }

void world::trace_line(std::string line) {
  line = fmt::format("{:9.3f} {}", static_cast<double>((queue.now() - start_at) / 1us) / 1e6, line);
  if (options_.print_trace) {
    std::puts(line.c_str());
    return;
  }
  trace_.push_back(std::move(line));
  if (trace_.size() > options_.trace_lines_max) trace_.pop_front();
}

}  // namespace sluice::sim
