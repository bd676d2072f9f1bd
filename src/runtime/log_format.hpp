#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>

#include "base/log.hpp"
#include "runtime/process.hpp"

namespace sluice::runtime {

/// A value longer than this many bytes is cut in a line, and ends in "…".
inline constexpr size_t log_value_bytes_max = 1024;

/// One log line with its newline: no byte of a value can end the line or forge a field, and the line is valid UTF-8.
///   text: 2026-11-22T13:00:00.123Z info  event key=value key="quoted value"
///   json: {"ts":"2026-11-22T13:00:00.123Z","level":"info","event":"event","key":"value","number":1}
/// Fields with an empty value are left out. Control characters, also U+0080..U+009F and the line separators U+2028/9,
/// are escaped; bytes that are not UTF-8 become U+FFFD.
std::string format_log_line(log_format format, std::chrono::system_clock::time_point at, base::log_level level,
                            std::string_view event, std::span<const base::log_field> common,
                            std::span<const base::log_field> fields);

std::string_view to_string(base::log_level level);

/// RFC 3339 in UTC with milliseconds.
std::string format_timestamp(std::chrono::system_clock::time_point at);

}  // namespace sluice::runtime
