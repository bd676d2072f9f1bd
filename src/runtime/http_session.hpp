#pragma once

#include <boost/beast/http.hpp>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/body_files.hpp"
#include "runtime/descriptor_budget.hpp"
#include "runtime/http_message.hpp"
#include "runtime/http_server.hpp"
#include "runtime/tcp.hpp"

// Inside of http_server: included by its sources alone.
namespace sluice::runtime::http_inside {

class session;

/// After stop_listening(), for another request on a connection that has had an answer. A client who sends it in the
/// very moment of a close is reset; most have long gone by then.
constexpr auto last_call_time = std::chrono::seconds(1);

/// What the connections of a server share, and the connections themselves; outlives the server while one of them is on
/// the stack.
struct server_state : std::enable_shared_from_this<server_state> {
  server_state(loop& l, const http_server::limits& lim, base::log_sink& sink, http_server::handler h);
  ~server_state();

  loop& on;
  const http_server::limits limits;
  base::log_sink& log;  // not to be used once closed
  const http_server::handler handle;
  body_files files;
  date_line date;
  std::unordered_map<session*, std::unique_ptr<session>> sessions;
  std::vector<std::unique_ptr<session>> ended;  // until nothing of them is on the stack
  uint64_t waits = 0;                           // how often a session began to wait for a request
  bool stopping = false;                        // no further request on any connection
  bool closed = false;

  /// Room for one more connection: the longest idle one gives way. False: none does.
  bool make_room();
  /// The same of the clients with that address.
  bool make_room_of(const base::ip_address& peer);
};

/// What all copies of one `respond` share: a handler that drops them without an answer has failed.
struct reply {
  explicit reply(session* s) : to(s) {}
  ~reply();
  void give(http_response r);
  session* to;  // until it has an answer, or ended
};

/// One connection: read a request, have it handled, write the answer, and so on, each as far as it goes without
/// waiting. Owned by server_state.
class session final : io_handler {
 public:
  session(server_state& server, const base::endpoint& peer);
  ~session();

  /// It holds one of the server's descriptors.
  void set_counted() { counted_ = true; }
  /// Takes `connection`; false if the kernel cannot watch it.
  bool open(tcp_stream& connection);
  /// Closes it; not from within a loop over the server's sessions.
  void end();
  /// Makes room for another connection.
  void replace();

  /// The client: the socket's peer, or whom that one has said that it speaks for.
  const base::endpoint& peer() const { return peer_; }
  /// Its peer may yet say that it speaks for another.
  void set_unnamed() { unnamed_ = true; }
  bool is_unnamed() const { return unnamed_; }
  /// Since when no whole request has come, as a number that grows with time; nothing while one is handled or answered.
  std::optional<uint64_t> idle_since() const { return idle_since_; }
  /// A request has been taken from it.
  bool was_answered() const { return answered_once_; }

 private:
  friend struct reply;
  using parser = http::request_parser<http::string_body>;
  enum class state : uint8_t { reading, handling, writing, lingering, ended };
  enum class afterwards : uint8_t { next_request, close, linger, hand_over };

  void on_io(io_ready ready) override;
  void go_on();
  void go_on_later();
  bool step();
  // reading
  void await_request();
  bool read_request();
  bool receive();
  bool take(base::bytes_view bytes);
  bool introduce(base::bytes_view& bytes);
  bool parse(base::bytes_view& bytes);
  bool take_header();
  bool bid_go_on();
  void note_wait();
  base::duration patience(base::duration usual) const;
  // handling
  void have_handled();
  void take_answer(http_response response);
  void look_for_client();
  // writing
  void answer(http_response response, bool keep_alive);
  bool write();
  io_result send_text(size_t most);
  size_t body_size() const;
  void written();
  void refuse(const refusal& why);
  bool linger();
  void hand_over();
  void on_deadline();
  void log_refusal(std::string_view reason, std::string_view text);

  server_state& server_;
  base::endpoint peer_;
  base::endpoint local_;
  tcp_stream stream_;
  timer deadline_;
  state state_ = state::reading;
  bool readable_ = false, hangup_ = false;  // the socket may have something; it has been half closed
  std::string unread_;                      // what came behind the present request, or of a line that is not whole
  std::optional<parser> parser_;
  bool begun_ = false, header_taken_ = false;  // of the request: its first byte came, its header is whole
  size_t header_bytes_ = 0;                    // that the parser has of a header that is not whole
  bool keep_alive_ = false;                    // as its header says
  http_request request_;
  reply* reply_ = nullptr;  // that is awaited
  bool in_handler_ = false;
  std::optional<http_response> response_;
  std::string head_;      // of the answer
  size_t sent_ = 0;       // of the head and the body
  size_t turn_left_ = 0;  // of what one turn may send
  bool body_wanted_ = false;
  std::shared_ptr<memory_file> file_;
  afterwards then_ = afterwards::close;
  size_t lingered_ = 0;
  std::optional<uint64_t> idle_since_;
  bool counted_ = false;
  bool goes_on_later_ = false;
  bool unnamed_ = false;
  bool introduced_;  // nothing stands before the next request any more
  bool answered_once_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::runtime::http_inside
