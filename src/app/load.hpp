#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "app/setting.hpp"

namespace sluice::app {

using variables = std::vector<std::pair<std::string, std::string>>;

/// All that a setting may come from, as text.
struct sources {
  std::map<std::string, std::string> flags;  ///< by the setting's name
  variables environment;
  std::string dotenv;     ///< the text of `.env`, or empty
  std::string yaml_name;  ///< how messages call the YAML file
  std::string yaml;       ///< its text, or empty
};

struct load_report {
  std::map<std::string, std::string> given;  ///< by variable: the values that came from any source
  std::vector<std::string> errors;           ///< each names the variable, the source, the value and what is allowed
  std::vector<std::string> warnings;
};

/// Fills the configurations behind `tables`: flag > environment > `.env` > YAML > default. An empty variable counts as
/// unset. Unknown YAML keys are errors; unknown variables with a table's prefix are warnings, and those that Kubernetes
/// makes for its services are passed over.
load_report load_settings(std::span<const setting_table* const> tables, const sources& from);

/// Whether a variable is one of those that Kubernetes (and Docker links) set for a service: PROXY_SERVICE_HOST,
/// PROXY_SERVICE_PORT_HTTP, PROXY_PORT=tcp://…, PROXY_PORT_1935_TCP_ADDR.
bool set_by_kubernetes(std::string_view name, std::string_view value);

}  // namespace sluice::app
