#pragma once

#include <memory>
#include <string>
#include <vector>

#include "relay/srt_door.hpp"
#include "runtime/session_budget.hpp"
#include "servers/http/session_log.hpp"

namespace sluice::relay {

/// One SRT caller through this proxy: finds or claims the owner of his stream, and relays between him and that origin
/// on a socket of the session's own. When the origin is lost both are told (SHUTDOWN): the caller comes back, and is
/// taken to the next owner. Owned by its door.
class srt_session final : public runtime::udp_handler, public origin_watcher, public owner_watcher {
 public:
  srt_session(srt_door& door, const runtime::udp_path& client, base::bytes_view conclusion,
              cluster::srt_request request, const std::string& id);
  ~srt_session() { release(); }

  void start();
  void from_client(const runtime::datagram& d);
  void end(std::string_view reason);
  /// After its end: lets go of all that it shares with others. Its door may be gone before it is.
  void release();
  bool is_another(const srt::handshake& h) const { return session_.is_another(h); }

  const runtime::udp_path& path() const { return client_; }
  uint32_t client_socket() const { return session_.client_id(); }
  uint32_t origin_socket() const { return session_.origin_id(); }
  bool running() const { return phase_ == phase::running; }
  bool routed() const { return routed_; }
  std::string_view kind() const { return publish_ ? "publish" : "play"; }
  const std::string& stream() const { return log_.stream(); }

 private:
  enum class phase : uint8_t {
    handshake,
    running,
    ended,     ///< who goes on sending is told so
    released,  ///< it may still be on the stack
  };

  // udp_handler, of the origin's side
  void on_datagrams(runtime::udp_socket& socket, std::span<const runtime::datagram> batch) override;
  void on_unreachable(runtime::udp_socket& socket, int error) override;
  // origin_watcher, owner_watcher
  void on_origin_lost(cluster::loss_reason reason) override;
  void on_owner_changed(const cluster::assignment& to) override;
  void on_move(const cluster::action::move& what) override;

  void find();
  void claim();
  void found(base::result<cluster::assignment> answer);
  void dial();
  void give_up_origin(std::string_view reason);
  void refuse(srt::reject why, std::string_view reason, std::string_view text);
  void drop_question();
  void on_timer();
  void settle();
  void on_running();
  void on_ended();
  void close_upstream();
  base::duration time_left() const;

  friend class srt_door;
  srt_door& door_;
  shard_context& shard_;
  runtime::session_place place_;
  runtime::udp_path client_;
  const cluster::stream_key key_;
  const bool publish_;
  servers::session_log log_;
  srt::relay_session session_;
  phase phase_ = phase::handshake;
  bool routed_ = false;
  std::string text_;  // why it was refused, for people

  cluster::assignment to_;
  size_t endpoint_ = 0;              // of to_.srt, the next one to be tried
  std::vector<std::string> failed_;  // origins that could not be reached for this session
  uint64_t claim_ = 0;               // the last claim, answered or not, whose publish has not started; or 0
  uint64_t asking_ = 0;              // the question under way, or 0
  bool published_ = false;
  std::unique_ptr<runtime::udp_socket> upstream_;
  std::shared_ptr<origin_line> line_;
  origin_watch watch_;
  owner_watch follow_;

  const base::time_point give_up_at_;
  base::time_point retry_at_ = base::never;       // a viewer asks again who the owner is
  base::time_point unanswered_at_ = base::never;  // then the next endpoint is tried, or by a publisher another origin
  runtime::timer timer_;
  uint64_t bytes_in_ = 0, bytes_out_ = 0;  // from and to the client
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::relay
