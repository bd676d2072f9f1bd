// claims: how fast owners are claimed and found in a store, and how long each step takes, as a proxy's control thread
// does it.

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/store/memory_store.hpp"
#include "cluster/store/redis_store.hpp"
#include "runtime/loop.hpp"

namespace {

using namespace sluice;
using kind = cluster::store_request::kind;
using clock_type = std::chrono::steady_clock;

constexpr std::string_view usage =
    "usage: claims memory|redis|cluster HOST:PORT[,HOST:PORT…] STREAMS AT-ONCE\n"
    "Claims STREAMS new streams, AT-ONCE at a time, then finds each of them; prints JSON. The streams expire after 60 "
    "s.\n";

struct quiet_log final : base::log_sink {
  bool enabled(base::log_level) const override { return false; }
  void write(base::log_level, std::string_view, std::span<const base::log_field>) override {}
};

double cpu_s() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

/// One round of the same step for every stream.
class one_round {
 public:
  one_round(runtime::loop& l, cluster::owner_store& store, kind what, size_t streams, size_t at_once)
      : loop_(l), store_(store), what_(what), streams_(streams), at_once_(at_once) {
    took_us_.reserve(streams);
  }
  std::string run(std::string_view name) {
    const double cpu = cpu_s();
    const auto began = clock_type::now();
    loop_.post([this] {
      for (size_t i = 0; i < at_once_; ++i) step();
    });
    loop_.run();
    const double wall = std::chrono::duration<double>(clock_type::now() - began).count();
    std::sort(took_us_.begin(), took_us_.end());
    const auto at = [&](double share) {
      return took_us_.empty() ? 0 : took_us_[static_cast<size_t>(share * static_cast<double>(took_us_.size() - 1))];
    };
    return fmt::format(R"("{}":{{"per_second":{:.0f},"cpu_us":{:.2f},"p50_us":{:.0f},"p99_us":{:.0f},"failed":{}}})",
                       name, static_cast<double>(streams_) / wall,
                       (cpu_s() - cpu) * 1e6 / static_cast<double>(streams_), at(0.5), at(0.99), failed_);
  }

 private:
  void step() {
    if (next_ == streams_) return;
    const size_t n = next_++;
    cluster::store_request request;
    request.op = n + 1;
    request.what = what_;
    request.key = {"__defaultVhost__", "live", fmt::format("bench{}", n)};
    request.ttl = std::chrono::seconds(60);
    if (what_ == kind::claim)
      request.record = cluster::owner_record{fmt::format("origin{}-service-77", n % 16), {n + 1, n}, "bench", 1};
    const auto asked = clock_type::now();
    store_.submit(std::move(request), [this, asked](const cluster::store_reply& reply) {
      took_us_.push_back(std::chrono::duration<double, std::micro>(clock_type::now() - asked).count());
      if (!reply.owner || !*reply.owner) ++failed_;
      if (++done_ == streams_) return loop_.stop();
      // A store that answers from within would call itself ever deeper.
      loop_.defer([this] { step(); });
    });
  }

  runtime::loop& loop_;
  cluster::owner_store& store_;
  const kind what_;
  const size_t streams_, at_once_;
  size_t next_ = 0, done_ = 0, failed_ = 0;
  std::vector<double> took_us_;
};

std::vector<runtime::host_port> servers_of(std::string_view text) {
  std::vector<runtime::host_port> all;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    const size_t colon = one.rfind(':');
    if (colon == one.npos) continue;
    all.push_back({std::string(one.substr(0, colon)),
                   static_cast<uint16_t>(std::strtoul(std::string(one.substr(colon + 1)).c_str(), nullptr, 10))});
  }
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view where = argc == 5 ? argv[1] : "";
  const auto servers = argc == 5 ? servers_of(argv[2]) : std::vector<runtime::host_port>();
  const size_t streams = argc == 5 ? std::strtoul(argv[3], nullptr, 10) : 0;
  const size_t at_once = argc == 5 ? std::strtoul(argv[4], nullptr, 10) : 0;
  if (streams == 0 || at_once == 0 || (where != "memory" && where != "redis" && where != "cluster") ||
      (where != "memory" && servers.empty())) {
    std::fputs(std::string(usage).c_str(), stderr);
    return 2;
  }
  runtime::loop loop;
  quiet_log log;
  base::metrics metrics;
  std::unique_ptr<runtime::redis_client> client;
  std::unique_ptr<cluster::owner_store> store;
  if (where == "memory") {
    store = std::make_unique<cluster::memory_store>([] { return runtime::loop::monotonic_now(); }, streams);
  } else {
    runtime::redis_options options;
    if (where == "cluster") options.cluster = servers;
    options.host = servers.front().host;
    options.port = servers.front().port;
    client = std::make_unique<runtime::redis_client>(loop, options, log, metrics);
    client->on_state = [&](bool up) {
      if (up) loop.stop();
    };
    runtime::timer patience(loop, [&] { loop.stop(); });
    patience.arm_after(std::chrono::seconds(10));
    loop.run();
    if (!client->is_up()) {
      std::fputs("claims: no Redis there\n", stderr);
      return 1;
    }
    client->on_state = nullptr;
    store = std::make_unique<cluster::redis_store>(*client, cluster::redis_keys("bench"), "bench");
  }
  const std::string claimed = one_round(loop, *store, kind::claim, streams, at_once).run("claim");
  const std::string found = one_round(loop, *store, kind::find, streams, at_once).run("find");
  fmt::print("{{{},{}}}\n", claimed, found);
  return 0;
}
