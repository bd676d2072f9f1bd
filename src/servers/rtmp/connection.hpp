#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/endpoint.hpp"
#include "base/log.hpp"
#include "media/reader.hpp"
#include "proto/rtmp/server_session.hpp"
#include "runtime/loop.hpp"
#include "runtime/session_budget.hpp"
#include "runtime/tcp.hpp"

namespace sluice::servers {

class connection;
class rtmp_server;

/// What a role does with one client. One per connection, destroyed with it. Every connect, publish and play must be
/// answered through connection::session(), at once or later; call connection::flush() after answering later.
class client_handler {
 public:
  virtual ~client_handler() = default;
  virtual void on_connect(rtmp::connect_request request) = 0;
  virtual void on_publish(rtmp::publish_request request) = 0;
  virtual void on_play(rtmp::play_request request) = 0;
  /// A media, data or unknown message of a publisher that was accepted.
  virtual void on_media(rtmp::message msg) = 0;
  /// All that one read brought has been handed over: a good moment to look at queues.
  virtual void on_batch_end() {}
  /// The client takes no more bytes now; called again whenever more waits for it.
  virtual void on_blocked() {}
  /// It has taken all that waited.
  virtual void on_drained() {}
  /// The client ended its publish or play but keeps the connection.
  virtual void on_stream_closed(uint32_t stream_id) = 0;
  /// This server stops, and ends the session in peace: the last chance to say so.
  virtual void on_shutdown() {}
  /// The connection is going away; nothing may be sent any more.
  virtual void on_closed() = 0;
};

/// One RTMP client. Owned by its server; handlers may use it until on_closed().
class connection final : public runtime::io_handler, public media::reader_owner {
 public:
  connection(rtmp_server& server, runtime::tcp_stream stream, const base::endpoint& peer, std::string id);
  ~connection();

  rtmp::server_session& session() { return session_; }
  runtime::loop& loop();
  /// Names this session in the logs of every server it passes.
  const std::string& id() const { return id_; }
  void adopt_id(std::string id) { id_ = std::move(id); }
  /// The client's true address: as a trusted proxy told it, else the socket's.
  const base::endpoint& peer() const { return peer_; }
  /// True if the socket's peer is in the trusted networks.
  bool peer_trusted() const { return trusted_; }

  /// A proxy holds it only to ask whether this server lives: it is no session, and may be idle.
  void set_control();
  /// To be asked when connect comes, after set_control(): the server is full, and this client was let in only to hear
  /// so, as `peer` in the words of a server to another. The connection ends.
  bool turned_away(bool peer);

  /// Logs the start of a publish or play. `origin` may be empty.
  void session_started(std::string_view kind, std::string_view stream, std::string_view origin);
  /// The session goes on at another origin.
  void session_moved(std::string_view origin) { origin_ = origin; }
  bool session_running() const { return !kind_.empty(); }
  /// Logs its end; the connection may start another one.
  void session_ended(std::string_view reason);
  /// Counts and logs a refusal.
  void session_refused(std::string_view reason, std::string_view stream, std::string_view text);

  /// Feeds the client's message stream from `h`. At most one hub at a time.
  void start_playing(media::hub& h, uint32_t stream_id, media::reader_start start = media::reader_start::keyframe);
  void stop_playing();
  media::reader* player() { return reader_.get(); }

  /// Sends what waits. Closes the connection if it is broken.
  void flush();
  /// Stops and resumes reading (back pressure towards a publisher).
  void pause_reading(bool on);
  /// Sends what waits, then closes. `reason` is the metric label of a refusal, or the reason of session_end.
  void close_after_flush(std::string_view reason);
  /// close_after_flush(), unless a player has not taken all that there is for it.
  void drain(std::string_view reason);
  /// Closes now.
  void close(std::string_view reason);
  /// True while the socket takes no more.
  bool blocked() const { return blocked_since_ != base::never; }

  void on_io(runtime::io_ready ready) override;
  void on_frames() override;

 private:
  friend class rtmp_server;
  enum class phase : uint8_t { preamble, open, flushing, lingering, closed };

  void start();
  std::string peer_text() const;
  void read_some();
  void feed(base::bytes_view bytes);
  base::result<size_t> take_preamble(base::bytes_view bytes);
  void handle_events();
  void on_deadline();
  void rearm();
  void count_dropped();
  void fail(const base::error& e);
  void linger();

  rtmp_server& server_;
  runtime::tcp_stream stream_;
  base::endpoint peer_;
  std::string id_;
  rtmp::server_session session_;
  std::unique_ptr<client_handler> handler_;
  std::unique_ptr<media::reader> reader_;
  std::unique_ptr<std::vector<uint8_t>> preamble_;  // a prefix of which more must come
  runtime::timer timer_;
  base::time_point blocked_since_ = base::never;
  base::time_point opened_, started_;
  uint64_t bytes_in_ = 0, bytes_out_ = 0;
  uint64_t dropped_ = 0;  // of reader_, as far as it has been counted
  std::string stream_name_, origin_;
  std::string_view kind_, close_reason_;
  phase phase_ = phase::preamble;
  enum class standing : uint8_t { session, control, over_limit };
  standing standing_ = standing::session;
  bool trusted_ = false;
  bool reading_paused_ = false;
  bool hangup_ = false;      // the client has closed its side: read to the end
  bool read_waits_ = false;  // readiness came while reading was paused
  size_t slot_ = 0;          // in server_.connections_
  runtime::session_place place_;
};

}  // namespace sluice::servers
