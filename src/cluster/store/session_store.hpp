#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"

namespace sluice::cluster {

/// Where proxies leave what another one needs to go on with a client's session: texts under keys (`srs-proxy-ufrag:…`,
/// without the configured prefix), each with a life of its own. Soft state: what is lost costs its client a new
/// session. Control thread.
class session_store {
 public:
  /// Nothing: there is none. Error reason: store_unavailable.
  using on_value = std::function<void(base::result<std::optional<std::string>>)>;
  virtual ~session_store() = default;
  virtual void put(const std::string& key, const std::string& value, base::duration ttl) = 0;
  /// `done` is called once, possibly from within; later, at most for as long as the store waits for an answer.
  virtual void get(const std::string& key, on_value done) = 0;
  virtual void drop(const std::string& key) = 0;
  /// drop(), and the session is over wherever it is: other proxies that the store reaches hear it (on_ended), once at
  /// most.
  virtual void end(const std::string& key) { drop(key); }
  /// Another proxy has ended the session of that key. Never from within a call of this class.
  std::function<void(const std::string& key)> on_ended;
};

/// Of a single proxy. At most `entries_max`; above it, new ones are not taken (put does nothing).
class memory_session_store final : public session_store {
 public:
  using clock = std::function<base::time_point()>;
  explicit memory_session_store(clock now, size_t entries_max = 100'000)
      : now_(std::move(now)), entries_max_(entries_max) {}

  void put(const std::string& key, const std::string& value, base::duration ttl) override;
  void get(const std::string& key, on_value done) override;
  void drop(const std::string& key) override;
  size_t size() const { return entries_.size(); }  ///< expired ones included until the next call
  /// What is held: keys and values.
  std::vector<std::pair<std::string, std::string>> entries();

 private:
  using expiry_map = std::multimap<base::time_point, std::string>;
  struct entry {
    std::string value;
    expiry_map::iterator expiry;
  };
  void remove_expired();

  const clock now_;
  const size_t entries_max_;
  std::unordered_map<std::string, entry> entries_;
  expiry_map expiries_;
};

}  // namespace sluice::cluster
