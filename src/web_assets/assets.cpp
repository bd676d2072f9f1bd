#include "web_assets/assets.hpp"

#include <algorithm>

namespace sluice::web_assets {

const asset* find_asset(std::string_view path) {
  const auto all = all_assets();
  const auto found = std::find_if(all.begin(), all.end(), [&](const asset& a) { return a.path == path; });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace sluice::web_assets
