#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/endpoint.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "base/time.hpp"

namespace sluice::runtime {

class loop;

/// Header names compare without case. `target` is as received (path and query); `path` is percent-decoded (so %2f is a
/// slash like others; dots are left as they are) and free of NUL, `query` raw.
struct http_request {
  std::string method;
  std::string target, path, query;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  base::endpoint peer;
  /// The first header of that name, or empty.
  std::string_view header(std::string_view name) const;
  /// The first value of a query parameter, percent-decoded, or empty.
  /// `+` stands for itself.
  std::string query_value(std::string_view name) const;
};

struct http_response {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string content_type = "application/json";
  std::string body;
};

/// Whole requests in, whole responses out, on one loop's thread: for APIs, not for media. Beast behind it. Refused with
/// an error as JSON, a log line `http_refused` and a close: what is no valid request or could be read in two ways
/// (400), a header (431) or body (413) above its limit. A connection above the limits takes the place of the one (of
/// that peer, if the peer's limit is meant) that has sent no whole request for longest, which is closed; if there is
/// none it is refused (503). A handler that throws, or drops `respond` uncalled, makes a 500. HEAD is handled like any
/// method; its answer's body is counted, not sent. Response headers that would break the message are left out. The
/// server may be destroyed at any time, also by its handler.
class http_server {
 public:
  struct limits {
    size_t body_bytes_max = 1 << 20;  ///< above it 413
    size_t header_bytes_max = 16 * 1024;
    size_t connections_max = 1000;
    size_t connections_per_peer_max = SIZE_MAX;                   ///< from one address
    std::function<bool(const base::ip_address&)> unbounded_peer;  ///< addresses without a limit of their own
    base::duration header_timeout = std::chrono::seconds(5);      ///< for a whole header, from accept or its first byte
    base::duration idle_timeout = std::chrono::seconds(60);  ///< between requests; for a body; for writing an answer
    std::function<void(std::string_view reason)>
        on_refused;  ///< told of each request or connection refused before the handler
  };
  using respond = std::function<void(http_response)>;
  /// Called for each request; `respond` may be called now or later, once, on the loop's thread.
  using handler = std::function<void(const http_request&, respond)>;

  static base::result<std::unique_ptr<http_server>> open(loop& l, const base::endpoint& at, const limits& lim,
                                                         base::log_sink& log, handler handle);
  virtual ~http_server() = default;
  virtual base::endpoint local() const = 0;
  virtual void close() = 0;
};

struct http_client_request {
  std::string method = "GET";
  std::string url;  ///< http://host[:port]/path?query
  std::vector<std::pair<std::string, std::string>> headers;
  std::string content_type;
  std::string body;
  base::duration timeout = std::chrono::seconds(3);
  size_t response_bytes_max = 1 << 20;
};

/// One HTTP/1.1 exchange on the loop's thread, on a connection of its own. `done` is called once, never from within;
/// not at all if the loop is destroyed before. Error reasons: bad_url, no_such_host, refused, unreachable, timeout,
/// bad_response (also one that is too large, or none before the server hung up).
void http_fetch(loop& l, http_client_request request, std::function<void(base::result<http_response>)> done);

}  // namespace sluice::runtime
