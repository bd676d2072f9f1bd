#include "app/yaml.hpp"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>

namespace sluice::app {
namespace {

base::result<std::string> as_text(const std::string& key, const YAML::Node& value) {
  const auto refuse = [&] {
    return base::fail("bad_yaml",
                      fmt::format("line {}: {}: want a value or a list of values", value.Mark().line + 1, key));
  };
  if (value.IsScalar()) return value.Scalar();
  if (!value.IsSequence()) return refuse();
  std::string joined;
  for (const auto& element : value) {
    if (!element.IsScalar()) return refuse();
    joined += fmt::format("{}{}", joined.empty() ? "" : ",", element.Scalar());
  }
  return joined;
}

}  // namespace

base::result<std::vector<std::pair<std::string, std::string>>> parse_yaml_settings(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> out;
  try {
    const auto root = YAML::Load(text);
    if (!root || root.IsNull()) return out;
    if (!root.IsMap()) return base::fail("bad_yaml", "line 1: want lines of the form key: value");
    for (const auto& entry : root) {
      if (!entry.first.IsScalar()) return base::fail("bad_yaml", "want lines of the form key: value");
      const auto& key = entry.first.Scalar();
      if (std::any_of(out.begin(), out.end(), [&](const auto& seen) { return seen.first == key; })) {
        return base::fail("bad_yaml", fmt::format("line {}: {} stands there twice", entry.first.Mark().line + 1, key));
      }
      if (entry.second.IsNull()) continue;
      auto value = as_text(key, entry.second);
      if (!value) return tl::unexpected(value.error());
      out.emplace_back(key, std::move(*value));
    }
  } catch (const YAML::Exception& e) {
    return base::fail("bad_yaml", fmt::format("line {}: {}", e.mark.line + 1, e.msg));
  }
  return out;
}

}  // namespace sluice::app
