#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sluice::cluster {

/// Valid UTF-8 (RFC 3629: no overlong forms, no surrogates) without control characters (C0, DEL, C1).
bool is_clean_text(std::string_view text);

/// Percent escapes decoded once (RFC 3986, 2.1); nothing if one is malformed.
std::optional<std::string> percent_decoded(std::string_view text);

}  // namespace sluice::cluster
