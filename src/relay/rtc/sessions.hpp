#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "cluster/store/session_store.hpp"
#include "relay/director.hpp"
#include "relay/rtc/record.hpp"
#include "relay/rtc/relay.hpp"
#include "relay/rtc/session.hpp"
#include "runtime/session_budget.hpp"
#include "servers/http/session_log.hpp"

namespace sluice::relay {

/// A session as the control thread knows it.
struct rtc_entry {
  std::shared_ptr<rtc_session> session;
  std::vector<rtc_credentials> credentials;  ///< that it began with, and the latest of those that followed
  base::ip_address source;                   ///< who asked for it: counted_source() its address
  std::string location;                      ///< path and query by which the client names it, may be empty
  std::string resource;                      ///< the same, by which its origin does
  std::vector<base::endpoint> api;           ///< of its origin
  cluster::epoch epoch;                      ///< under which it publishes
  servers::session_log log;
  base::time_point opened_at{}, stored_at{};
  bool deleting = false;  ///< the origin has been told: it may close its side before it answers
  runtime::session_place place = {};
};

/// All WebRTC sessions of a proxy: told to the shards, ended when consent is gone, their origin is dead or the stream
/// has another owner; left in the store for another proxy, or taken over from one. Everything on the control thread,
/// but for the calls of rtc_reports.
class rtc_sessions final : public rtc_reports {
 public:
  struct surroundings {
    runtime::loop& control;
    director& owners;
    cluster::session_store& store;
    const rtc_config& config;
    base::log_sink& log;
    base::metrics& metrics;
  };
  explicit rtc_sessions(const surroundings& around);
  ~rtc_sessions();
  /// Once, before any session; the relays may go after close().
  void attach(std::vector<rtc_relay*> relays) { relays_ = std::move(relays); }

  /// Whether one more may come from there. Reasons: too_many_sessions, too_many_of_source.
  base::result<void> admit(const base::ip_address& client) const;

  struct opening {
    std::string id;
    rtc_kind kind = rtc_kind::play;
    cluster::stream_key key;
    base::endpoint client;
    cluster::assignment to;
    base::endpoint origin;
    rtc_credentials credentials;
    std::string location, resource;
  };
  /// A session that its origin has agreed to. One with the same name ends. A publish counts with the director from now
  /// on.
  rtc_entry& open(opening o);
  /// An ICE restart: the client will ask with these too.
  void add_credentials(rtc_entry& e, rtc_credentials with);
  /// `reason` is a literal. Does nothing if it has ended.
  void end(const std::shared_ptr<rtc_session>& s, std::string_view reason);
  /// The session that has that username, wherever it is: here, in the store, and at any other proxy that hears of it.
  void end_everywhere(const std::string& username);
  /// nullptr: not one of this proxy's.
  rtc_entry* find_location(const std::string& location);
  rtc_entry* find_username(const std::string& username);
  rtc_entry* find(const std::shared_ptr<rtc_session>& s);
  /// What the store has of a session, by its `username`; nothing if no proxy of the cluster has it.
  void find_stored(const std::string& username, std::function<void(const std::optional<rtc_record>& record)> done);
  /// Of a session that is in the store alone: an ICE restart, as add_credentials().
  void store_credentials(rtc_record r, rtc_credentials with);
  std::string next_id() { return id_prefix_ + "-" + std::to_string(++ids_); }

  // What the control thread decides of origins and streams.
  void origin_lost(const std::string& origin_id, cluster::loss_reason reason);
  void owner_changed(const cluster::stream_key& key, const cluster::assignment& to);
  /// True if the stream is published by a session here, which has said no: WebRTC cannot move.
  bool refuse_move(const cluster::action::move& what);

  size_t count() const { return entries_.size(); }
  void for_each(const std::function<void(const rtc_session& s)>& visit) const;
  /// All sessions end, and nothing is looked up or told to a relay any more: those have been stopped
  /// (rtc_relay::stop()). May be called again.
  void close(std::string_view reason);

  // rtc_reports: any thread
  void look_up(rtc_lookup check) override;
  void failed(const std::shared_ptr<rtc_session>& s, std::string_view reason) override;

 private:
  /// Checks whose name is being looked up, and what has been found so far.
  struct resumption {
    std::vector<rtc_lookup> checks;  // once one has proved to be the client's, it is the first
    uint64_t asked = 0;              // of the director; 0: nothing yet
    rtc_record record{};
    cluster::stream_key key{};
  };
  void tell(const rtc_entry& e, const rtc_credentials& with);
  void forget(rtc_entry& e, std::vector<rtc_credentials>::iterator which);
  void look_up_here(rtc_lookup check);
  void resume(const std::string& name, const std::string& value);
  base::result<void> resumed(const std::string& name, const base::result<cluster::assignment>& found);
  void missed(const std::string& name, std::string_view reason);
  void forged(const std::string& name);
  resumption take_resumption(const std::string& name);
  void retry(std::vector<rtc_lookup> checks);
  void stop_resuming();
  void store(rtc_entry& e);
  void ended_elsewhere(const std::string& key);
  void sweep();
  std::string_view overdue(const rtc_entry& e) const;
  void end_where(std::string_view reason, const std::function<bool(const rtc_entry&)>& which);
  void post(std::function<void(rtc_sessions&)> task);

  const surroundings here_;
  std::vector<rtc_relay*> relays_;
  std::unordered_map<const rtc_session*, rtc_entry> entries_;
  std::unordered_map<std::string, const rtc_session*> by_username_, by_location_;
  std::map<base::ip_address, size_t> by_source_;          // counted_source()
  std::unordered_map<std::string, resumption> resuming_;  // by name; bounded by lookups_waiting_
  size_t lookups_waiting_ = 0;                            // checks of all of them
  const std::string id_prefix_;
  uint64_t ids_ = 0;
  base::metric_cell& sessions_cell_;
  runtime::timer sweep_timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::relay
