#include "runtime/http_response_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http.hpp>

#include "runtime/http_text.hpp"

namespace sluice::runtime {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;
using parser = http::response_parser<http::buffer_body>;

constexpr size_t body_piece_bytes = 64 * 1024;

}  // namespace

std::string_view http_response_head::header(std::string_view name) const {
  for (const auto& [n, value] : headers)
    if (equal_ignoring_case(n, name)) return value;
  return {};
}

struct http_response_reader::impl {
  impl(bool head, size_t header_max) : head_request(head), header_bytes_max(header_max) { begin(); }

  void begin() {
    p.emplace();
    p->header_limit(static_cast<uint32_t>(header_bytes_max));
    p->body_limit(boost::none);
    p->skip(head_request);
    p->eager(false);
  }

  base::result<void> fail(const error_code& e) const {
    return base::fail("bad_response", fmt::format("the server's answer is no HTTP response: {}", e.message()));
  }

  const bool head_request;
  const size_t header_bytes_max;
  std::optional<parser> p;
  std::vector<uint8_t> rest;  // bytes of the head or of a chunk's frame that are not whole yet
  std::optional<http_response_head> seen;
};

http_response_reader::http_response_reader(bool head_request, size_t header_bytes_max)
    : impl_(std::make_unique<impl>(head_request, header_bytes_max)) {}
http_response_reader::~http_response_reader() = default;

const http_response_head* http_response_reader::head() const { return impl_->seen ? &*impl_->seen : nullptr; }
bool http_response_reader::done() const { return impl_->seen && impl_->p->is_done(); }

bool http_response_reader::finish() {
  if (!impl_->seen) return false;
  if (impl_->p->is_done()) return true;
  error_code error;
  impl_->p->put_eof(error);
  return !error;
}

base::result<void> http_response_reader::feed(base::bytes_view bytes,
                                              const std::function<void(base::bytes_view)>& on_body) {
  auto& s = *impl_;
  std::vector<uint8_t> joined;
  if (!s.rest.empty()) {
    joined = std::move(s.rest);
    s.rest.clear();
    joined.insert(joined.end(), bytes.begin(), bytes.end());
    bytes = joined;
  }
  std::array<char, body_piece_bytes> piece;
  while (!bytes.empty()) {
    if (s.seen && s.p->is_done()) return {};
    if (s.p->is_header_done()) {
      auto& body = s.p->get().body();
      body.data = piece.data();
      body.size = piece.size();
    }
    error_code error;
    const size_t used = s.p->put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
    bytes = bytes.subspan(used);
    if (s.p->is_header_done() && s.seen) {
      const size_t got = piece.size() - s.p->get().body().size;
      if (got > 0) on_body({reinterpret_cast<const uint8_t*>(piece.data()), got});
    }
    if (error == http::error::need_more) {
      if (used == 0) break;
      continue;
    }
    if (error && error != http::error::need_buffer) return s.fail(error);
    if (s.p->is_header_done() && !s.seen) {
      const auto& message = s.p->get();
      if (message.result_int() < 200) {
        s.begin();
        continue;
      }
      http_response_head head;
      head.status = static_cast<int>(message.result_int());
      for (const auto& field : message) head.headers.emplace_back(field.name_string(), field.value());
      s.seen = std::move(head);
    }
  }
  s.rest.assign(bytes.begin(), bytes.end());
  if (s.rest.size() > s.header_bytes_max)
    return base::fail("bad_response", "the server's answer has no end of its header");
  return {};
}

bool is_hop_by_hop(std::string_view name, std::string_view connection) {
  constexpr std::string_view known[] = {
      "connection", "keep-alive",        "proxy-connection", "proxy-authenticate", "proxy-authorization", "te",
      "trailer",    "transfer-encoding", "upgrade"};
  if (std::any_of(std::begin(known), std::end(known), [&](auto k) { return equal_ignoring_case(k, name); }))
    return true;
  while (!connection.empty()) {
    const auto comma = connection.find(',');
    auto token = connection.substr(0, comma);
    connection = comma == std::string_view::npos ? std::string_view{} : connection.substr(comma + 1);
    while (!token.empty() && token.front() == ' ') token.remove_prefix(1);
    while (!token.empty() && token.back() == ' ') token.remove_suffix(1);
    if (equal_ignoring_case(token, name)) return true;
  }
  return false;
}

std::string http_request_text(std::string_view method, std::string_view target,
                              const std::vector<std::pair<std::string, std::string>>& headers) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\n", method, target);
  for (const auto& [name, value] : headers) fmt::format_to(std::back_inserter(text), "{}: {}\r\n", name, value);
  text += "\r\n";
  return text;
}

}  // namespace sluice::runtime
