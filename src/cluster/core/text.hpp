#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sluice::cluster {

/// Valid UTF-8 (RFC 3629: no overlong forms, no surrogates) without control characters (C0, DEL, C1).
bool is_clean_text(std::string_view text);
/// Whether an origin may have this id. Ids become parts of keys, labels and log lines: visible ASCII without what has a
/// meaning there, 128 bytes at most.
bool is_fine_id(std::string_view id);
/// Whether it may have this label: clean, 255 bytes at most.
bool is_fine_label(std::string_view label);

/// Percent escapes decoded once (RFC 3986, 2.1); nothing if one is malformed.
std::optional<std::string> percent_decoded(std::string_view text);

}  // namespace sluice::cluster
