#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cluster/core/ownership.hpp"

namespace sluice::cluster {

/// An epoch as the scripts in the store compare it: two numbers of 20 digits each, so that texts sort as epochs do
/// (a script's own numbers hold 53 bits).
std::string sortable_text(const epoch& e);
std::optional<epoch> parse_sortable(std::string_view text);

/// The value of an owner key, JSON: origin (its id), server (its server key, as in SRS's url key), epoch (sortable),
/// proxy, started_ms (a text), published.
std::string owner_json(const owner_record& record, std::string_view server_key);
/// Error reason: bad_record.
base::result<owner_record> parse_owner_json(std::string_view text);

}  // namespace sluice::cluster
