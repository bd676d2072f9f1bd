#include "runtime/cgroup.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string>
#include <vector>

namespace sluice::runtime {

namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

/// A whole non-negative number, or nothing ("max", "-1", no file).
std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool has_controller(std::string_view list, std::string_view name) {
  return ("," + std::string(list) + ",").find("," + std::string(name) + ",") != std::string::npos;
}

/// The directories that limit `controller`, from the process's own cgroup up to the mount's root. Lines of
/// /proc/self/cgroup are `id:controllers:path` (cgroups(7)); version 2 has id 0 and no controllers. In a container the
/// path may not exist below the mount: what is left then is the root.
std::vector<fs::path> limiting_directories(const fs::path& root, std::string_view controller, bool v2) {
  const fs::path mounts = root / "sys/fs/cgroup";
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (v2 ? !controllers.empty() : !has_controller(controllers, controller)) continue;
    fs::path mount = mounts;
    if (!v2) mount /= fs::is_directory(mounts / controllers) ? fs::path(controllers) : fs::path(controller);
    const fs::path own = fs::path(line.substr(second + 1)).lexically_normal().relative_path();
    std::vector<fs::path> found;
    for (fs::path at = own; !at.empty(); at = at.parent_path()) found.push_back(mount / at);
    found.push_back(mount);
    return found;
  }
  return {};
}

/// `quota` microseconds of processor time in each `period`.
std::optional<double> share(std::string_view quota, std::string_view period) {
  const auto q = number(quota), p = number(period);
  if (!q || !p || *q == 0 || *p == 0) return std::nullopt;
  return static_cast<double>(*q) / static_cast<double>(*p);
}

template <typename T>
void take_smaller(std::optional<T>& least, std::optional<T> value) {
  if (value && (!least || *value < *least)) least = value;
}

}  // namespace

std::optional<double> cgroup_cpus(const fs::path& root) {
  std::optional<double> least;
  for (const auto& at : limiting_directories(root, "cpu", true)) {
    const std::string line = first_line(at / "cpu.max");  // "QUOTA PERIOD", the quota may be "max"
    const size_t space = line.find(' ');
    if (space != std::string::npos) take_smaller(least, share(line.substr(0, space), line.substr(space + 1)));
  }
  for (const auto& at : limiting_directories(root, "cpu", false)) {
    take_smaller(least, share(first_line(at / "cpu.cfs_quota_us"), first_line(at / "cpu.cfs_period_us")));
  }
  return least;
}

std::optional<uint64_t> cgroup_memory_bytes(const fs::path& root) {
  std::optional<uint64_t> least;
  for (const auto& at : limiting_directories(root, "memory", true)) {
    take_smaller(least, number(first_line(at / "memory.max")));
  }
  // Version 1 says "none" by a number near 2^63: the caller's minimum with the machine's memory takes care of it.
  for (const auto& at : limiting_directories(root, "memory", false)) {
    take_smaller(least, number(first_line(at / "memory.limit_in_bytes")));
  }
  return least;
}

}  // namespace sluice::runtime
