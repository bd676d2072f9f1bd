// sluice_sim: runs seeded schedules of faults over the real core of the cluster. See README.md.

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "sim/world.hpp"

namespace {

using sluice::sim::outcome;
using sluice::sim::run_options;
using sluice::sim::world;

constexpr size_t tail_lines = 80;

struct options {
  uint64_t from = 1, count = 1000;
  unsigned jobs = 1;
  std::optional<uint64_t> seed;
  bool trace = false;
  bool twice = false;
  bool expect_failure = false;
  bool survey = false;
  bool deaf_publishers = false;
};

constexpr const char* usage =
    "usage: sluice_sim [--seeds FROM COUNT] [--jobs N]   run COUNT schedules; 1 if one violates an invariant\n"
    "       sluice_sim --seed N [--trace]                run one, with all its events\n"
    "  --twice            run each schedule twice and compare: the same seed must give the same events\n"
    "  --survey           go on after a violation: one line for each\n"
    "  --expect-failure   succeed only if a schedule fails (for mutants of the core)\n"
    "  --deaf-publishers  publishers do not hear of other owners: only their origins make them go\n";

std::optional<uint64_t> number(const char* text) {
  uint64_t n = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), n);
  if (error != std::errc() || *end != '\0') return std::nullopt;
  return n;
}

std::optional<options> parse(int argc, char** argv) {
  options o;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    const auto value = [&]() -> std::optional<uint64_t> { return ++i < argc ? number(argv[i]) : std::nullopt; };
    if (name == "--seeds") {
      const auto from = value(), count = value();
      if (!from || !count) return std::nullopt;
      o.from = *from;
      o.count = *count;
    } else if (name == "--jobs") {
      const auto jobs = value();
      if (!jobs || *jobs == 0 || *jobs > 1024) return std::nullopt;
      o.jobs = static_cast<unsigned>(*jobs);
    } else if (name == "--seed") {
      o.seed = value();
      if (!o.seed) return std::nullopt;
    } else if (name == "--trace") {
      o.trace = true;
    } else if (name == "--twice") {
      o.twice = true;
    } else if (name == "--expect-failure") {
      o.expect_failure = true;
    } else if (name == "--deaf-publishers") {
      o.deaf_publishers = true;
    } else if (name == "--survey") {
      o.survey = true;
    } else {
      return std::nullopt;
    }
  }
  return o;
}

outcome run(uint64_t seed, run_options how) { return world(seed, how).run(); }

void report(const char* program, uint64_t seed, const options& o, const outcome& failed) {
  std::printf("seed %llu violates an invariant: %s\n", static_cast<unsigned long long>(seed), failed.what.c_str());
  const outcome again = run(seed, {.trace_lines_max = tail_lines, .deaf_publishers = o.deaf_publishers});
  for (const auto& line : again.trace) std::printf("  %s\n", line.c_str());
  if (again.what != failed.what)
    std::printf("it did not reproduce: %s\n", again.ok ? "no violation" : again.what.c_str());
  std::printf("reproduce with: %s --seed %llu --trace%s\n", program, static_cast<unsigned long long>(seed),
              o.deaf_publishers ? " --deaf-publishers" : "");
}

struct totals {
  std::atomic<uint64_t> next{0}, done{0}, events{0};
  std::atomic<bool> stop{false};
  std::mutex lock;
  std::optional<uint64_t> failed_seed;  // the lowest
  outcome failed;
  double served_max = 0, watched_max = 0;
};

void work(const options& o, totals& t) {
  using seconds = std::chrono::duration<double>;
  while (!t.stop) {
    const uint64_t index = t.next++;
    if (index >= o.count) return;
    const uint64_t seed = o.from + index;
    const run_options how{.deaf_publishers = o.deaf_publishers};
    outcome result = run(seed, how);
    if (result.ok && o.twice && run(seed, how).digest != result.digest) {
      result.ok = false;
      result.what = "two runs of one seed differ";
    }
    ++t.done;
    t.events += result.events;
    const std::lock_guard held(t.lock);
    t.served_max = std::max(t.served_max, seconds(result.served_after_max).count());
    t.watched_max = std::max(t.watched_max, seconds(result.watched_after_max).count());
    if (result.ok) continue;
    if (o.survey) std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), result.what.c_str());
    if (t.failed_seed && *t.failed_seed < seed) continue;
    t.failed_seed = seed;
    t.failed = std::move(result);
    t.stop = !o.survey;  // those under way with lower seeds are still heard
  }
}

int run_all(const char* program, const options& o) {
  totals t;
  const auto began = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < o.jobs; ++i) threads.emplace_back([&] { work(o, t); });
  for (auto& thread : threads) thread.join();
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  if (t.failed_seed && o.expect_failure) {
    std::printf("found by seed %llu: %s\n", static_cast<unsigned long long>(*t.failed_seed), t.failed.what.c_str());
  } else if (t.failed_seed && !o.survey) {
    report(program, *t.failed_seed, o, t.failed);
  }
  std::printf(
      "%llu schedules, %llu events, %.1f s: %.0f schedules a second; after the last fault streams were served "
      "within %.1f s, watched within %.1f s\n",
      static_cast<unsigned long long>(t.done.load()), static_cast<unsigned long long>(t.events.load()), took,
      static_cast<double>(t.done.load()) / took, t.served_max, t.watched_max);
  return t.failed_seed.has_value() == o.expect_failure ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const auto o = parse(argc, argv);
  if (!o) {
    std::fputs(usage, stderr);
    return 2;
  }
  if (!o->seed) return run_all(argv[0], *o);
  const outcome result = run(
      *o->seed,
      {.trace_lines_max = o->trace ? tail_lines : 0, .print_trace = o->trace, .deaf_publishers = o->deaf_publishers});
  std::printf("seed %llu: %s\n", static_cast<unsigned long long>(*o->seed),
              result.ok ? "no violation" : result.what.c_str());
  return result.ok ? 0 : 1;
}
