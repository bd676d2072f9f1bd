#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "base/endpoint.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "base/time.hpp"

namespace sluice::runtime {

class descriptor_budget;
class loop;
class tcp_listener;
class tcp_stream;

/// Tells whoever is still busy with a request that its client has hung up. Loop thread.
struct http_client_presence {
  std::function<void()> on_gone;  ///< set by the handler; called once at most, never from within it
};

/// Header names compare without case. `target` is as received, in origin form (path and query); `path` is
/// percent-decoded (%2f is a slash like others; dots are left as they are) and free of NUL, `query` raw.
struct http_request {
  std::string method;
  std::string target, path, query;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  base::endpoint peer;
  base::endpoint local;  ///< this end of its connection
  /// While the answer is awaited; nullptr in requests of tests.
  std::shared_ptr<http_client_presence> client;
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
  /// To HEAD, of another server: there is no body to be counted. How long it would be stands in `headers`, or is not
  /// known.
  bool header_only = false;
  /// Sent instead of `body`, without a copy for each client. Immutable.
  std::shared_ptr<const std::string> shared_body;
  /// Whoever serves a body without an end: the header is sent without a length and with `Connection: close`, and then
  /// the socket is handed over, non-blocking, with its place in limits::descriptors (to be given back). Not called if
  /// the client is gone by then, nor for HEAD. What the client sent after its request is lost.
  std::function<void(tcp_stream)> take_over;
};

/// How a connection may begin before its first request: with a word of whoever is in front of the server (a load
/// balancer) on the client that it speaks for. Both are given together, or none.
struct http_introduction {
  struct word {
    size_t bytes = 0;                      ///< of it, which are taken off; 0: the first request stands there
    std::optional<base::endpoint> client;  ///< whose the connection is; else its peer's own
  };
  /// Peers that speak for others: until it is known for whom, theirs is no client's connection, and the limit of one
  /// peer does not count.
  std::function<bool(const base::ip_address& peer)> speaks_for_others;
  /// Is given all bytes that came; nothing while more are needed, for which it must be clear before header_bytes_max.
  /// An error is answered by 400, and its reason counted as http_server::limits::on_refused says.
  std::function<base::result<std::optional<word>>(const base::ip_address& peer, base::bytes_view bytes)> read;
};

/// Whole requests in, whole responses out, on one loop's thread (for what has no end see http_response::take_over).
/// Beast behind it. Refused with
/// an error as JSON, a log line `http_refused` and a close: what is no valid request or could be read in two ways
/// (400), a header (431) or body (413) above its limit. A connection above the limits takes the place of the one (of
/// that peer, if the peer's limit is meant) that has sent no whole request for longest, which is closed; if there is
/// none it is refused (503). A handler that throws, or drops `respond` uncalled, makes a 500. HEAD is handled like any
/// method; its answer's body is counted, not sent. Response headers that would break the message are left out. The
/// server may be destroyed at any time, also by its handler.
class http_server {
 public:
  struct limits {
    size_t body_bytes_max = 1 << 20;      ///< above it 413
    size_t header_bytes_max = 16 * 1024;  ///< above it 431; also of a chunk's first line, and of its trailers
    size_t connections_max = 1000;
    size_t connections_per_peer_max = SIZE_MAX;                   ///< of one client's address
    std::function<bool(const base::ip_address&)> unbounded_peer;  ///< addresses without a limit of their own
    base::duration header_timeout = std::chrono::seconds(5);      ///< for a whole header, from accept or its first byte
    base::duration idle_timeout = std::chrono::seconds(60);  ///< between requests; for a body; for writing an answer
    std::function<void(std::string_view reason)>
        on_refused;                            ///< told of each request or connection refused before the handler
    http_introduction introduction;            ///< if any is expected
    bool share_port = false;                   ///< other loops listen on the same port (runtime::reserve_port)
    descriptor_budget* descriptors = nullptr;  ///< a connection takes one of it; outlives the server
  };
  using respond = std::function<void(http_response)>;
  /// Called for each request; `respond` may be called now or later, once, on the loop's thread.
  using handler = std::function<void(const http_request&, respond)>;

  static base::result<std::unique_ptr<http_server>> open(loop& l, const base::endpoint& at, const limits& lim,
                                                         base::log_sink& log, handler handle);
  /// The same on sockets that listen already, one at least; local() is the first's.
  static base::result<std::unique_ptr<http_server>> open(loop& l, std::vector<tcp_listener>&& from, const limits& lim,
                                                         base::log_sink& log, handler handle);
  virtual ~http_server() = default;
  virtual base::endpoint local() const = 0;
  /// The sockets on which it listens, which stay its own: to be handed to another process.
  virtual std::vector<int> listening() const = 0;
  /// Connections, but those handed over.
  virtual size_t connections() const = 0;
  /// No new connections. Those there are get one more answer, with `Connection: close`: the present one, that to a
  /// first request within limits::header_timeout, or that to another one within a second.
  virtual void stop_listening() = 0;
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

/// Connections of one loop that wait for the next exchange with the same server.
class http_pool {
 public:
  struct limits {
    size_t idle_max = 64, idle_per_server_max = 16;
    base::duration idle_time = std::chrono::seconds(4);  ///< less than servers wait (SRS: 5 s and more)
    descriptor_budget* descriptors = nullptr;            ///< each connection takes one of it; outlives the loop's tasks
  };
  http_pool(loop& l, const limits& lim);
  ~http_pool();  ///< closes those that are idle; exchanges under way end by themselves
  size_t idle() const;
  struct state;

 private:
  friend std::function<void()> http_fetch(loop&, http_client_request, std::function<void(base::result<http_response>)>,
                                          http_pool*);
  std::shared_ptr<state> state_;
};

/// One HTTP/1.1 exchange on the loop's thread, on a connection of its own, or one of `pool` (then GET and HEAD are
/// tried anew if a connection that had waited is found closed; that of a HEAD is not kept). `done` is called once,
/// never from within; not at all if the loop is destroyed before. Error reasons: bad_url, no_such_host, no_descriptors,
/// refused, unreachable, timeout, bad_response (also one that is too large, or none before the server hung up). What is
/// returned ends the exchange early: `done` is not called any more. It may be called, on the loop's thread, or dropped
/// at any time.
std::function<void()> http_fetch(loop& l, http_client_request request,
                                 std::function<void(base::result<http_response>)> done, http_pool* pool = nullptr);

}  // namespace sluice::runtime
