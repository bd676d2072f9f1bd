#pragma once

#include <optional>
#include <string>

#include "runtime/http_server.hpp"

namespace sluice::admin {

/// Serves the files of one folder (PROXY_STATIC_FILES) to GET and HEAD. A folder's `index.html` stands for it. Nothing
/// is served that does not lie in that folder once all symbolic links are followed (judged by what the kernel has
/// opened, not by the path), nor by a path with a part that begins with a dot. Files are read whole, on the caller's
/// thread: a response has at most `bytes_max`, and of a longer file only a Range can be had, in parts of that size.
class static_files {
 public:
  static constexpr size_t bytes_max = 8u << 20;
  static constexpr size_t path_bytes_max = 1024;

  /// `folder` empty: there is none. It is looked up at each request, so it may come and go.
  explicit static_files(std::string folder) : folder_(std::move(folder)) {}
  /// Whether there is such a folder now.
  bool available() const;
  /// Nothing for what it does not have. Any thread.
  std::optional<runtime::http_response> operator()(const runtime::http_request& request) const;

 private:
  std::string folder_;
};

}  // namespace sluice::admin
