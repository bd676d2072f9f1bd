#pragma once

#include <memory>
#include <string>

#include "relay/http_pass.hpp"
#include "runtime/session_budget.hpp"
#include "servers/http/session_log.hpp"

namespace sluice::relay {

/// One viewer whose stream comes from an origin's HTTP server as it is. When the origin is lost the request is made
/// anew at the stream's next owner, if the format bears it (MPEG-TS begins with its tables wherever one joins; FLV is
/// fed from a hub instead). Owned by its http_pass.
class http_tunnel final : public runtime::io_handler, public http_upstream_events, public origin_watcher {
 public:
  http_tunnel(http_pass& pass, const runtime::http_request& request, const servers::stream_ask& ask,
              const cluster::assignment& to, runtime::http_server::respond respond);
  ~http_tunnel();

  void start();
  void close(std::string_view reason);
  const std::string& stream() const { return session_.stream(); }

 private:
  friend class http_pass;
  void dial();
  void resume(std::string_view reason);
  void refuse(int status, std::string_view reason, std::string_view text);
  void begin(runtime::tcp_stream connection);
  void send(base::bytes_view bytes);
  void flush();
  void read_client();
  // http_upstream_events
  void on_head(const runtime::http_response_head& head) override;
  void on_body(base::bytes_view bytes) override;
  void on_end(std::string_view reason) override;
  void on_undialled(const base::error& e) override;
  // origin_watcher
  void on_origin_lost(cluster::loss_reason reason) override;
  // io_handler
  void on_io(runtime::io_ready ready) override;

  http_pass& pass_;
  runtime::session_place place_;
  shard_context& shard_;
  const servers::stream_ask ask_;
  servers::session_log session_;
  const bool head_request_;
  bool resumes_;  // the format bears another origin
  std::string target_;
  std::vector<std::pair<std::string, std::string>> headers_;
  cluster::assignment to_;
  runtime::http_server::respond respond_;  // until it is answered
  std::shared_ptr<runtime::http_client_presence> client_;
  std::unique_ptr<http_upstream> upstream_;
  origin_watch watch_;
  runtime::tcp_stream stream_;
  base::send_buffer waiting_;
  std::vector<uint8_t> packet_;  // of a format that resumes: a packet that is not whole yet
  std::string ended_alive_;      // the origin that closed the answer, if it did not die of it
  std::string_view last_words_;  // why to close when all that waits is sent; empty: not yet
  runtime::timer timer_;         // of a client who takes nothing, or of a search for the next owner
  base::time_point give_up_at_ = base::never;
  uint64_t finding_ = 0;
  uint64_t bytes_in_ = 0, bytes_out_ = 0;
  bool answered_ = false, blocked_ = false, closed_ = false;
  bool refused_ = false;  // the present upstream brings nothing for the client
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::relay
