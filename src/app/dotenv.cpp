#include "app/dotenv.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "app/values.hpp"

namespace sluice::app {
namespace {

bool is_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; };
  return !name.empty() && letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

/// The value in quotes at the front of `text`, which is advanced behind the closing quote; false if there is none.
bool take_quoted(std::string_view& text, std::string& value) {
  const char quote = text.front();
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == quote) {
      text.remove_prefix(i + 1);
      return true;
    }
    if (quote == '"' && text[i] == '\\' && i + 1 < text.size()) {
      const char escaped = text[++i];
      if (escaped == 'n')
        value += '\n';
      else if (escaped == 't')
        value += '\t';
      else
        value += escaped;
      continue;
    }
    value += text[i];
  }
  return false;
}

/// An unquoted value: to the end of the line, or to a comment after a blank.
std::string_view unquoted(std::string_view line) {
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '#' && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) return trim(line.substr(0, i));
  }
  return trim(line);
}

}  // namespace

dotenv parse_dotenv(std::string_view text) {
  dotenv out;
  size_t line_number = 0;
  const auto end_of_line = [&] { return std::min(text.find('\n'), text.size()); };
  const auto warn = [&] { out.warnings.push_back(fmt::format(".env line {}: want NAME=value", line_number)); };
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // a byte order mark
  while (!text.empty()) {
    ++line_number;
    const auto line = text.substr(0, end_of_line());
    auto rest = trim(line);
    if (rest.starts_with("export ") || rest.starts_with("export\t")) rest = trim(rest.substr(7));
    const auto equals = rest.find('=');
    const auto name = trim(rest.substr(0, equals));
    if (rest.empty() || rest.front() == '#' || equals == rest.npos || !is_name(name)) {
      if (!rest.empty() && rest.front() != '#') warn();
      text.remove_prefix(std::min(line.size() + 1, text.size()));
      continue;
    }
    const size_t first_line = line_number;
    text.remove_prefix(static_cast<size_t>(rest.data() + equals + 1 - text.data()));
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    std::string value;
    if (!text.empty() && (text.front() == '"' || text.front() == '\'')) {
      const auto before = text;
      if (!take_quoted(text, value)) {
        warn();
        text = before;
      } else {
        const auto quoted = before.substr(0, before.size() - text.size());
        line_number += static_cast<size_t>(std::count(quoted.begin(), quoted.end(), '\n'));
        out.values.push_back({std::string(name), value, first_line});
      }
    } else {
      out.values.push_back({std::string(name), std::string(unquoted(text.substr(0, end_of_line()))), first_line});
    }
    text.remove_prefix(std::min(end_of_line() + 1, text.size()));
  }
  return out;
}

}  // namespace sluice::app
