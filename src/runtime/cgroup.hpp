#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace sluice::runtime {

/// What the cgroups of this process (and their parents) allow it, version 2 or 1; nothing if they set no limit. `root`
/// is "/", or a tree with proc/self/cgroup and sys/fs/cgroup below it.
std::optional<double> cgroup_cpus(const std::filesystem::path& root);
std::optional<uint64_t> cgroup_memory_bytes(const std::filesystem::path& root);

}  // namespace sluice::runtime
