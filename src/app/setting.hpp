#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/values.hpp"
#include "base/result.hpp"
#include "roles/config.hpp"

namespace sluice::app {

/// One row of a role's table. The table drives all else: the flag, the variable, the YAML key, `--help`, and the check
/// of docs/configuration.md.
struct setting {
  using setter = std::function<base::result<void>(std::string_view text)>;

  std::string_view group;        ///< the heading in `--help` and in the document
  std::string name;              ///< the YAML key: `rtmp_server`
  std::string_view placeholder;  ///< what `--help` shows as the value: `[IP:]PORT`
  std::string default_text;      ///< parsed like any other value; empty: left unset
  std::string_view doc;          ///< one sentence or two
  setter apply;                  ///< stores the value in the configuration that the table was made for
  bool secret = false;           ///< never printed, nor put on a command line
  bool list = false;             ///< the flag may be repeated, YAML may have a sequence
  bool bare = false;             ///< a switch whose flag alone means `on`
};

/// The settings of one role, bound to the configuration that they fill (which must outlive the table).
struct setting_table {
  std::string prefix;  ///< of the variables: `PROXY_`
  std::vector<setting> settings;
  bool variables_only = false;  ///< neither flags nor YAML keys: a table that another role passes on

  std::string flag(const setting& s) const;      ///< `--rtmp-server`
  std::string variable(const setting& s) const;  ///< `PROXY_RTMP_SERVER`
  const setting* by_name(std::string_view name) const;
  const setting* by_variable(std::string_view variable) const;
  /// Another default, for a role that is made of this one.
  void set_default(std::string_view name, std::string text);
  void remove(std::string_view name);
};

/// Setters for each kind of value; each keeps a reference to where the value goes.
namespace store {

setting::setter listen(roles::listen_address& into);
setting::setter duration(base::duration& into, base::duration min, base::duration max);
setting::setter size(size_t& into, size_t min, size_t max);
setting::setter on_off(bool& into);
setting::setter text(std::string& into);
setting::setter texts(std::vector<std::string>& into);
setting::setter networks(std::vector<base::network>& into);
setting::setter host_ports(std::vector<resp::host_port>& into);
setting::setter addresses(std::vector<base::ip_address>& into);
setting::setter address(base::ip_address& into);
setting::setter address(std::optional<base::ip_address>& into);  ///< empty text: none
setting::setter port(uint16_t& into);
setting::setter port(std::optional<uint16_t>& into);  ///< empty text: none

template <typename N>
setting::setter number(N& into, N min, N max) {
  return [&into, min, max](std::string_view text) -> base::result<void> {
    const auto value = parse_number(text, min, max);
    if (!value) return tl::unexpected(value.error());
    into = static_cast<N>(*value);
    return {};
  };
}

/// One of some words.
template <typename E>
setting::setter choice(E& into, std::vector<std::pair<std::string_view, E>> words) {
  return [&into, words = std::move(words)](std::string_view text) -> base::result<void> {
    std::string allowed;
    for (const auto& [word, value] : words) {
      if (word == text) {
        into = value;
        return {};
      }
      allowed += fmt::format("{}{}", allowed.empty() ? "" : ", ", word);
    }
    return base::fail("bad_value", fmt::format("want one of: {}", allowed));
  };
}

}  // namespace store

/// The tables. They differ from role to role only in their rows.
setting_table proxy_settings(roles::proxy_config& config);
setting_table origin_settings(roles::origin_config& config);
/// What `run` has beside the proxy's settings.
setting_table run_settings(roles::run_config& config);
/// Log settings, in every role's table.
void add_log_settings(setting_table& table, roles::common_config& config);

/// What the rows cannot see one by one: settings that need each other. Texts to print; empty if all is well.
std::vector<std::string> check_together(const roles::proxy_config& config);

}  // namespace sluice::app
