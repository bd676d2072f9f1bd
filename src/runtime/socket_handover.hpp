#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"
#include "runtime/descriptor.hpp"
#include "runtime/loop.hpp"

// One process takes the place of another on the same host without a moment in which nobody listens: it gets the very
// sockets, whose queues of waiting connections belong to nobody in particular. The one that gives listens at a path:
//
//     taker                                giver
//       hello (pid, version)       ─▶
//                                  ◀─      sockets (names, descriptors) …, state …, end
//       (serves on the sockets)
//       ready                      ─▶
//                                  ◀─      go
//       taken                      ─▶      (stops accepting, and drains)
//       (takes the path)
//
// Up to `taken` either may fail, and the giver goes on as if nothing had happened. It says `refused` (reason, text)
// whenever it goes on alone; a connection that it closes without that word means that it is gone, and then the taker,
// who has all sockets, serves alone. Every step has a deadline.
namespace sluice::runtime {

/// A process, as it calls itself.
struct handover_party {
  pid_t pid = 0;
  std::string version;
};

struct handover_times {
  base::duration step = std::chrono::seconds(5);
  base::duration ready = std::chrono::seconds(60);  ///< from the sockets to `ready`
};

inline constexpr size_t handover_sockets_max = 4096;
inline constexpr size_t handover_state_bytes_max = size_t{128} << 20;

/// What there is to hand over. The descriptors stay their owner's, and are copied at once.
struct handover_offer {
  struct socket {
    std::string name;
    int fd;
  };
  std::vector<socket> sockets;
  std::string state;  ///< of any form; opaque here
};

/// The side that has the sockets. Loop thread.
class handover_giver {
 public:
  struct callbacks {
    /// Somebody asks. An error refuses him.
    std::function<base::result<handover_offer>()> offer;
    std::function<void(const handover_party&)> begun;
    /// The other one serves: stop accepting. The last call; it may destroy the giver.
    std::function<void(const handover_party&)> taken;
    /// It has failed; nothing has changed. Also for a visitor who never said who he is. Must not destroy the giver.
    std::function<void(const handover_party&, const base::error&)> failed;
  };
  /// Listens at `path`, for this user and root only, and takes the path from whoever had it. Errors as of
  /// listen_at_path().
  static base::result<std::unique_ptr<handover_giver>> open(loop& l, const std::string& path, std::string version,
                                                            callbacks on, handover_times times = {});
  /// Removes the path, if it is still this giver's. A take-over under way goes on without this process.
  virtual ~handover_giver() = default;
};

struct handed_socket {
  std::string name;
  descriptor fd;
};

/// The side that takes. connect() blocks, as part of a start; after that loop thread.
class handover_taker {
 public:
  /// Null: nobody is there to take anything from. Error reasons: refused (the text has the other's reason), timeout,
  /// bad_message, other_version, and those of connect_to_path().
  static base::result<std::unique_ptr<handover_taker>> connect(const std::string& path, const std::string& version,
                                                               handover_times times = {});
  virtual ~handover_taker() = default;
  virtual const handover_party& from() const = 0;
  /// Once. Whoever closes one of them for good while the giver gives way loses the connections in its queue.
  virtual std::vector<handed_socket> take_sockets() = 0;
  virtual std::string take_state() = 0;
  /// This process serves. `done` is called once, never from within, and may destroy the taker: the giver has given way,
  /// or is gone; or with an error (refused, timeout, bad_message) it has not, and this process has to end.
  virtual void ready(loop& l, std::function<void(base::result<void>)> done) = 0;
};

}  // namespace sluice::runtime
