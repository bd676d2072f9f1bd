#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.hpp"
#include "roles/config.hpp"
#include "runtime/socket_handover.hpp"
#include "runtime/tcp.hpp"

namespace sluice::roles {

/// Where a proxy's listening sockets come from: made here, or taken over from the process before. Of the latter every
/// one has to be used, as each has a queue of connections: a shard may get several of a port, and shards that get none
/// open one more. Control thread, but for of_shard().
class listeners {
 public:
  using listening = base::result<runtime::tcp_listeners>;

  listeners(size_t shards, base::log_sink& log) : shards_(shards), log_(log) {}

  /// Before all else. Sockets of names that this version does not know are closed, with a warning. Error reason:
  /// not_listening.
  base::result<void> adopt(std::vector<runtime::handed_socket> handed);

  /// A port that all shards share. Returns its real address. Error reasons: address_in_use, cannot_bind, other_address:
  /// the process before listens somewhere else.
  base::result<base::endpoint> reserve(const std::string& name, const listen_address& at);
  /// The sockets of one shard on a reserved port; once. Any thread, as long as no other member is called meanwhile.
  listening of_shard(const std::string& name, size_t shard);
  /// The socket of a port of the control thread.
  listening alone(const std::string& name, const listen_address& at);

  /// What keeps rivals off the shared ports: it goes to the next process as well.
  std::vector<runtime::handover_offer::socket> reservations() const;

 private:
  struct shared_port {
    base::endpoint at;
    runtime::descriptor reservation;
    std::vector<runtime::tcp_listeners> of_shards;
  };
  listening handed(const std::string& name, const listen_address& at);

  const size_t shards_;
  base::log_sink& log_;
  std::map<std::string, runtime::tcp_listeners> handed_;
  std::map<std::string, runtime::descriptor> handed_reservations_;
  std::map<std::string, shared_port> shared_;
};

}  // namespace sluice::roles
