#pragma once

#include <span>
#include <string_view>

namespace sluice::web_assets {

/// One file of the pages that the binary carries (web/, built by scripts/build-web.sh, put in by
/// cmake/web_assets.cmake).
struct asset {
  std::string_view path;          ///< `/index.html`, `/assets/index-B1x.js`
  std::string_view content_type;  ///< with its charset
  std::string_view hash;          ///< of the content, in hex
  bool immutable = false;         ///< the path has a hash of the content in it: it never means anything else
  std::string_view body;
  std::string_view gzip;  ///< the same compressed; empty where that gains nothing
};

/// All of them. Any thread; they live as long as the process.
std::span<const asset> all_assets();
/// By its exact path, or null. `/` is not a path of a file.
const asset* find_asset(std::string_view path);

}  // namespace sluice::web_assets
