#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// What Redis answers: RESP2 and RESP3 (https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md).
namespace sluice::resp {

enum class kind : uint8_t {
  null,           ///< `_`, and RESP2's `$-1` and `*-1`
  simple_string,  ///< `+`
  error,          ///< `-`
  integer,        ///< `:`
  bulk,           ///< `$`
  array,          ///< `*`
  real,           ///< `,`
  boolean,        ///< `#`
  big_number,     ///< `(`
  bulk_error,     ///< `!`
  verbatim,       ///< `=`
  map,            ///< `%`
  set,            ///< `~`
  push,           ///< `>`: nobody asked for it
};

/// One reply. Which members mean something is said by `type`.
struct value {
  kind type = kind::null;
  std::string text;             ///< of strings, errors and big numbers; a verbatim string without its format
  int64_t integer = 0;          ///< of an integer; 1 and 0 of a boolean
  double real = 0;              ///< of a real
  std::vector<value> elements;  ///< of an aggregate; a map's are key, value, key, value …

  bool is_null() const { return type == kind::null; }
  bool is_error() const { return type == kind::error || type == kind::bulk_error; }
  bool is_string() const { return type == kind::bulk || type == kind::simple_string || type == kind::verbatim; }
  /// An array, set or push: what RESP2 would have as an array.
  bool is_list() const { return type == kind::array || type == kind::set || type == kind::push; }
  /// An integer, or the decimal number that a string is.
  std::optional<int64_t> number() const;
  /// The value of a text key of a map, or of a flat array of pairs (what RESP2 has for a map); nullptr if there is
  /// none.
  const value* find(std::string_view key) const;
  bool operator==(const value&) const = default;
};

value make_text(kind type, std::string_view text);
value make_integer(int64_t v);
value make_aggregate(kind type, std::vector<value> elements);

/// For logs and tests: one line, cut after about 200 bytes; e.g. `["a", 1, null]`.
std::string to_string(const value& v);

}  // namespace sluice::resp
