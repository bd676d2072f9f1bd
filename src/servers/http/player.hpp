#pragma once

#include <memory>
#include <optional>
#include <string>

#include "runtime/session_budget.hpp"
#include "runtime/tcp.hpp"
#include "servers/http/media_server.hpp"
#include "servers/http/session_log.hpp"

namespace sluice::servers {

/// One HTTP-FLV or HTTP-TS player: waits for the stream, answers the request, then writes the stream to the socket.
/// Owned by its server.
class http_player final : public runtime::io_handler, public media::byte_reader_owner, public stream_watcher {
 public:
  http_player(media_server& server, std::string id, const runtime::http_request& request, const media_target& target,
              runtime::http_server::respond respond);
  ~http_player();

  void start();
  void close(std::string_view reason);
  /// close(), unless there is something that it has not taken.
  void drain(std::string_view reason);
  const std::string& stream() const { return session_.stream(); }
  bool running() const { return stream_.is_open(); }

 private:
  friend class media_server;
  using header_list = std::vector<std::pair<std::string, std::string>>;
  // stream_watcher
  void on_stream(media::hub& h, const std::string& origin) override;
  void on_no_stream(int status, std::string_view reason, std::string_view text) override;
  void on_passed(passed answer) override;
  // byte_reader_owner
  void on_bytes() override;
  // io_handler
  void on_io(runtime::io_ready ready) override;

  void answer();
  void refuse(int status, std::string_view reason, std::string_view text, const header_list& more = {});
  void begin(runtime::tcp_stream connection);
  void flush();
  void block(bool moved);
  void read_some();
  void leave_stream();
  void finish();
  void on_deadline();

  media_server& server_;
  media_server::cells& cells_;
  const http_format format_;
  stream_ask ask_;  // its request until that is answered
  session_log session_;
  runtime::http_server::respond respond_;
  std::unique_ptr<stream_lease> lease_;
  media::byte_log* log_ = nullptr;
  std::unique_ptr<media::byte_reader> reader_;
  std::string origin_;
  runtime::tcp_stream stream_;
  runtime::timer timer_;
  base::time_point blocked_since_ = base::never;
  uint64_t bytes_in_ = 0, bytes_out_ = 0;
  uint32_t drops_ = 0;  // of reader_, as far as they have been counted
  std::string_view close_reason_;
  bool answered_ = false, closed_ = false, source_paused_ = false;
  size_t slot_ = 0;  // in server_.players_
  runtime::session_place place_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::servers
