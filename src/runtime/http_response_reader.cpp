#include "runtime/http_response_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/http.hpp>

#include "runtime/http_text.hpp"

namespace sluice::runtime {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

using body_sink = std::function<void(base::bytes_view)>;

/// A body whose bytes are told where they lie in what was fed. The value: whom, set while the parser is fed.
struct passing_body {
  using value_type = const body_sink*;
  class reader {
   public:
    template <bool isRequest, class Fields>
    reader(http::header<isRequest, Fields>&, value_type& to) : to_(to) {}
    void init(const boost::optional<uint64_t>&, error_code& error) { error = {}; }
    template <class Buffers>
    size_t put(const Buffers& buffers, error_code& error) {
      error = {};
      size_t count = 0;
      for (const boost::asio::const_buffer part : boost::beast::buffers_range_ref(buffers)) {
        (*to_)({static_cast<const uint8_t*>(part.data()), part.size()});
        count += part.size();
      }
      return count;
    }
    void finish(error_code& error) { error = {}; }

   private:
    value_type& to_;
  };
};
using parser = http::response_parser<passing_body>;

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
  size_t head_bytes = 0;      // that the parser has of the head, interim ones included
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
  while (!bytes.empty()) {
    if (s.seen && s.p->is_done()) return {};
    s.p->get().body() = &on_body;
    error_code error;
    const size_t used = s.p->put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
    bytes = bytes.subspan(used);
    if (!s.seen) s.head_bytes += used;
    if (error == http::error::need_more) {
      if (used == 0) break;
      continue;
    }
    if (error) return s.fail(error);
    if (s.p->is_header_done() && !s.seen) {
      if (s.head_bytes > s.header_bytes_max) return s.fail(http::error::header_limit);
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
  if ((s.seen ? 0 : s.head_bytes) + s.rest.size() > s.header_bytes_max)
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
