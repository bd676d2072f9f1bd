#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/buffer.hpp"
#include "base/time.hpp"
#include "proto/stun/message.hpp"
#include "runtime/udp_socket.hpp"

namespace sluice::relay {

/// Where a client is: the addresses from which it has proved to know the session (by a check), and the one that what
/// the origin sends goes to. To the origin all of them are one. No clock, no socket: time is an argument.
///
/// The selected one is that from which the client last nominated (USE-CANDIDATE); and, as clients do not always say so
/// when they move, also one from which it sends anything while the selected one has been quiet for quiet_time.
class rtc_paths {
 public:
  static constexpr size_t paths_max = 8;  ///< above it the one that was heard longest ago makes way
  static constexpr base::duration quiet_time = std::chrono::milliseconds(300);
  /// An address without a check for so long is not the client's any more (RFC 7675 §5.1).
  static constexpr base::duration consent_time = std::chrono::seconds(30);

  struct path {
    runtime::udp_path at;
    unsigned shard = 0;  ///< whose socket it reaches
  };
  /// Whether a check with that transaction came from another address: the copy of one, by somebody who has seen it. A
  /// client whose NAT gives it another address in the middle of a transaction begins the next one soon. Of the last
  /// transactions_max.
  bool is_replayed(const base::endpoint& peer, base::bytes_view transaction) const;
  static constexpr size_t transactions_max = 128;  ///< for agents that check each 2.5 s, of more than 5 min
  /// A check that was verified and is not replayed. The transaction is remembered, so that its answer finds back
  /// (answer_to).
  void check(const path& from, base::bytes_view transaction, bool nominates, base::time_point now);
  /// Anything else that came from there; false if the address is not the client's (any more).
  bool data(const runtime::udp_path& from, base::time_point now);
  /// Nothing before the first check.
  const path* selected() const { return selected_ < paths_.size() ? &paths_[selected_].is : nullptr; }
  /// Where the check of that transaction came from; the selected one if it is not known.
  const path* answer_to(base::bytes_view transaction) const;
  /// Whether the address is one of the client's, with consent or without.
  bool has(const base::endpoint& peer) const { return find(peer) < paths_.size(); }
  size_t size() const { return paths_.size(); }

 private:
  struct entry {
    path is;
    base::time_point heard_at, checked_at;
    uint32_t number = 0;  // of all that there have been
  };
  /// Eight bytes each: there are as many as transactions_max of each session.
  struct seen {
    uint32_t transaction;  // a hash
    uint32_t path;         // an entry's number
  };
  struct asked {
    std::array<uint8_t, stun::transaction_bytes> transaction{};
    path from;
  };
  static constexpr size_t asked_max = 16;
  size_t find(const base::endpoint& peer) const;
  void heard(size_t index, bool nominates, base::time_point now);
  const seen* find_seen(uint32_t transaction) const;
  void remember(uint32_t transaction, uint32_t number);

  std::vector<entry> paths_;
  size_t selected_ = SIZE_MAX;
  std::array<asked, asked_max> asked_{};  // the last checks, in a ring
  size_t asked_n_ = 0;
  uint32_t entries_n_ = 0;
  std::vector<seen> seen_;  // a ring, once it is full
  size_t seen_at_ = 0;
};

}  // namespace sluice::relay
