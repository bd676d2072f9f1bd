#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sluice::runtime {

/// Undoes %XX (RFC 3986 section 2.1). Nothing if a % is not followed by two digits or a byte is zero.
std::optional<std::string> percent_decode(std::string_view text);

/// A request target taken apart. `path` is percent-decoded and begins with / (or is "*"), `query` is raw, without `?`.
struct http_target {
  std::string path, query;
  std::string origin_form;  ///< of the target: path and query as they stand there, or "*"
  std::string authority;    ///< of an absolute form: takes the place of Host (section 3.2.2); else empty
};
/// Origin form, absolute form or `*` (RFC 9112 section 3.2). Nothing for what is none of them, for a bad escape, for
/// control characters, and for an authority that is empty or names a user (RFC 9110 sections 4.2.1 and 4.2.4).
std::optional<http_target> parse_http_target(std::string_view target);

/// Equal but for the case of ASCII letters.
bool equal_ignoring_case(std::string_view a, std::string_view b);

/// True for a non-empty token of RFC 9110 section 5.6.2: a method or a header name.
bool is_http_token(std::string_view text);
/// True for a value that a header may carry: no CR, LF or other control character but tab.
bool is_http_value(std::string_view text);

}  // namespace sluice::runtime
