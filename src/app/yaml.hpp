#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace sluice::app {

/// The keys and values at the top of a YAML document, in order: scalars as they are written, sequences of scalars
/// joined by commas; null values are left out. Nested maps, repeated keys and syntax errors fail with the reason
/// `bad_yaml` and a text naming the line.
base::result<std::vector<std::pair<std::string, std::string>>> parse_yaml_settings(const std::string& text);

}  // namespace sluice::app
