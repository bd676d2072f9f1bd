#include "runtime/http_message.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>

#include "runtime/http_text.hpp"

namespace sluice::runtime::http_inside {
namespace {

/// Headers that say how long the message is and what becomes of its connection.
bool is_ours(std::string_view name, bool has_type, bool has_length) {
  switch (name.size()) {
    case 10:
      return equal_ignoring_case(name, "connection");
    case 12:
      return has_type && equal_ignoring_case(name, "content-type");
    case 14:
      return has_length && equal_ignoring_case(name, "content-length");
    case 17:
      return equal_ignoring_case(name, "transfer-encoding");
    default:
      return false;
  }
}

void put_header(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

http_response error_response(int status, std::string_view text) {
  // The texts are literals of this server: nothing to escape.
  return {.status = status, .body = fmt::format(R"({{"code":{},"error":"{}"}})", status, text)};
}

refusal refusal_of(const error_code& error) {
  if (error == http::error::body_limit) return {413, "body_too_large", "the body is too large"};
  if (error == http::error::header_limit) return {431, "header_too_large", "the header is too large"};
  return {400, "bad_request", "not a valid HTTP request"};
}

std::optional<refusal> check_header(const http::request<http::string_body>& request) {
  const auto bad = [](std::string_view text) { return refusal{400, "bad_request", text}; };
  size_t codings = 0, lengths = 0, hosts = 0;
  for (const auto& field : request) {
    codings += field.name() == http::field::transfer_encoding;
    lengths += field.name() == http::field::content_length;
    hosts += field.name() == http::field::host;
  }
  if (request.version() != 10 && request.version() != 11) return refusal{505, "bad_request", "HTTP/1.0 or 1.1 only"};
  if (codings > 0) {
    if (lengths > 0) return bad("Content-Length with Transfer-Encoding");
    if (codings > 1 || request.version() != 11 ||
        !equal_ignoring_case(request[http::field::transfer_encoding], "chunked")) {
      return bad("Transfer-Encoding other than chunked");
    }
  }
  if (lengths > 1 ||
      (lengths == 1 && std::string_view(request[http::field::content_length]).find(',') != std::string_view::npos)) {
    return bad("more than one Content-Length");
  }
  if (hosts > 1 || (request.version() == 11 && hosts == 0)) return bad("exactly one Host header is needed");
  return std::nullopt;
}

bool convert(const http::request<http::string_body>& message, http_request& into) {
  auto target = parse_http_target(message.target());
  if (!target) return false;
  into.method = message.method_string();
  into.target = std::move(target->origin_form);
  into.path = std::move(target->path);
  into.query = std::move(target->query);
  into.headers.clear();
  into.headers.reserve(8);
  if (!target->authority.empty()) into.headers.emplace_back("Host", target->authority);
  for (const auto& field : message)
    if (target->authority.empty() || field.name() != http::field::host)
      into.headers.emplace_back(field.name_string(), field.value());
  return true;
}

std::string_view date_line::at(std::time_t now) {
  if (now != made_at_ || text_.empty()) {
    made_at_ = now;
    text_ = fmt::format("Date: {:%a, %d %b %Y %H:%M:%S} GMT\r\n", fmt::gmtime(now));
  }
  return text_;
}

void write_head(const http_response& response, std::optional<size_t> length, bool keep_alive, std::string_view date,
                std::string& out) {
  const auto status = static_cast<unsigned>(std::clamp(response.status, 100, 999));
  fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", status,
                 std::string_view(http::obsolete_reason(http::int_to_status(status))));
  const bool typed =
      !is_bodiless(response.status) && !response.content_type.empty() && is_http_value(response.content_type);
  bool dated = false;
  for (const auto& [name, value] : response.headers) {
    if (is_ours(name, typed, length.has_value()) || !is_http_token(name) || !is_http_value(value)) continue;
    dated |= name.size() == 4 && equal_ignoring_case(name, "date");
    put_header(out, name, value);
  }
  if (!dated) out += date;
  if (typed) put_header(out, "Content-Type", response.content_type);
  if (length) put_header(out, "Content-Length", fmt::format_int(*length).c_str());
  if (!keep_alive) put_header(out, "Connection", "close");
  out += "\r\n";
}

}  // namespace sluice::runtime::http_inside
