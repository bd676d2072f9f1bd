#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace sluice::base {

/// What went wrong. `reason` is a string literal in snake_case: the value of the `reason` label in metrics and logs.
/// `text` is for people: what, whose, and what to do.
struct error {
  std::string_view reason;
  std::string text;
};

template <typename T>
using result = tl::expected<T, error>;

/// `return fail("bad_chunk_size", "...")` from any function that returns a result.
[[nodiscard]] inline tl::unexpected<error> fail(std::string_view reason, std::string text = {}) {
  return tl::unexpected<error>(error{reason, std::move(text)});
}

}  // namespace sluice::base
