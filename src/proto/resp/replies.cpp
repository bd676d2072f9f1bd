#include "proto/resp/replies.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "proto/resp/command.hpp"

namespace sluice::resp {
namespace {

constexpr std::pair<std::string_view, error_kind> codes[] = {
    {"MOVED", error_kind::moved},         {"ASK", error_kind::ask},           {"CLUSTERDOWN", error_kind::cluster_down},
    {"TRYAGAIN", error_kind::try_again},  {"BUSY", error_kind::try_again},    {"NOREPLICAS", error_kind::try_again},
    {"READONLY", error_kind::read_only},  {"LOADING", error_kind::loading},   {"MASTERDOWN", error_kind::loading},
    {"NOAUTH", error_kind::no_auth},      {"WRONGPASS", error_kind::no_auth}, {"NOPERM", error_kind::no_auth},
    {"DENIED", error_kind::no_auth},  // protected mode
    {"NOSCRIPT", error_kind::no_script},  {"NOPROTO", error_kind::no_proto},  {"NOGOODSLAVE", error_kind::no_master},
    {"IDONTKNOW", error_kind::no_master}, {"INPROG", error_kind::try_again},  {"OOM", error_kind::full},
    {"MISCONF", error_kind::full},
};

tl::unexpected<base::error> bad_reply(std::string text) { return base::fail("bad_reply", std::move(text)); }

template <typename N>
std::optional<N> parse_number(std::string_view text) {
  N n{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional(n) : std::nullopt;
}

std::optional<uint16_t> to_port(std::optional<int64_t> n) {
  return n && *n > 0 && *n <= UINT16_MAX ? std::optional(static_cast<uint16_t>(*n)) : std::nullopt;
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty() && words.size() < 8) {
    const size_t end = std::min(text.find(' '), text.size());
    if (end > 0) words.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

std::optional<host_port> to_host_port(const value& host, const value& port) {
  const auto number = to_port(port.number());
  if (!number || !(host.is_string() || host.is_null())) return std::nullopt;
  // Redis 7 says "?" for a server whose preferred name is not set.
  return host_port{host.text == "?" ? std::string() : host.text, *number};
}

}  // namespace

std::string_view error_code(std::string_view text) {
  const auto word = text.substr(0, text.find(' '));
  const bool fits = !word.empty() && word.size() <= 32 &&
                    std::ranges::all_of(word, [](char c) { return (c >= 'A' && c <= 'Z') || c == '_'; });
  return fits ? word : std::string_view("ERR");
}

error_kind kind_of_error(std::string_view text) {
  const auto code = error_code(text);
  for (const auto& [name, kind] : codes)
    if (code == name) return kind;
  if (code != "ERR") return error_kind::other;
  if (text.starts_with("ERR unknown command")) return error_kind::unknown_command;
  if (text.starts_with("ERR max number of clients")) return error_kind::full;
  // Before Redis 7 a script's own error hides the one that it met.
  if (text.starts_with("ERR Error running script") && text.find("-READONLY ") != std::string_view::npos)
    return error_kind::read_only;
  return error_kind::other;
}

std::string host_port::to_string() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

std::optional<redirection> parse_redirection(std::string_view text) {
  const auto words = words_of(text);
  if (words.size() != 3 || (words[0] != "MOVED" && words[0] != "ASK")) return std::nullopt;
  const auto slot = parse_number<uint16_t>(words[1]);
  const size_t colon = words[2].rfind(':');
  if (!slot || *slot >= slot_count || colon == std::string_view::npos) return std::nullopt;
  const auto port = parse_number<uint16_t>(words[2].substr(colon + 1));
  if (!port || *port == 0) return std::nullopt;
  auto host = words[2].substr(0, colon);
  if (host == "?") host = {};
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return redirection{*slot, {std::string(host), *port}};
}

base::result<std::vector<slot_range>> parse_cluster_slots(const value& reply) {
  if (!reply.is_list()) return bad_reply("CLUSTER SLOTS: not a list");
  std::vector<slot_range> ranges;
  for (const auto& entry : reply.elements) {
    if (!entry.is_list() || entry.elements.size() < 3) return bad_reply("CLUSTER SLOTS: a range without a master");
    const auto first = entry.elements[0].number(), last = entry.elements[1].number();
    const auto& node = entry.elements[2];
    if (!first || !last || *first < 0 || *first > *last || *last >= slot_count)
      return bad_reply("CLUSTER SLOTS: a range that is none");
    if (!node.is_list() || node.elements.size() < 2) return bad_reply("CLUSTER SLOTS: a server without an address");
    auto master = to_host_port(node.elements[0], node.elements[1]);
    if (!master) return bad_reply("CLUSTER SLOTS: an address that is none");
    ranges.push_back({static_cast<uint16_t>(*first), static_cast<uint16_t>(*last), std::move(*master)});
  }
  return ranges;
}

base::result<std::optional<host_port>> parse_master_address(const value& reply) {
  if (reply.is_null()) return std::nullopt;
  if (!reply.is_list() || reply.elements.size() != 2) return bad_reply("a master's address that is none");
  auto address = to_host_port(reply.elements[0], reply.elements[1]);
  if (!address || address->host.empty()) return bad_reply("a master's address that is none");
  return address;
}

std::optional<switched_master> parse_switch_master(std::string_view message) {
  const auto words = words_of(message);
  if (words.size() != 5) return std::nullopt;
  const auto from = to_port(parse_number<int64_t>(words[2])), to = to_port(parse_number<int64_t>(words[4]));
  if (!from || !to) return std::nullopt;
  return switched_master{std::string(words[0]), {std::string(words[1]), *from}, {std::string(words[3]), *to}};
}

server_role parse_role_name(std::string_view name) {
  if (name == "master") return server_role::master;
  if (name == "slave" || name == "replica") return server_role::replica;
  return name == "sentinel" ? server_role::sentinel : server_role::unknown;
}

server_role parse_role(const value& reply) {
  const bool named = reply.is_list() && !reply.elements.empty() && reply.elements[0].is_string();
  return named ? parse_role_name(reply.elements[0].text) : server_role::unknown;
}

}  // namespace sluice::resp
