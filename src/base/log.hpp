#pragma once

#include <fmt/format.h>

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace sluice::base {

enum class log_level : uint8_t { debug, info, warn, error };

/// One key and its value. Values are raw text: a sink escapes what its format needs (control characters always).
struct log_field {
  std::string_view key;
  std::string value;
  bool number = false;

  log_field(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  log_field(std::string_view k, std::string_view v) : key(k), value(v) {}
  log_field(std::string_view k, const char* v) : key(k), value(v) {}
  template <typename N>
    requires std::is_arithmetic_v<N>
  log_field(std::string_view k, N v) : key(k), value(fmt::format("{}", v)), number(true) {}
};

/// Where structured log lines go. One event a line; the keys used across the program are session, peer, stream, origin,
/// reason, text. May be called from any thread.
class log_sink {
 public:
  virtual ~log_sink() = default;
  virtual bool enabled(log_level level) const = 0;
  virtual void write(log_level level, std::string_view event, std::span<const log_field> fields) = 0;

  void log(log_level level, std::string_view event, std::initializer_list<log_field> fields) {
    if (enabled(level)) write(level, event, std::span(fields.begin(), fields.size()));
  }
  void info(std::string_view event, std::initializer_list<log_field> fields) { log(log_level::info, event, fields); }
  void warn(std::string_view event, std::initializer_list<log_field> fields) { log(log_level::warn, event, fields); }
};

}  // namespace sluice::base
