#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "cluster/core/ownership.hpp"

namespace sluice::cluster {

/// What proxies tell each other over the store's channel. Each is one JSON object with `from`, the id of the proxy that
/// says it, and `what`. All may be lost, late or doubled.
namespace message {
/// A stream has another owner.
struct owner {
  stream_key key;
  owner_record record;
};
/// A proxy has taken this registration. `host` names the network that it came through: a loopback address means
/// something there only.
struct origin {
  std::string body;  ///< as make_registration_body() gives it
  std::string host;
};
/// A proxy has started or was cut off: whoever hears from an origin next asks it for all of its streams.
struct hello {};
struct drain {
  std::string server_id;
  bool on = true;
  uint64_t at_ms = 0;  ///< wall clock when an operator said so; 0: an older version, which does not tell
};
/// Every proxy answers it, to the one who asks.
struct question {
  std::string id;
  std::string text;
};
struct answer {
  std::string to;  ///< id of the proxy that asked
  std::string id;  ///< of the question
  std::string text;
};
/// A client's session is over: whoever carries it ends it.
struct session_end {
  std::string key;  ///< of the session_store, without prefix
};
}  // namespace message

using cluster_message = std::variant<message::owner, message::origin, message::hello, message::drain, message::question,
                                     message::answer, message::session_end>;

struct sent_message {
  std::string from;
  cluster_message what;
};

std::string message_text(std::string_view from, const cluster_message& message);
/// Error reason: bad_message. Of an origin's body nothing is checked.
base::result<sent_message> parse_message(std::string_view text);

}  // namespace sluice::cluster
