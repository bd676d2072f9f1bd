#include "app/load.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "app/dotenv.hpp"
#include "app/yaml.hpp"

namespace sluice::app {
namespace {

struct found_value {
  std::string value;
  std::string where;
};

/// What the sources hold for each setting, by variable; add() keeps what is there already, so go from the strongest to
/// the weakest.
class collector {
 public:
  collector(std::span<const setting_table* const> tables, load_report& report) : tables_(tables), report_(report) {}

  void add_flags(const std::map<std::string, std::string>& flags) {
    for (const auto& [name, value] : flags) {
      for (const auto* table : tables_) {
        const auto* s = table->variables_only ? nullptr : table->by_name(name);
        if (s) add(table->variable(*s), value, "from " + table->flag(*s));
      }
    }
  }

  void add_variable(const std::string& name, const std::string& value, const std::string& where, bool is_dotenv) {
    for (const auto* table : tables_) {
      if (!name.starts_with(table->prefix)) continue;
      if (!table->by_variable(name)) {
        if (!set_by_kubernetes(name, value)) report_.warnings.push_back(unknown_variable(*table, name, where));
      } else if (!value.empty()) {
        if (!is_dotenv && name.ends_with("_PORT") && value.starts_with("tcp://")) {
          report_.warnings.push_back(
              fmt::format("{}: \"{}\" looks as if Kubernetes had set it; only its port is used", name, value));
        }
        add(name, value, where);
      }
    }
  }

  void add_yaml(const sources& from) {
    const auto keys = parse_yaml_settings(from.yaml);
    if (!keys) {
      report_.errors.push_back(fmt::format("{}: {}", from.yaml_name, keys.error().text));
      return;
    }
    for (const auto& [key, value] : *keys) {
      bool known = false;
      for (const auto* table : tables_) {
        const auto* s = table->variables_only ? nullptr : table->by_name(key);
        if (!s) continue;
        known = true;
        add(table->variable(*s), value, fmt::format("from {} in {}", key, from.yaml_name));
      }
      if (!known) report_.errors.push_back(unknown_key(key, from.yaml_name));
    }
  }

  const std::map<std::string, found_value>& values() const { return values_; }

 private:
  void add(const std::string& variable, const std::string& value, const std::string& where) {
    values_.try_emplace(variable, found_value{value, where});
  }

  std::string unknown_key(const std::string& key, const std::string& file) const {
    std::vector<std::string> names;
    for (const auto* table : tables_) {
      if (table->variables_only) continue;
      for (const auto& s : table->settings) names.push_back(s.name);
    }
    const auto near = closest(key, names);
    return fmt::format("{}: unknown key {}{}", file, key, near.empty() ? "" : fmt::format("; did you mean {}?", near));
  }

  static std::string unknown_variable(const setting_table& table, const std::string& name, const std::string& where) {
    std::vector<std::string> names;
    for (const auto& s : table.settings) names.push_back(table.variable(s));
    const auto near = closest(name, names);
    return fmt::format("{} ({}) is no setting and is ignored{}", name, where,
                       near.empty() ? "" : fmt::format("; did you mean {}?", near));
  }

  std::span<const setting_table* const> tables_;
  load_report& report_;
  std::map<std::string, found_value> values_;
};

}  // namespace

bool set_by_kubernetes(std::string_view name, std::string_view value) {
  if (name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.find("_SERVICE_PORT_") != name.npos) {
    return true;
  }
  if (name.ends_with("_PORT") && value.find("://") != value.npos) return true;
  const auto port = name.rfind("_PORT_");
  // A service's port: …_PORT_1935_TCP, and …_TCP_PROTO, _PORT and _ADDR beside it (rfind may have met the latter
  // _PORT).
  const auto digits = port == name.npos ? std::string_view() : name.substr(port + 6);
  const auto number_end = digits.find_first_not_of("0123456789");
  if (number_end != 0 && number_end != digits.npos) {
    const auto protocol = digits.substr(number_end);
    return protocol.starts_with("_TCP") || protocol.starts_with("_UDP") || protocol.starts_with("_SCTP");
  }
  return false;
}

load_report load_settings(std::span<const setting_table* const> tables, const sources& from) {
  load_report report;
  collector found(tables, report);
  found.add_flags(from.flags);
  for (const auto& [name, value] : from.environment) found.add_variable(name, value, "from the environment", false);
  auto file = parse_dotenv(from.dotenv);
  report.warnings.insert(report.warnings.end(), file.warnings.begin(), file.warnings.end());
  for (auto line = file.values.rbegin(); line != file.values.rend(); ++line) {  // the last of a name counts
    found.add_variable(line->name, line->value, fmt::format("from .env line {}", line->line), true);
  }
  found.add_yaml(from);

  for (const auto* table : tables) {
    for (const auto& s : table->settings) {
      const auto variable = table->variable(s);
      const auto value = found.values().find(variable);
      if (value == found.values().end()) {
        if (s.default_text.empty()) continue;
        if (const auto applied = s.apply(s.default_text); !applied) {
          throw std::logic_error(fmt::format("default of {}: {}", variable, applied.error().text));
        }
        continue;
      }
      report.given[variable] = value->second.value;
      if (const auto applied = s.apply(value->second.value); !applied) {
        report.errors.push_back(fmt::format("{} ({}): \"{}\": {}", variable, value->second.where,
                                            s.secret ? "***" : value->second.value, applied.error().text));
      }
    }
  }
  return report;
}

}  // namespace sluice::app
