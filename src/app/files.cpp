#include "app/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace sluice::app {
namespace {

constexpr size_t file_bytes_max = 1 << 20;

tl::unexpected<base::error> failure(int error) {
  const bool absent = error == ENOENT || error == ENOTDIR;
  return base::fail(absent ? "no_such_file" : "cannot_read",
                    "cannot read the file: " + std::generic_category().message(error));
}

base::result<std::string> read_all(int fd) {
  struct stat what{};
  if (::fstat(fd, &what) != 0) return failure(errno);
  if (S_ISDIR(what.st_mode)) return failure(EISDIR);
  std::string text;
  std::array<char, 4096> part;
  for (;;) {
    const ssize_t got = ::read(fd, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failure(errno);
    if (got == 0) return text;
    text.append(part.data(), static_cast<size_t>(got));
    if (text.size() > file_bytes_max) return base::fail("cannot_read", "cannot read the file: it is larger than 1 MiB");
  }
}

}  // namespace

base::result<std::string> read_settings_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failure(errno);
  auto text = read_all(fd);
  ::close(fd);
  return text;
}

}  // namespace sluice::app
