#include "app/setting.hpp"

namespace sluice::app {

std::string setting_table::flag(const setting& s) const {
  std::string out = "--" + s.name;
  std::replace(out.begin(), out.end(), '_', '-');
  return out;
}

std::string setting_table::variable(const setting& s) const {
  std::string out = prefix + s.name;
  for (auto& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

const setting* setting_table::by_name(std::string_view name) const {
  const auto found = std::find_if(settings.begin(), settings.end(), [&](const auto& s) { return s.name == name; });
  return found == settings.end() ? nullptr : &*found;
}

const setting* setting_table::by_variable(std::string_view name) const {
  const auto found = std::find_if(settings.begin(), settings.end(), [&](const auto& s) { return variable(s) == name; });
  return found == settings.end() ? nullptr : &*found;
}

void setting_table::set_default(std::string_view name, std::string text) {
  const auto row = std::find_if(settings.begin(), settings.end(), [&](const setting& s) { return s.name == name; });
  if (row != settings.end()) row->default_text = std::move(text);
}

void setting_table::remove(std::string_view name) {
  std::erase_if(settings, [&](const setting& s) { return s.name == name; });
}

namespace store {
namespace {

/// Parses with `parse`, stores in `into`.
template <typename T, typename Parse>
setting::setter parsed(T& into, Parse parse) {
  return [&into, parse](std::string_view text) -> base::result<void> {
    auto value = parse(text);
    if (!value) return tl::unexpected(value.error());
    into = static_cast<T>(*value);
    return {};
  };
}

base::result<uint16_t> parse_port(std::string_view text) {
  return parse_number(text, 1, 65535).map([](uint64_t n) { return static_cast<uint16_t>(n); });
}

/// As parsed(), but an empty text stands for nothing.
template <typename T, typename Parse>
setting::setter parsed_or_none(std::optional<T>& into, Parse parse) {
  return [&into, parse](std::string_view text) -> base::result<void> {
    if (text.empty()) {
      into.reset();
      return {};
    }
    auto value = parse(text);
    if (!value) return tl::unexpected(value.error());
    into = *value;
    return {};
  };
}

}  // namespace

setting::setter listen(roles::listen_address& into) { return parsed(into.at, parse_listen); }

setting::setter duration(base::duration& into, base::duration min, base::duration max) {
  return [&into, min, max](std::string_view text) -> base::result<void> {
    const auto value = parse_duration(text);
    if (!value) return tl::unexpected(value.error());
    if (*value < min || *value > max) {
      return base::fail("bad_value", fmt::format("want a duration from {} to {}", to_text(min), to_text(max)));
    }
    into = *value;
    return {};
  };
}

setting::setter size(size_t& into, size_t min, size_t max) {
  return [&into, min, max](std::string_view text) -> base::result<void> {
    const auto value = parse_size(text);
    if (!value) return tl::unexpected(value.error());
    if (*value < min || *value > max) {
      return base::fail("bad_value", fmt::format("want a number of bytes from {} to {}", min, max));
    }
    into = *value;
    return {};
  };
}

setting::setter on_off(bool& into) { return parsed(into, parse_switch); }

setting::setter text(std::string& into) {
  return [&into](std::string_view value) -> base::result<void> {
    into = value;
    return {};
  };
}

setting::setter texts(std::vector<std::string>& into) {
  return [&into](std::string_view value) -> base::result<void> {
    into = split_list(value);
    return {};
  };
}

setting::setter host_ports(std::vector<resp::host_port>& into) {
  return [&into](std::string_view text) -> base::result<void> {
    std::vector<resp::host_port> all;
    for (const auto& part : split_list(text)) {
      auto one = parse_host_port(part);
      if (!one) return base::fail("bad_value", fmt::format("{}: {}", part, one.error().text));
      all.push_back(std::move(*one));
    }
    into = std::move(all);
    return {};
  };
}

setting::setter networks(std::vector<base::network>& into) {
  return [&into](std::string_view text) -> base::result<void> {
    std::vector<base::network> parsed_networks;
    for (const auto& part : split_list(text)) {
      const auto network = base::network::parse(part);
      if (!network) {
        return base::fail("bad_value", fmt::format("{}: want networks such as 10.0.0.0/8,fd00::/8", part));
      }
      parsed_networks.push_back(*network);
    }
    into = std::move(parsed_networks);
    return {};
  };
}

setting::setter addresses(std::vector<base::ip_address>& into) {
  return [&into](std::string_view text) -> base::result<void> {
    std::vector<base::ip_address> all;
    for (const auto& part : split_list(text)) {
      const auto one = parse_address(part);
      if (!one) return base::fail("bad_value", fmt::format("{}: {}", part, one.error().text));
      all.push_back(*one);
    }
    into = std::move(all);
    return {};
  };
}

setting::setter address(base::ip_address& into) { return parsed(into, parse_address); }
setting::setter address(std::optional<base::ip_address>& into) { return parsed_or_none(into, parse_address); }
setting::setter port(uint16_t& into) { return parsed(into, parse_port); }
setting::setter port(std::optional<uint16_t>& into) { return parsed_or_none(into, parse_port); }

}  // namespace store
}  // namespace sluice::app
