#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proto/rtmp/client_session.hpp"
#include "relay/origin_lines.hpp"
#include "relay/prober.hpp"
#include "runtime/loop.hpp"
#include "runtime/tcp.hpp"

namespace sluice::relay {

/// An RTMP connection to one Sluice origin that carries nothing but pings, so that its answer is an application's, and
/// the end of its process is seen at once even when no media flows. Made by the first ping, and anew when it broke. An
/// origin that does not keep such connections (it does not trust this proxy, or is older) is asked by handshakes
/// instead. One loop's thread.
class control_link final : runtime::io_handler {
 public:
  /// `config` outlives the link. `on_broken`: the origin ended a link that was in use, and no ping is out whose outcome
  /// will tell what that means. It is never called from within, and may destroy the link.
  control_link(runtime::loop& l, const rtmp::session_config& config, std::shared_ptr<origin_line> line,
               std::function<void()> on_broken);
  ~control_link();

  /// Asks; one ping at a time. `done` is called once, never from within (not at all if the link is destroyed before).
  /// On a link that is new, the origin's first word counts as its answer.
  void ping(const std::vector<base::endpoint>& targets, base::duration timeout, probe_done done);

 private:
  enum class state : uint8_t { closed, dialling, greeting, ready };
  void dial();
  void on_dialled(base::result<runtime::tcp_stream> stream);
  void greet(runtime::tcp_stream stream);
  void on_io(runtime::io_ready ready) override;
  void read_some();
  void handle_events();
  void flush();
  void broken();
  void hang_up();
  void send_ping();
  void on_timeout();
  void answer(cluster::probe_answer a);

  runtime::loop& loop_;
  const rtmp::session_config& config_;
  std::shared_ptr<origin_line> line_;
  std::function<void()> on_broken_;
  runtime::timer timer_, redial_;
  std::vector<base::endpoint> targets_;
  std::vector<std::unique_ptr<runtime::tcp_connector>> dials_;
  size_t dials_left_ = 0;
  bool all_refused_ = false;  // of the dials so far
  runtime::tcp_stream stream_;
  std::unique_ptr<rtmp::client_session> session_;
  state state_ = state::closed;
  probe_done done_;                // of the ping that is out
  unsigned breaks_ = 0;            // while it is
  unsigned failed_greetings_ = 0;  // in a row
  bool unsupported_ = false;
  probe_under_way handshake_;  // if so
  base::time_point unanswered_since_ = base::never;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

/// The control links of a proxy, by origin. Control thread.
class control_links {
 public:
  using broken_fn = std::function<void(const std::string& origin_id)>;
  control_links(runtime::loop& l, origin_lines& lines, broken_fn on_broken);
  /// Of the links' connections.
  void ping(const cluster::action::probe& p, probe_done done);
  /// Ends the links of origins that are not `known` any more.
  void forget(const std::function<bool(const std::string& origin_id)>& known);
  size_t size() const { return links_.size(); }

 private:
  runtime::loop& loop_;
  origin_lines& lines_;
  broken_fn on_broken_;
  rtmp::session_config config_;
  std::map<std::string, std::unique_ptr<control_link>> links_;
};

}  // namespace sluice::relay
