#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/buffer.hpp"
#include "base/result.hpp"
#include "proto/resp/value.hpp"

namespace sluice::resp {

struct limits {
  size_t bulk_bytes_max = 8u << 20;    ///< of one string
  size_t reply_bytes_max = 32u << 20;  ///< of one reply, with all that is in it
  size_t elements_max = 100'000;       ///< of one reply, at all depths
  size_t depth_max = 8;                ///< of aggregates in aggregates
  size_t line_bytes_max = 64 * 1024;   ///< of a line: simple strings and errors
};

/// Takes replies from a stream of bytes in pieces of any size. Nothing is allocated for what a length only claims.
/// Attributes (`|`) are read and dropped; streamed strings and aggregates (`$?`), which no Redis sends, are refused,
/// and so is a push inside another value.
class parser {
 public:
  explicit parser(const limits& lim = {}) : limits_(lim) {}

  /// Takes bytes off the front of `in` up to the end of the next reply, and returns that; nothing if `in` is used up
  /// before. Errors are final: bad_resp, resp_too_large.
  base::result<std::optional<value>> read(base::bytes_view& in);
  /// Some bytes of a reply that is not complete have come.
  bool in_reply() const { return in_body_ || !line_.empty() || !open_.empty() || reply_bytes_ > 0; }

 private:
  struct aggregate {
    value v;
    size_t missing;  // elements
    bool attribute;
  };
  base::result<void> take_line(base::bytes_view& in);
  base::result<void> take_body(base::bytes_view& in);
  base::result<void> on_line();
  base::result<void> begin_body(std::string_view length);
  base::result<void> begin_aggregate(char marker, std::string_view count);
  base::result<void> end_body();
  void add(value v);

  limits limits_;
  std::string line_;
  bool in_body_ = false;     // of a string whose length is known
  value body_;               // its bytes so far
  size_t body_missing_ = 0;  // with the line end
  std::vector<aggregate> open_;
  std::optional<value> done_;
  size_t reply_bytes_ = 0, elements_ = 0;  // of the present reply
};

}  // namespace sluice::resp
