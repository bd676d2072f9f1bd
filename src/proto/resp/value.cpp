#include "proto/resp/value.hpp"

#include <fmt/format.h>

#include <charconv>

namespace sluice::resp {
namespace {

constexpr size_t shown_bytes_max = 200;

void show(std::string& out, const value& v) {
  if (out.size() > shown_bytes_max) return;
  switch (v.type) {
    case kind::null:
      out += "null";
      return;
    case kind::integer:
      out += fmt::format("{}", v.integer);
      return;
    case kind::boolean:
      out += v.integer ? "true" : "false";
      return;
    case kind::real:
      out += fmt::format("{}", v.real);
      return;
    case kind::big_number:
      out += v.text.substr(0, shown_bytes_max);
      return;
    case kind::error:
    case kind::bulk_error:
      out += fmt::format("error({})", std::string_view(v.text).substr(0, shown_bytes_max));
      return;
    case kind::simple_string:
    case kind::bulk:
    case kind::verbatim:
      out += fmt::format("\"{}\"", std::string_view(v.text).substr(0, shown_bytes_max));
      return;
    case kind::array:
    case kind::map:
    case kind::set:
    case kind::push:
      break;
  }
  out += v.type == kind::map ? '{' : v.type == kind::push ? '>' : v.type == kind::set ? '~' : '[';
  for (const auto& e : v.elements) {
    if (&e != v.elements.data()) out += ", ";
    show(out, e);
  }
  out += v.type == kind::map ? '}' : ']';
}

}  // namespace

std::optional<int64_t> value::number() const {
  if (type == kind::integer) return integer;
  if (!is_string()) return std::nullopt;
  int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty() ? std::optional(n) : std::nullopt;
}

const value* value::find(std::string_view key) const {
  if (type != kind::map && type != kind::array) return nullptr;
  for (size_t i = 0; i + 1 < elements.size(); i += 2)
    if (elements[i].is_string() && elements[i].text == key) return &elements[i + 1];
  return nullptr;
}

value make_text(kind type, std::string_view text) {
  value v;
  v.type = type;
  v.text = text;
  return v;
}

value make_integer(int64_t n) {
  value v;
  v.type = kind::integer;
  v.integer = n;
  return v;
}

value make_aggregate(kind type, std::vector<value> elements) {
  value v;
  v.type = type;
  v.elements = std::move(elements);
  return v;
}

std::string to_string(const value& v) {
  std::string out;
  show(out, v);
  if (out.size() > shown_bytes_max) out = out.substr(0, shown_bytes_max) + "…";
  return out;
}

}  // namespace sluice::resp
