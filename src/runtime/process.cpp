#include "runtime/process.hpp"

#include <sched.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <thread>

#include "runtime/cgroup.hpp"

namespace sluice::runtime {

size_t raise_descriptor_limit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  rlimit raised = limit;
  raised.rlim_cur = raised.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

size_t descriptors_in_use() {
  std::error_code error;
  size_t count = 0;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end; it.increment(error)) {
    ++count;
  }
  return count > 0 ? count - 1 : 0;  // less the listing's own
}

unsigned usable_cpus() {
  std::array<cpu_set_t, 16> mask{};  // up to 16,384 processors
  unsigned allowed = std::max(1u, std::thread::hardware_concurrency());
  if (sched_getaffinity(0, sizeof mask, mask.data()) == 0) {
    allowed = static_cast<unsigned>(CPU_COUNT_S(sizeof mask, mask.data()));
  }
  if (const auto quota = cgroup_cpus("/")) {
    // Rounded up: 1.5 processors are better used by two threads than by one.
    allowed = static_cast<unsigned>(std::min<double>(allowed, std::ceil(*quota)));
  }
  return std::max(1u, allowed);
}

uint64_t usable_memory() {
  const uint64_t machine =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return std::min(machine, cgroup_memory_bytes("/").value_or(machine));
}

void random_bytes(std::span<uint8_t> into) {
  while (!into.empty()) {
    const ssize_t got = getrandom(into.data(), into.size(), 0);
    if (got < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "getrandom");
    if (got > 0) into = into.subspan(static_cast<size_t>(got));
  }
}

std::string network_id() {
  std::string id;
  if (std::ifstream boot("/proc/sys/kernel/random/boot_id"); boot) boot >> id;
  std::error_code error;
  const auto space = std::filesystem::read_symlink("/proc/self/ns/net", error);
  return id + "/" + (error ? std::string() : space.string());
}

std::string random_id(size_t count) {
  constexpr std::string_view alphabet = "0123456789abcdefghijklmnopqrstuvwxyz";
  constexpr size_t fair = 256 / alphabet.size() * alphabet.size();  // bytes above would favour some characters
  std::string id;
  std::array<uint8_t, 32> bytes;
  while (id.size() < count) {
    random_bytes(bytes);
    for (const uint8_t byte : bytes) {
      if (byte < fair && id.size() < count) id.push_back(alphabet[byte % alphabet.size()]);
    }
  }
  return id;
}

}  // namespace sluice::runtime
