#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "base/time.hpp"
#include "cluster/store/cluster_message.hpp"
#include "cluster/store/redis_drains.hpp"
#include "cluster/store/redis_origins.hpp"
#include "cluster/store/redis_sessions.hpp"
#include "cluster/store/redis_store.hpp"
#include "runtime/loop.hpp"

namespace sluice::cluster {

/// What several proxies share through Redis: owners (store()), origins, drains, who is there, and what they tell each
/// other. Soft state: everything here is written again by whoever knows it. Control thread.
class redis_state {
 public:
  struct config {
    std::string proxy_id;
    std::string key_prefix;
    redis_origins::config origins;
    std::string about;  ///< what this proxy says of itself: a JSON object
  };
  /// Called on the loop, never from within a call of this class. Set before run().
  struct listener {
    /// The store answers now, or does not. `cold`: it is another than it was, and remembers nothing. Comes also when it
    /// was reachable before, if its last writes may be lost.
    std::function<void(bool reachable, bool cold)> on_store;
    std::function<void(const stream_key&, const owner_record&)> on_owner;
    /// Another proxy has heard from this origin.
    std::function<void(origin_registration)> on_origin;
    /// The store knows this origin (but not its load); told again and again.
    redis_origins::on_stored on_stored_origin;
    /// Somebody wants the whole list of streams of every origin.
    std::function<void()> on_hello;
    /// The servers that are drained, all of them; also when nothing has changed.
    std::function<void(const std::set<std::string>& server_ids)> on_drains;
    /// `respond` may be called once, now or later, or dropped.
    std::function<void(std::string question, std::function<void(std::string)> respond)> on_question;
  };
  /// What another proxy answered.
  struct answer {
    std::string proxy_id;
    std::string about;                ///< as in its config
    std::optional<std::string> text;  ///< nothing: it did not answer in time
  };

  /// `log` and `metrics` outlive it.
  redis_state(runtime::loop& l, runtime::redis_options server, config c, base::log_sink& log, base::metrics& metrics);
  ~redis_state();

  owner_store& store() { return store_; }
  session_store& sessions() { return sessions_; }
  void listen(listener to) { listener_ = std::move(to); }
  /// An origin has registered with this proxy.
  void origin_registered(const origin_registration& registration);
  /// An operator has said here that this server is to be drained, or no longer.
  void drained(const std::string& server_id, bool on);
  /// Asks all other proxies. `done` comes when all that are known have answered, or after `timeout`.
  void ask(std::string question, base::duration timeout, std::function<void(std::vector<answer>)> done);
  /// This proxy is about to end: it is no longer listed.
  void leave();

 private:
  struct asking {
    std::vector<answer> answers;
    size_t missing = 0;
    std::function<void(std::vector<answer>)> done;
    std::unique_ptr<runtime::timer> deadline;
  };
  void on_client_state(bool up);
  void check_generation();
  void reached(bool cold);
  void pulse();
  void announce_self();
  void say(const cluster_message& message);
  void publish(const cluster_message& message, runtime::redis_client::on_reply done);
  void heard(std::string_view text);
  void take(const std::string& from, const message::owner& m);
  void take(const std::string& from, const message::origin& m);
  void take(const std::string& from, const message::hello& m);
  void take(const std::string& from, const message::drain& m);
  void take(const std::string& from, const message::question& m);
  void take(const std::string& from, const message::answer& m);
  void take(const std::string& from, const message::session_end& m);
  void begin_asking(const std::string& id, const resp::value& listed, std::string question);
  void finish_asking(const std::string& id);

  runtime::loop& loop_;
  const config config_;
  const redis_keys keys_;
  runtime::redis_client client_;
  redis_store store_;
  redis_sessions sessions_;
  redis_origins origins_;
  redis_drains drains_;
  listener listener_;
  runtime::timer pulse_;
  std::string generation_;  // empty: not known yet
  bool reachable_ = false;
  bool checking_ = false;
  base::time_point announced_at_ = base::time_point::min(), loaded_at_ = base::time_point::min(),
                   drains_loaded_at_ = base::time_point::min();
  std::map<std::string, asking> asked_;
  uint64_t questions_ = 0;
  base::metric_cell& bad_messages_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::cluster
