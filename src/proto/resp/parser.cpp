#include "proto/resp/parser.hpp"

#include <algorithm>
#include <charconv>

namespace sluice::resp {
namespace {

tl::unexpected<base::error> bad(std::string text) { return base::fail("bad_resp", std::move(text)); }
tl::unexpected<base::error> too_large(std::string text) { return base::fail("resp_too_large", std::move(text)); }

template <typename N>
std::optional<N> parse_number(std::string_view text) {
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  N n{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional(n) : std::nullopt;
}

bool is_big_number(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

/// Values that are one line.
base::result<value> line_value(char marker, std::string_view text) {
  value v;
  switch (marker) {
    case '+':
      return make_text(kind::simple_string, text);
    case '-':
      return make_text(kind::error, text);
    case ':':
      if (const auto n = parse_number<int64_t>(text)) return make_integer(*n);
      return bad("an integer that cannot be read");
    case '_':
      if (!text.empty()) return bad("a null with a value");
      return v;
    case '#':
      if (text != "t" && text != "f") return bad("a boolean that is neither t nor f");
      v.type = kind::boolean;
      v.integer = text == "t" ? 1 : 0;
      return v;
    case ',':
      v.type = kind::real;
      if (const auto d = parse_number<double>(text)) {
        v.real = *d;
        return v;
      }
      return bad("a double that cannot be read");
    case '(':
      if (!is_big_number(text)) return bad("a big number that cannot be read");
      return make_text(kind::big_number, text);
    default:
      return bad("a reply of an unknown type");
  }
}

std::optional<kind> body_kind(char marker) {
  switch (marker) {
    case '$':
      return kind::bulk;
    case '!':
      return kind::bulk_error;
    case '=':
      return kind::verbatim;
    default:
      return std::nullopt;
  }
}

std::optional<kind> aggregate_kind(char marker) {
  switch (marker) {
    case '*':
      return kind::array;
    case '%':
    case '|':
      return kind::map;
    case '~':
      return kind::set;
    case '>':
      return kind::push;
    default:
      return std::nullopt;
  }
}

}  // namespace

base::result<std::optional<value>> parser::read(base::bytes_view& in) {
  while (!in.empty()) {
    if (auto ok = in_body_ ? take_body(in) : take_line(in); !ok) return tl::unexpected(ok.error());
    if (done_) {
      reply_bytes_ = elements_ = 0;
      return std::exchange(done_, std::nullopt);
    }
  }
  return std::nullopt;
}

base::result<void> parser::take_line(base::bytes_view& in) {
  const auto* found = static_cast<const uint8_t*>(std::memchr(in.data(), '\n', in.size()));
  const size_t count = found ? static_cast<size_t>(found - in.data()) + 1 : in.size();
  if (line_.size() + count > limits_.line_bytes_max + 2) return too_large("a line that is too long");
  line_ += base::as_text(in.first(count));
  in = in.subspan(count);
  if (!found) return {};
  if (!line_.ends_with("\r\n")) return bad("a line that does not end in CRLF");
  reply_bytes_ += line_.size();
  if (reply_bytes_ > limits_.reply_bytes_max) return too_large("a reply that is too long");
  line_.resize(line_.size() - 2);
  auto ok = on_line();
  line_.clear();
  return ok;
}

base::result<void> parser::on_line() {
  if (line_.empty() || line_.find('\r') != std::string::npos) return bad("a line that is no header");
  const char marker = line_.front();
  const auto rest = std::string_view(line_).substr(1);
  if (const auto type = body_kind(marker)) {
    body_ = value{};
    body_.type = *type;
    return begin_body(rest);
  }
  if (aggregate_kind(marker)) return begin_aggregate(marker, rest);
  auto v = line_value(marker, rest);
  if (!v) return tl::unexpected(v.error());
  add(std::move(*v));
  return {};
}

base::result<void> parser::begin_body(std::string_view length) {
  if (length == "-1" && body_.type == kind::bulk) {
    add({});
    return {};
  }
  const auto size = parse_number<uint64_t>(length);
  if (!size) return bad("a length that cannot be read");
  if (*size > limits_.bulk_bytes_max || reply_bytes_ + *size + 2 > limits_.reply_bytes_max)
    return too_large("a string that is too long");
  reply_bytes_ += *size + 2;
  in_body_ = true;
  body_missing_ = *size + 2;
  return {};
}

base::result<void> parser::take_body(base::bytes_view& in) {
  const size_t count = std::min(in.size(), body_missing_);
  body_.text += base::as_text(in.first(count));
  in = in.subspan(count);
  body_missing_ -= count;
  return body_missing_ == 0 ? end_body() : base::result<void>{};
}

base::result<void> parser::end_body() {
  in_body_ = false;
  auto v = std::exchange(body_, {});
  if (!v.text.ends_with("\r\n")) return bad("a string that does not end in CRLF");
  v.text.resize(v.text.size() - 2);
  if (v.type == kind::verbatim) {
    if (v.text.size() < 4 || v.text[3] != ':') return bad("a verbatim string without a format");
    v.text.erase(0, 4);
  }
  add(std::move(v));
  return {};
}

base::result<void> parser::begin_aggregate(char marker, std::string_view count) {
  const auto type = *aggregate_kind(marker);
  if (count == "-1" && type == kind::array) {
    add({});
    return {};
  }
  const auto size = parse_number<uint64_t>(count);
  if (!size) return bad("a count that cannot be read");
  if (type == kind::push && !open_.empty()) return bad("a push inside another value");
  if (*size > limits_.elements_max) return too_large("a reply with too many elements");
  const size_t elements = type == kind::map ? *size * 2 : *size;
  elements_ += elements;
  if (elements_ > limits_.elements_max) return too_large("a reply with too many elements");
  const bool attribute = marker == '|';
  if (elements == 0) {
    if (!attribute) add(make_aggregate(type, {}));
    return {};
  }
  if (open_.size() >= limits_.depth_max) return too_large("a reply that is too deep");
  open_.push_back({make_aggregate(type, {}), elements, attribute});
  return {};
}

// A finished value goes into the innermost aggregate, and each that it completes into the next; attributes vanish.
void parser::add(value v) {
  while (!open_.empty()) {
    auto& inner = open_.back();
    if (!inner.attribute) inner.v.elements.push_back(std::move(v));
    if (--inner.missing > 0) return;
    v = std::move(inner.v);
    const bool attribute = inner.attribute;
    open_.pop_back();
    if (attribute) return;
  }
  done_ = std::move(v);
}

}  // namespace sluice::resp
