#include "admin/static_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <ctime>
#include <utility>

#include "admin/router.hpp"
#include "runtime/http_content.hpp"

namespace sluice::admin {
namespace {

class descriptor {
 public:
  explicit descriptor(int fd) : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&&) = delete;
  ~descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  /// Its name in /proc, by which it can be looked at and opened once more.
  std::string link() const { return fmt::format("/proc/self/fd/{}", fd_); }
  /// The path of what is open, with all symbolic links followed; empty if the kernel does not say.
  std::string real_path() const {
    char buffer[PATH_MAX];
    const auto count = ::readlink(link().c_str(), buffer, sizeof buffer);
    return count > 0 && static_cast<size_t>(count) < sizeof buffer ? std::string(buffer, static_cast<size_t>(count))
                                                                   : std::string();
  }

 private:
  int fd_;
};

/// A path as one below the root; no `.` and `..`, no hidden names, no empty ones but at the end, nothing that another
/// system or a careless program reads as a separator or an end.
bool is_plain(std::string_view path) {
  if (!path.starts_with('/') || path.size() > static_files::path_bytes_max) return false;
  for (const char c : path)
    if (c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return false;
  return path.find("//") == path.npos && path.find("/.") == path.npos;
}

/// For looking at, not for reading: opening has no effect on devices and pipes.
descriptor look_at(const std::string& path) { return descriptor(::open(path.c_str(), O_PATH | O_CLOEXEC)); }

std::string http_date(time_t at) {
  static constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  tm t{};
  ::gmtime_r(&at, &t);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", days[t.tm_wday], t.tm_mday, months[t.tm_mon],
                     t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

/// To the same with a slash, so that relative links of its index work. The target stands as it was sent: `//host` would
/// lead elsewhere, and was refused.
std::optional<runtime::http_response> to_folder(const runtime::http_request& request) {
  const auto& target = request.target;
  if (!target.starts_with('/') || target.starts_with("//")) return std::nullopt;
  const auto query = target.find('?');
  runtime::http_response response;
  response.status = 301;
  response.content_type = "text/plain; charset=utf-8";
  response.headers.emplace_back(
      "Location", target.substr(0, query) + "/" + (query == target.npos ? std::string() : target.substr(query)));
  return response;
}

/// What of the file is asked for; sets status and headers of the answer.
std::optional<runtime::byte_range> part_of(const runtime::http_request& request, std::string_view etag, size_t size,
                                           runtime::http_response& response) {
  const auto if_range = request.header("If-Range");
  auto range =
      if_range.empty() || if_range == etag ? runtime::parse_range(request.header("Range"), size) : std::nullopt;
  if (!range) {
    if (size <= static_files::bytes_max) return runtime::byte_range{0, size};
    response =
        json_error(403, fmt::format("the file is longer than {} bytes: ask for a range", static_files::bytes_max));
    return std::nullopt;
  }
  if (range->count == 0) {
    response = json_error(416, "the range lies outside of the file");
    response.headers.emplace_back("Content-Range", fmt::format("bytes */{}", size));
    return std::nullopt;
  }
  range->count = std::min(range->count, static_files::bytes_max);
  response.status = 206;
  response.headers.emplace_back("Content-Range",
                                fmt::format("bytes {}-{}/{}", range->first, range->first + range->count - 1, size));
  return range;
}

bool read_part(int fd, runtime::byte_range part, std::string& into) {
  into.resize(part.count);
  for (size_t done = 0; done < part.count;) {
    const auto got = ::pread(fd, into.data() + done, part.count - done, static_cast<off_t>(part.first + done));
    if (got <= 0) return false;  // it has become shorter, or the disk fails
    done += static_cast<size_t>(got);
  }
  return true;
}

runtime::http_response with_file(const runtime::http_request& request, const descriptor& file, const struct stat& info,
                                 std::string_view real_path) {
  runtime::http_response response;
  const auto size = static_cast<size_t>(info.st_size);
  const auto modified = http_date(info.st_mtim.tv_sec);
  const auto etag = fmt::format("\"{:x}.{:x}-{:x}\"", info.st_mtim.tv_sec, info.st_mtim.tv_nsec, size);
  response.content_type = runtime::content_type_of(real_path);
  response.headers = {{"ETag", etag},
                      {"Last-Modified", modified},
                      {"Cache-Control", "no-cache"},
                      {"Accept-Ranges", "bytes"},
                      {"X-Content-Type-Options", "nosniff"}};
  const auto known = request.header("If-None-Match");
  if (known.empty() ? request.header("If-Modified-Since") == modified : runtime::names_etag(known, etag)) {
    response.status = 304;
    return response;
  }
  const auto part = part_of(request, etag, size, response);
  if (part && !read_part(file.get(), *part, response.body)) return json_error(503, "the file cannot be read now");
  return response;
}

}  // namespace

bool static_files::available() const {
  struct stat info{};
  return !folder_.empty() && ::stat(folder_.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::optional<runtime::http_response> static_files::operator()(const runtime::http_request& request) const {
  if (folder_.empty() || (request.method != "GET" && request.method != "HEAD") || !is_plain(request.path))
    return std::nullopt;
  const auto root = look_at(folder_);
  auto root_path = root ? root.real_path() : std::string();
  if (root_path.empty()) return std::nullopt;
  if (!root_path.ends_with('/')) root_path += '/';

  auto seen = look_at(folder_ + request.path);
  struct stat info{};
  if (!seen || ::fstat(seen.get(), &info) != 0) return std::nullopt;
  const bool is_folder = S_ISDIR(info.st_mode);
  const auto chosen = is_folder ? look_at(seen.link() + "/index.html") : std::move(seen);
  if (!chosen || ::fstat(chosen.get(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  const auto real = chosen.real_path();
  if (!real.starts_with(root_path)) return std::nullopt;
  if (is_folder && !request.path.ends_with('/')) return to_folder(request);

  const descriptor file(::open(chosen.link().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return std::nullopt;  // not ours to read
  return with_file(request, file, info, real);
}

}  // namespace sluice::admin
