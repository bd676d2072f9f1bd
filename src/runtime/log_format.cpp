#include "runtime/log_format.hpp"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <iterator>

namespace sluice::runtime {

namespace {

constexpr char32_t replacement = 0xFFFD;

/// Takes one code point off the front of `text`; U+FFFD and one byte for what is not UTF-8 (RFC 3629).
char32_t take_code_point(std::string_view& text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  const size_t size = lead < 0x80             ? 1
                      : (lead & 0xE0) == 0xC0 ? 2
                      : (lead & 0xF0) == 0xE0 ? 3
                      : (lead & 0xF8) == 0xF0 ? 4
                                              : 0;
  constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  char32_t point = size == 1 ? lead : size == 0 ? 0 : lead & (0x7Fu >> size);
  bool valid = size != 0 && size <= text.size();
  for (size_t i = 1; valid && i < size; ++i) {
    valid = (byte(i) & 0xC0) == 0x80;
    point = point << 6 | (byte(i) & 0x3Fu);
  }
  valid = valid && point >= smallest[size] && point <= 0x10FFFF && !(point >= 0xD800 && point <= 0xDFFF);
  text.remove_prefix(valid ? size : 1);
  return valid ? point : replacement;
}

void append_utf8(std::string& out, char32_t point) {
  const auto put = [&](char32_t bits) { out.push_back(static_cast<char>(bits)); };
  if (point < 0x80) return put(point);
  if (point < 0x800) {
    put(0xC0 | point >> 6);
  } else {
    if (point < 0x10000) {
      put(0xE0 | point >> 12);
    } else {
      put(0xF0 | point >> 18);
      put(0x80 | (point >> 12 & 0x3F));
    }
    put(0x80 | (point >> 6 & 0x3F));
  }
  put(0x80 | (point & 0x3F));
}

bool must_escape(char32_t point) {
  return point < 0x20 || (point >= 0x7F && point <= 0x9F) || point == 0x2028 || point == 0x2029;
}

/// Between quotes, in JSON's escapes (RFC 8259 section 7), which serve the text form as well.
void append_quoted(std::string& out, std::string_view value) {
  const bool cut = value.size() > log_value_bytes_max;
  size_t left = cut ? value.size() - log_value_bytes_max : 0;
  out.push_back('"');
  while (value.size() > left) {
    const char32_t point = take_code_point(value);
    if (point == '"' || point == '\\') {
      out.push_back('\\');
      append_utf8(out, point);
    } else if (point == '\n') {
      out += "\\n";
    } else if (must_escape(point)) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<uint32_t>(point));
    } else {
      append_utf8(out, point);
    }
  }
  if (cut) out += "…";
  out.push_back('"');
}

bool is_bare(std::string_view value) {
  return value.size() <= log_value_bytes_max && std::all_of(value.begin(), value.end(), [](char c) {
           return c > ' ' && c < 0x7F && c != '"' && c != '=' && c != '\\';
         });
}

/// False for what fmt writes of infinities and NaN, which JSON has no number for.
bool is_json_literal(const base::log_field& field) {
  if (!field.number) return false;
  if (field.value == "true" || field.value == "false") return true;
  return field.value.find_first_not_of("0123456789+-.e") == std::string::npos;
}

void append_text(std::string& line, std::span<const base::log_field> fields) {
  for (const auto& field : fields) {
    if (field.value.empty()) continue;
    line.push_back(' ');
    line += field.key;
    line.push_back('=');
    if (is_bare(field.value)) {
      line += field.value;
    } else {
      append_quoted(line, field.value);
    }
  }
}

void append_json(std::string& line, std::span<const base::log_field> fields) {
  for (const auto& field : fields) {
    if (field.value.empty()) continue;
    line.push_back(',');
    append_quoted(line, field.key);
    line.push_back(':');
    if (is_json_literal(field)) {
      line += field.value;
    } else {
      append_quoted(line, field.value);
    }
  }
}

}  // namespace

std::string_view to_string(base::log_level level) {
  switch (level) {
    case base::log_level::debug:
      return "debug";
    case base::log_level::info:
      return "info";
    case base::log_level::warn:
      return "warn";
    case base::log_level::error:
      return "error";
  }
  return "error";
}

std::string format_timestamp(std::chrono::system_clock::time_point at) {
  using namespace std::chrono;
  const auto seconds_part = floor<seconds>(at);
  const auto milliseconds_part = duration_cast<milliseconds>(at - seconds_part).count();
  const time_t seconds_value = system_clock::to_time_t(seconds_part);
  tm utc{};
  gmtime_r(&seconds_value, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, milliseconds_part);
}

std::string format_log_line(log_format format, std::chrono::system_clock::time_point at, base::log_level level,
                            std::string_view event, std::span<const base::log_field> common,
                            std::span<const base::log_field> fields) {
  std::string line;
  if (format == log_format::text) {
    line = fmt::format("{} {:<5} {}", format_timestamp(at), to_string(level), event);
    append_text(line, common);
    append_text(line, fields);
  } else {
    line = fmt::format(R"({{"ts":"{}","level":"{}","event":)", format_timestamp(at), to_string(level));
    append_quoted(line, event);
    append_json(line, common);
    append_json(line, fields);
    line.push_back('}');
  }
  line.push_back('\n');
  return line;
}

}  // namespace sluice::runtime
