#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "runtime/descriptor_budget.hpp"

namespace sluice::runtime {

/// Bytes in a file in memory (memfd_create(2)), which the kernel sends by reference where a string would be copied.
class memory_file {
 public:
  /// Nothing if there is no room for one.
  static std::shared_ptr<memory_file> of(const std::string& bytes, descriptor_budget* descriptors);
  ~memory_file();
  memory_file(const memory_file&) = delete;
  memory_file& operator=(const memory_file&) = delete;
  int fd() const { return fd_; }

 private:
  memory_file(int fd, descriptor_budget* descriptors) : fd_(fd), descriptors_(descriptors) {}
  const int fd_;
  descriptor_budget* const descriptors_;
};

/// Files of answers that are sent again and again: HLS segments that a crowd asks for. One server's; loop thread.
/// Bounds: 32 files, 64 MiB, and for each a descriptor of `descriptors` (may be null).
class body_files {
 public:
  static constexpr size_t files_max = 32, bytes_max = 64u << 20;
  /// A shorter one is copied as fast.
  static constexpr size_t body_bytes_min = 64u << 10;

  explicit body_files(descriptor_budget* descriptors) : descriptors_(descriptors) {}
  /// The file of `body`, from the second time on that it is asked for; nullptr: send it as it is.
  std::shared_ptr<memory_file> of(const std::shared_ptr<const std::string>& body);
  size_t files() const { return files_; }

 private:
  struct entry {
    std::weak_ptr<const std::string> body;
    size_t size = 0;
    std::shared_ptr<memory_file> file;
    uint64_t used_at = 0;
  };
  using map = std::unordered_map<const std::string*, entry>;
  void remove(map::iterator at);
  void remove_expired();
  void make_room(size_t bytes);

  descriptor_budget* const descriptors_;
  map entries_;  // bodies that were asked for of late, twice files_max at most
  size_t files_ = 0, bytes_ = 0;
  uint64_t uses_ = 0;
};

}  // namespace sluice::runtime
