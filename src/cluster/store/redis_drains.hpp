#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>

#include "base/log.hpp"
#include "cluster/store/redis_keys.hpp"
#include "runtime/loop.hpp"
#include "runtime/redis_client.hpp"

namespace sluice::cluster {

/// Which servers are drained, as operators have said at any proxy. Each word has a time, and of two about one server
/// the later counts, in whatever order they arrive. A word that was given here is written, and then told to the others,
/// again and again until both have been done. Control thread.
class redis_drains {
 public:
  /// A drain or its end, said by an operator at `at_ms` of the wall clock.
  struct word {
    bool on = true;
    uint64_t at_ms = 0;
  };
  /// Sends the message about a word to the other proxies.
  using teller = std::function<void(const std::string& server_id, const word& said, runtime::redis_client::on_reply)>;

  /// `client` and `log` outlive it. `on_news`: drained() may have changed by what others said; not from within a call
  /// of this class.
  redis_drains(runtime::loop& l, runtime::redis_client& client, const redis_keys& keys, base::log_sink& log,
               teller tell, std::function<void()> on_news);

  /// An operator has said so here. It counts as later than what he could see.
  void ordered(const std::string& server_id, bool on, uint64_t wall_ms);
  /// Another proxy has told; returns whether that is news. A time of 0: one of an older version, which means now.
  bool heard(const std::string& server_id, word said, uint64_t wall_ms);
  /// Reads what the store has.
  void load(uint64_t wall_ms);
  /// The store remembers nothing: all that is known here is written to it.
  void write_again();
  /// Tries what is not stored or told yet at once, and not only when the time for it comes.
  void save();
  /// Of how many servers the last word given here has yet to be stored or told.
  size_t unsaved() const;

  std::set<std::string> drained() const;

 private:
  struct entry {
    word last;
    bool seen = false;    // the store has had it
    bool missed = false;  // and had it no more when it was read last
    bool stored = true, told = true;
    bool under_way = false;
  };
  entry* put(const std::string& server_id, word said);
  void push(const std::string& server_id, entry& e);
  void on_stored(const std::string& server_id, uint64_t at_ms, const base::result<resp::value>& answer);
  void on_told(const std::string& server_id, uint64_t at_ms, const base::result<resp::value>& answer);
  entry* under_way(const std::string& server_id, uint64_t at_ms);
  void retry_later();
  void on_loaded(const resp::value& answer, uint64_t wall_ms);

  runtime::redis_client& client_;
  const redis_keys keys_;
  base::log_sink& log_;
  const teller tell_;
  const std::function<void()> on_news_;
  runtime::timer retry_;
  unsigned tries_ = 0;
  bool loading_ = false;
  std::map<std::string, entry> entries_;
  std::minstd_rand random_;
};

}  // namespace sluice::cluster
