#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "relay/origin_lines.hpp"
#include "relay/upstream.hpp"
#include "runtime/http_response_reader.hpp"
#include "runtime/loop.hpp"
#include "runtime/tcp.hpp"

namespace sluice::relay {

/// What becomes of a request whose answer has no end. Calls come from the loop, never from within a call to the
/// upstream; on_end and on_undialled are the last, and the upstream may be destroyed in any of them.
class http_upstream_events {
 public:
  virtual void on_head(const runtime::http_response_head& head) = 0;
  virtual void on_body(base::bytes_view bytes) = 0;
  /// `reason`: response_end, origin_closed, origin_reset, header_timeout or bad_response.
  virtual void on_end(std::string_view reason) = 0;
  /// No endpoint could be connected; reason no_descriptors: by our own lack.
  virtual void on_undialled(const base::error& e) = 0;

 protected:
  ~http_upstream_events() = default;
};

/// A GET of an origin whose answer is handed on as it comes.
class http_upstream final : public runtime::io_handler {
 public:
  /// `request`: the whole text. The configuration and the cells outlive it.
  http_upstream(runtime::loop& l, const upstream_config& config, upstream_metrics& metrics,
                std::vector<base::endpoint> endpoints, std::shared_ptr<origin_line> line, std::string request,
                bool head_request, http_upstream_events& events);
  ~http_upstream();
  void pause_reading(bool on);

 private:
  void on_io(runtime::io_ready ready) override;
  void undialled_later(base::error e);
  void dial_next();
  void on_connected(runtime::tcp_stream stream);
  void send();
  void read_some();
  void give_head();
  void end(std::function<void(http_upstream_events&)> last_call);

  runtime::loop& loop_;
  const upstream_config& config_;
  upstream_metrics& metrics_;
  const std::vector<base::endpoint> endpoints_;
  size_t next_endpoint_ = 0;
  const std::shared_ptr<origin_line> line_;  // may be null
  std::string request_;                      // what is left of it
  runtime::http_response_reader response_;
  http_upstream_events& events_;
  std::unique_ptr<runtime::tcp_connector> connector_;
  runtime::tcp_stream stream_;
  runtime::timer timer_;  // until the head is there
  bool head_given_ = false, ended_ = false, counted_ = false;
  bool reading_paused_ = false, read_waits_ = false, hangup_ = false;
  // Tells a callback on the stack whether `this` was destroyed by what it called.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::relay
