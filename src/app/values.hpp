#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/endpoint.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "proto/resp/replies.hpp"

/// From the text of a setting to its value. Pure. Every error has the reason `bad_value` and a text that says what is
/// allowed, to be put after the name of the setting: `want a duration such as …`.
namespace sluice::app {

/// Go's duration text (time.ParseDuration), without a sign: `300s`, `1m30s`, `500ms`, `1.5h`, `0`.
base::result<base::duration> parse_duration(std::string_view text);
/// The shortest such text, in units of h, m, s, ms, us, ns.
std::string to_text(base::duration d);

/// Bytes: `4096`, `512k`, `8MiB` (k, m, g, KiB, MiB, GiB: powers of 1024), `8MB` (kB, MB, GB: powers of 1000).
base::result<uint64_t> parse_size(std::string_view text);

/// A whole number from `min` to `max`.
base::result<uint64_t> parse_number(std::string_view text, uint64_t min, uint64_t max);

/// `on`, `off` and their usual synonyms (true/false, yes/no, 1/0), in any case.
base::result<bool> parse_switch(std::string_view text);

/// `PORT` (every address), `:PORT`, `IP:PORT` or `[IPV6]:PORT`; port 0 lets the kernel choose.
base::result<base::endpoint> parse_listen(std::string_view text);

/// `NAME:PORT`, `IP:PORT` or `[IPV6]:PORT`; the port may not be 0.
base::result<resp::host_port> parse_host_port(std::string_view text);

base::result<base::ip_address> parse_address(std::string_view text);

/// The parts of a comma separated list, without blanks and empty parts.
std::vector<std::string> split_list(std::string_view text);

std::string_view trim(std::string_view text);

/// The one of `known` that `name` is probably meant to be, by edit distance; empty if none is near.
std::string closest(std::string_view name, const std::vector<std::string>& known);

}  // namespace sluice::app
