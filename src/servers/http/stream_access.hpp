#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cluster/core/stream_key.hpp"
#include "media/hub.hpp"
#include "runtime/http_server.hpp"

namespace sluice::servers {

/// What an HTTP client asks a role for.
struct stream_ask {
  std::shared_ptr<const runtime::http_request> request;
  cluster::stream_address address;
  std::string session;  ///< id, for logs of this and other servers
  base::endpoint peer;  ///< the client's true address
};

/// Whoever watches a stream on behalf of an HTTP client.
class stream_watcher {
 public:
  /// The stream is there: attach readers to its hub. `origin`: id of where it comes from, may be empty.
  virtual void on_stream(media::hub& h, const std::string& origin) = 0;
  /// It is not to be had, or no more: detach. `status`: HTTP's. `reason` is a literal.
  virtual void on_no_stream(int status, std::string_view reason, std::string_view text) = 0;
  /// Somebody else answers the request, with what is given to `answer`.
  using passed = std::function<void(const runtime::http_request&, runtime::http_server::respond)>;
  virtual void on_passed(passed answer) = 0;

 protected:
  ~stream_watcher() = default;
};

/// A stream that is watched. Destroying it, after what was attached to the hub, leaves the stream.
class stream_lease {
 public:
  virtual ~stream_lease() = default;
  /// The only watcher does not take what there is: a source of its own need not be read.
  virtual void pause(bool) {}
  /// Of the answer by which an origin gave or refused the stream: what goes on to the client.
  virtual std::vector<std::pair<std::string, std::string>> origin_headers() const { return {}; }
};

/// How a role gets at streams. One loop.
class stream_access {
 public:
  /// The watcher hears of it later, or from within, and nothing any more once the lease is gone.
  virtual std::unique_ptr<stream_lease> open(const stream_ask& ask, stream_watcher& w) = 0;
  /// Whether somebody publishes the stream here, where that is known at once.
  virtual bool publishes(const cluster::stream_key&) const { return false; }

 protected:
  ~stream_access() = default;
};

}  // namespace sluice::servers
