#pragma once

#include <string>

#include "base/result.hpp"

namespace sluice::roles {

/// What an operator asks of a running proxy: `sluice explain`, `sluice drain`.
struct operate_config {
  enum class what_to_do : uint8_t { explain, drain, undo_drain };
  what_to_do what{};
  std::string subject;  ///< the stream's name, or the origin's server id
  std::string api;      ///< `http://host:port` of the proxy's system API
  std::string token;    ///< empty: none
  bool json = false;    ///< print the answer as it came
};

/// Asks, and returns what is to be printed. An error's text says what to do; its reason is of no matter.
base::result<std::string> run_operation(const operate_config& config);

/// The answers of the API as people read them (for tests). Error: what is no such answer.
base::result<std::string> explanation_text(const std::string& body);
base::result<std::string> drain_text(const std::string& body);

}  // namespace sluice::roles
