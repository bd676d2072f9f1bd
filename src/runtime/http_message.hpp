#pragma once

#include <boost/beast/http.hpp>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/http_server.hpp"

// Inside of http_server: what its messages look like, without I/O.
namespace sluice::runtime::http_inside {

namespace http = boost::beast::http;
using boost::system::error_code;

struct refusal {
  int status;
  std::string_view reason;  // in the log
  std::string_view text;    // to the client
};

http_response error_response(int status, std::string_view text);
/// Of what the parser says.
refusal refusal_of(const error_code& error);
/// Rules that Beast leaves to its users: one way only to tell where a body ends (RFC 9112 section 6.3), one Host
/// (section 3.2), so that no other program can read the same bytes differently.
std::optional<refusal> check_header(const http::request<http::string_body>& request);
/// Fills all of `into` but its body and the ends of its connection; false if the target is not valid. A target in
/// absolute form becomes one in origin form, with its authority as Host.
bool convert(const http::request<http::string_body>& message, http_request& into);

inline bool is_bodiless(int status) { return status < 200 || status == 204 || status == 304; }
/// The header `Date` (RFC 9110 section 6.6.1) as a line with its end, made once a second.
class date_line {
 public:
  std::string_view at(std::time_t now);  ///< until the next call

 private:
  std::time_t made_at_ = 0;
  std::string text_;
};
/// Status line and headers. Those that would break the message are left out. `length`: of the body, if it has one that
/// ends. `date`: a line, for answers that bring none.
void write_head(const http_response& response, std::optional<size_t> length, bool keep_alive, std::string_view date,
                std::string& out);

}  // namespace sluice::runtime::http_inside
