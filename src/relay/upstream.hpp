#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/metrics.hpp"
#include "media/mark.hpp"
#include "media/reader.hpp"
#include "proto/rtmp/client_session.hpp"
#include "relay/origin_lines.hpp"
#include "runtime/descriptor_budget.hpp"
#include "runtime/loop.hpp"
#include "runtime/tcp.hpp"

namespace sluice::relay {

/// What becomes of an upstream connection. Calls come from the loop, never from within a call to the upstream; any of
/// on_refused, on_lost and on_undialled is the last one, and the upstream may be destroyed in any of them.
class upstream_events {
 public:
  /// The origin agreed: media may flow.
  virtual void on_started() = 0;
  /// A message of a played stream.
  virtual void on_media(rtmp::message msg) = 0;
  /// A mark of a numbered link: what the next message is.
  virtual void on_mark(const media::mark& m) {}
  /// The origin said no, or ended the stream, with a status.
  virtual void on_refused(const rtmp::client_status& status) = 0;
  /// The connection ended without a word; `started`: after on_started().
  virtual void on_lost(bool started, std::string_view reason) = 0;
  /// No endpoint could be connected; reason no_descriptors: by our own lack.
  virtual void on_undialled(const base::error& e) = 0;
  /// What was blocked has been sent.
  virtual void on_drained() {}

 protected:
  ~upstream_events() = default;
};

/// Whether that reason of on_lost() is the origin's doing, and not a time that passed or a rule that was broken.
inline bool is_close(std::string_view reason) { return reason == "origin_closed" || reason == "origin_reset"; }

struct upstream_config {
  rtmp::session_config session;
  base::duration dial_timeout = std::chrono::seconds(1);  ///< per endpoint
  /// A pull only reads: a connection that the other side has forgotten would stay quiet for ever. One that has been
  /// quiet so long is pinged, and given up when even that brings nothing for `answer_max` while other connections hear
  /// its origin. If none does, the origin is silent as a whole: then the registry judges (and may decide to wait), and
  /// the pull waits for its word, for `silence_max` at most.
  base::duration quiet_max = std::chrono::seconds(2);
  base::duration answer_max = std::chrono::seconds(4);
  base::duration silence_max = std::chrono::seconds(30);
  runtime::descriptor_budget* descriptors = nullptr;  ///< shared by the process
};

/// Bytes from and to origins, per shard.
struct upstream_metrics {
  explicit upstream_metrics(base::metrics& m, std::string_view proto = "rtmp");
  base::metric_cell& bytes_in;
  base::metric_cell& bytes_out;
  base::metric_cell& connections;
};

/// Where a pull gets a stream from: one connection to one origin.
class pull_source {
 public:
  virtual ~pull_source() = default;
  /// The origin sends marks. From upstream_events::on_started() on.
  virtual bool numbered() const { return false; }
  /// Stops and resumes reading what the origin sends.
  virtual void pause_reading(bool on) = 0;
  /// Takes leave, if that can be said, before the connection is closed by the destructor.
  virtual void say_goodbye() {}
  virtual std::string_view proto() const { return "rtmp"; }  ///< for logs
};

/// One RTMP connection to an origin: dials its endpoints in turn, runs the client session, and pushes a hub or hands
/// over what it plays.
class upstream final : public pull_source, public runtime::io_handler, public media::reader_owner {
 public:
  upstream(runtime::loop& l, const upstream_config& config, upstream_metrics& metrics,
           std::vector<base::endpoint> endpoints, std::shared_ptr<origin_line> line, rtmp::client_request request,
           upstream_events& events);
  ~upstream() override;

  /// Bounds what the kernel takes in while reading is paused. To be called before the connection is made.
  void limit_receive_memory(int bytes) { receive_bytes_ = bytes; }
  /// Somebody else hears of what becomes of it from now on.
  void hand_over(upstream_events& to) { events_ = &to; }
  /// Sends every frame of `h`, from the oldest that it holds. Where nothing is numbered, from frame `from` on, if it
  /// holds that, with the headers in force first.
  void push(media::hub& h, std::optional<uint64_t> from = {});
  /// The first frame of the pushed hub that has not been written whole. Also when the connection has ended.
  std::optional<uint64_t> pushed_to() const { return reader_ ? std::optional(reader_->next_number()) : std::nullopt; }
  /// Sends the frames below `end` of the pushed hub's log, and then no more.
  void stop_pushing_at(uint64_t end);
  /// It takes them, too.
  bool numbered() const override { return numbered_; }
  bool blocked() const { return blocked_; }
  /// Bytes of the pushed hub that have not been written.
  size_t backlog() const { return reader_ ? reader_->backlog() : 0; }
  const base::endpoint& remote() const { return remote_; }
  /// No more will be pushed: sends what waits, says goodbye, and half-closes. on_lost() follows when the origin has
  /// closed too.
  void finish();
  /// Says goodbye (FCUnpublish, deleteStream) before the connection is closed by the destructor.
  void say_goodbye() override;
  void send_command(std::string_view name, const std::vector<amf0::value>& arguments);
  void pause_reading(bool on) override;

  void on_io(runtime::io_ready ready) override;
  void on_frames() override;

 private:
  void undialled_later(base::error e);
  void dial_next();
  void on_connected(runtime::tcp_stream stream);
  void read_some();
  void handle_events();
  void flush();
  void half_close_if_done();
  void on_deadline();
  void watch_quiet();
  void on_quiet();
  bool heard_elsewhere(base::time_point now) const;
  void end(std::function<void(upstream_events&)> last_call);

  runtime::loop& loop_;
  const upstream_config& config_;
  upstream_metrics& metrics_;
  std::vector<base::endpoint> endpoints_;
  size_t next_endpoint_ = 0;
  const std::shared_ptr<origin_line> line_;  // may be null
  rtmp::client_request request_;
  upstream_events* events_;
  const bool plays_;
  const bool asks_numbered_;
  base::endpoint remote_;
  std::unique_ptr<runtime::tcp_connector> connector_;
  runtime::tcp_stream stream_;
  std::unique_ptr<rtmp::client_session> session_;
  std::unique_ptr<media::reader> reader_;
  runtime::timer timer_;
  int receive_bytes_ = 0;  // 0: the kernel's own tuning
  bool started_ = false, blocked_ = false, ended_ = false;
  bool finishing_ = false, half_closed_ = false;
  bool numbered_ = false;
  base::time_point pinged_at_ = base::never;  // of a pull that is quiet: the first ping that its origin has left
                                              // without an answer while it spoke to others
  bool reading_paused_ = false, read_waits_ = false, hangup_ = false;
  // Tells a callback on the stack whether `this` was destroyed by what it called.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool counted_ = false;  // in the descriptor budget
};

}  // namespace sluice::relay
