#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "proto/resp/value.hpp"

// What replies mean to a client that looks for the right server: errors by kind, Cluster's table, Sentinel's answers.
namespace sluice::resp {

enum class error_kind : uint8_t {
  other,         ///< the call itself was wrong
  moved,         ///< the slot is another server's, for good
  ask,           ///< the slot is another server's, this time
  cluster_down,  ///< slots without a server
  try_again,     ///< a slot on its way, or a server that is busy with a script or not in sync
  read_only,     ///< a replica
  loading,       ///< reads its file, or has no link to its master
  no_auth,       ///< no or a wrong password, or no right to the command
  no_script,     ///< EVALSHA of a script it does not know
  unknown_command,
  no_proto,   ///< HELLO with a version it does not speak
  no_master,  ///< a Sentinel that does not know
  full,       ///< out of memory, out of connections, or a disk that fails: refuses writes
};

error_kind kind_of_error(std::string_view text);
/// The first word, by which an error is told apart, if it looks like one (upper case); else ERR.
std::string_view error_code(std::string_view text);

struct host_port {
  std::string host;  ///< a name or an address, without brackets; from a server, empty: its own
  uint16_t port = 0;
  std::string to_string() const;  ///< host:port, [::1]:port
  auto operator<=>(const host_port&) const = default;
};

struct redirection {
  uint16_t slot = 0;
  host_port to;
};
/// MOVED or ASK, slot, host:port (the host may be empty or an IPv6 address).
std::optional<redirection> parse_redirection(std::string_view text);

struct slot_range {
  uint16_t first = 0, last = 0;  ///< both included
  host_port master;
  bool operator==(const slot_range&) const = default;
};
/// The reply to CLUSTER SLOTS: ranges with their masters. Error: bad_reply.
base::result<std::vector<slot_range>> parse_cluster_slots(const value& reply);

/// The reply to SENTINEL GET-MASTER-ADDR-BY-NAME; nothing if the Sentinel knows no master of that name. Error:
/// bad_reply.
base::result<std::optional<host_port>> parse_master_address(const value& reply);

/// A message of Sentinel's channel +switch-master: `name old-host old-port new-host new-port`.
struct switched_master {
  std::string name;
  host_port from, to;
};
std::optional<switched_master> parse_switch_master(std::string_view message);

/// The reply to ROLE.
enum class server_role : uint8_t { unknown, master, replica, sentinel };
server_role parse_role(const value& reply);
server_role parse_role_name(std::string_view name);

}  // namespace sluice::resp
