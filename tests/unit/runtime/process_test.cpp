#include "runtime/process.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "loop_test_tools.hpp"
#include "runtime/cgroup.hpp"
#include "runtime/shard.hpp"

namespace sluice::runtime {
namespace {

namespace fs = std::filesystem;

/// A directory with files, removed at the end.
class fake_tree {
 public:
  explicit fake_tree(const std::map<std::string, std::string>& files)
      : root_(fs::temp_directory_path() / ("sluice-test-" + random_id(12))) {
    for (const auto& [path, text] : files) {
      fs::create_directories((root_ / path).parent_path());
      std::ofstream(root_ / path) << text;
    }
  }
  ~fake_tree() { fs::remove_all(root_); }
  const fs::path& root() const { return root_; }

 private:
  fs::path root_;
};

struct cgroup_case {
  std::string_view name;
  std::map<std::string, std::string> files;
  std::optional<double> cpus;
  std::optional<uint64_t> memory;
};

class cgroup : public ::testing::TestWithParam<cgroup_case> {};

TEST_P(cgroup, limits) {
  const fake_tree tree(GetParam().files);
  EXPECT_EQ(cgroup_cpus(tree.root()), GetParam().cpus);
  EXPECT_EQ(cgroup_memory_bytes(tree.root()), GetParam().memory);
}

const std::string v2 = "sys/fs/cgroup/";
const std::string own = "proc/self/cgroup";

INSTANTIATE_TEST_SUITE_P(
    trees, cgroup,
    ::testing::Values(
        cgroup_case{"nothing", {}, {}, {}},
        cgroup_case{"v2_root_of_a_container",
                    {{own, "0::/\n"}, {v2 + "cpu.max", "150000 100000\n"}, {v2 + "memory.max", "1073741824\n"}},
                    1.5,
                    1073741824},
        cgroup_case{"v2_without_limits",
                    {{own, "0::/a\n"}, {v2 + "a/cpu.max", "max 100000\n"}, {v2 + "a/memory.max", "max\n"}},
                    {},
                    {}},
        cgroup_case{"v2_parents_limit_too",
                    {{own, "0::/a/b/c\n"},
                     {v2 + "a/cpu.max", "100000 100000\n"},
                     {v2 + "a/b/cpu.max", "50000 100000\n"},
                     {v2 + "a/b/c/cpu.max", "400000 100000\n"},
                     {v2 + "a/memory.max", "1000\n"},
                     {v2 + "a/b/c/memory.max", "2000\n"}},
                    0.5,
                    1000},
        cgroup_case{"v2_path_of_the_host_is_not_mounted",
                    {{own, "0::/docker/abc\n"}, {v2 + "cpu.max", "200000 100000\n"}, {v2 + "memory.max", "5000\n"}},
                    2.0,
                    5000},
        cgroup_case{
            "v2_path_outside_the_namespace", {{own, "0::/../x\n"}, {v2 + "cpu.max", "200000 100000\n"}}, 2.0, {}},
        cgroup_case{"v1",
                    {{own, "12:memory:/m\n4:cpu,cpuacct:/c/d\n1:name=systemd:/s\n0::/s\n"},
                     {v2 + "cpu,cpuacct/c/d/cpu.cfs_quota_us", "-1\n"},
                     {v2 + "cpu,cpuacct/c/d/cpu.cfs_period_us", "100000\n"},
                     {v2 + "cpu,cpuacct/c/cpu.cfs_quota_us", "250000\n"},
                     {v2 + "cpu,cpuacct/c/cpu.cfs_period_us", "100000\n"},
                     {v2 + "memory/m/memory.limit_in_bytes", "3000\n"}},
                    2.5,
                    3000},
        cgroup_case{"v1_mounted_by_the_single_name",
                    {{own, "4:cpuacct,cpu:/\n"},
                     {v2 + "cpu/cpu.cfs_quota_us", "100000\n"},
                     {v2 + "cpu/cpu.cfs_period_us", "50000\n"}},
                    2.0,
                    {}},
        cgroup_case{"garbage",
                    {{own, "garbage\n0:\n::\n0::/\n"}, {v2 + "cpu.max", "x y\n"}, {v2 + "memory.max", "12kB\n"}},
                    {},
                    {}},
        cgroup_case{"zero_period", {{own, "0::/\n"}, {v2 + "cpu.max", "100 0\n"}}, {}, {}}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(process, tells_what_it_may_use) {
  EXPECT_GE(usable_cpus(), 1u);
  EXPECT_LE(usable_cpus(), static_cast<unsigned>(sysconf(_SC_NPROCESSORS_CONF)));
  EXPECT_GT(usable_memory(), 16u << 20);
}

TEST(process, counts_and_raises_descriptors) {
  const size_t before = descriptors_in_use();
  const int fd = dup(0);
  EXPECT_EQ(descriptors_in_use(), before + 1);
  close(fd);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  rlimit low = limit;
  low.rlim_cur = 256;
  setrlimit(RLIMIT_NOFILE, &low);
  EXPECT_EQ(raise_descriptor_limit(), limit.rlim_max);
  getrlimit(RLIMIT_NOFILE, &low);
  EXPECT_EQ(low.rlim_cur, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
}

TEST(process, random_ids_use_their_alphabet_and_differ) {
  std::set<std::string> ids;
  std::set<char> characters;
  for (int i = 0; i < 200; ++i) {
    const std::string id = random_id(16);
    EXPECT_EQ(id.size(), 16u);
    characters.insert(id.begin(), id.end());
    ids.insert(id);
  }
  EXPECT_EQ(ids.size(), 200u);
  EXPECT_EQ(std::string(characters.begin(), characters.end()), "0123456789abcdefghijklmnopqrstuvwxyz");
  EXPECT_EQ(random_id(0), "");
  std::array<uint8_t, 64> a{}, b{};
  random_bytes(a);
  random_bytes(b);
  EXPECT_NE(a, b);
}

using signals = loop_test;

TEST_F(signals, reach_the_loop_and_their_dispositions_come_back) {
  struct sigaction before{}, after{};
  sigaction(SIGUSR1, nullptr, &before);
  {
    std::vector<int> seen;
    signal_watch watch(loop_, {SIGUSR1, SIGUSR2}, [&](int signo) {
      seen.push_back(signo);
      if (seen.size() == 2) loop_.stop();
    });
    raise(SIGUSR1);
    raise(SIGUSR2);
    EXPECT_TRUE(seen.empty()) << "called from the signal handler";
    run();
    EXPECT_EQ(seen, (std::vector{SIGUSR1, SIGUSR2}));
  }
  sigaction(SIGUSR1, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
}

TEST_F(signals, may_end_their_watch) {
  std::optional<signal_watch> watch;
  watch.emplace(loop_, std::vector{SIGUSR1}, [&](int) {
    watch.reset();
    loop_.stop();
  });
  raise(SIGUSR1);
  run();
  EXPECT_FALSE(watch);
}

TEST(shards, run_tasks_on_their_own_threads_and_end_when_told) {
  shard_group group(3);
  group.start();
  std::array<std::thread::id, 3> threads;
  group.run_on_all([&](shard& s) { threads[s.index()] = std::this_thread::get_id(); });
  EXPECT_EQ(std::set<std::thread::id>(threads.begin(), threads.end()).size(), 3u);
  EXPECT_FALSE(std::count(threads.begin(), threads.end(), std::this_thread::get_id()));
  int passed = 0;
  group.run_on_all([&](shard& s) {
    if (s.index() == 0) group.loop_of(1).post([&] { group.loop_of(0).post([&] { ++passed; }); });
  });
  group.run_on_all([](shard&) {});
  group.run_on_all([](shard&) {});
  group.stop();
  group.stop();
  EXPECT_EQ(passed, 1);
}

TEST(shards, that_were_never_started_end_too) {
  shard_group group(2);
  group.stop();
}

}  // namespace
}  // namespace sluice::runtime
