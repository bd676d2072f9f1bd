#include "runtime/body_files.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace sluice::runtime {
namespace {

bool write_all(int fd, const std::string& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t written = ::write(fd, bytes.data() + at, bytes.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    at += static_cast<size_t>(written);
  }
  return true;
}

}  // namespace

std::shared_ptr<memory_file> memory_file::of(const std::string& bytes, descriptor_budget* descriptors) {
  if (descriptors && !descriptors->take()) return nullptr;
  const int fd = ::memfd_create("sluice-body", MFD_CLOEXEC);
  if (fd < 0) {
    if (descriptors) descriptors->give();
    return nullptr;
  }
  std::shared_ptr<memory_file> file(new memory_file(fd, descriptors));
  return write_all(fd, bytes) ? file : nullptr;
}

memory_file::~memory_file() {
  ::close(fd_);
  if (descriptors_) descriptors_->give();
}

std::shared_ptr<memory_file> body_files::of(const std::shared_ptr<const std::string>& body) {
  if (!body || body->size() < body_bytes_min || body->size() > bytes_max) return nullptr;
  auto at = entries_.find(body.get());
  if (at != entries_.end() && at->second.body.lock() != body) {  // another body at the address of one that is gone
    remove(at);
    at = entries_.end();
  }
  if (at == entries_.end()) {
    if (entries_.size() >= 2 * files_max) remove_expired();
    if (entries_.size() >= 2 * files_max)
      remove(std::min_element(entries_.begin(), entries_.end(),
                              [](const auto& a, const auto& b) { return a.second.used_at < b.second.used_at; }));
    entries_[body.get()] = {body, body->size(), nullptr, ++uses_};
    return nullptr;
  }
  at->second.used_at = ++uses_;
  if (!at->second.file) {
    make_room(body->size());
    at->second.file = memory_file::of(*body, descriptors_);
    if (at->second.file) {
      ++files_;
      bytes_ += body->size();
    }
  }
  return at->second.file;
}

void body_files::remove(map::iterator at) {
  if (at->second.file) {
    --files_;
    bytes_ -= at->second.size;
  }
  entries_.erase(at);
}

void body_files::remove_expired() {
  for (auto at = entries_.begin(); at != entries_.end();) {
    const auto next = std::next(at);
    if (at->second.body.expired()) remove(at);
    at = next;
  }
}

/// For one more file of that size: those of bodies that are gone go first, then those that were not used for longest.
void body_files::make_room(size_t bytes) {
  const auto fits = [&] { return files_ < files_max && bytes_ + bytes <= bytes_max; };
  if (!fits()) remove_expired();
  while (!fits()) {
    auto oldest = entries_.end();
    for (auto at = entries_.begin(); at != entries_.end(); ++at)
      if (at->second.file && (oldest == entries_.end() || at->second.used_at < oldest->second.used_at)) oldest = at;
    if (oldest == entries_.end()) return;
    remove(oldest);
  }
}

}  // namespace sluice::runtime
