#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace sluice::runtime {

/// The status line and the headers of a response, as sent.
struct http_response_head {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;
  /// The first header of that name, or empty.
  std::string_view header(std::string_view name) const;
};

/// Takes the bytes of one HTTP/1.x response in pieces of any size: gives its head, then its body with the transfer
/// coding undone. For responses too long to be held (http_fetch() is for others). Beast behind it; no I/O.
class http_response_reader {
 public:
  /// `head_request`: the answer to HEAD has no body, whatever it says.
  explicit http_response_reader(bool head_request, size_t header_bytes_max = 64 * 1024);
  ~http_response_reader();

  /// `on_body` gets body bytes as they come, valid until it returns. Error (final): bad_response.
  base::result<void> feed(base::bytes_view bytes, const std::function<void(base::bytes_view)>& on_body);
  /// nullptr until it is there. Interim responses (1xx) are skipped.
  const http_response_head* head() const;
  /// The body has an end by itself, and it has come.
  bool done() const;
  /// The peer closed: true if the response may end so.
  bool finish();

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// Headers that speak of one connection and must not be passed on (RFC 9110 §7.6.1), those named in `connection`
/// included.
bool is_hop_by_hop(std::string_view name, std::string_view connection);

/// The bytes of a request without a body. Names and values must have been checked (is_http_token, is_http_value).
std::string http_request_text(std::string_view method, std::string_view target,
                              const std::vector<std::pair<std::string, std::string>>& headers);

}  // namespace sluice::runtime
