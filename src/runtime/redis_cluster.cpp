#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

#include "proto/resp/command.hpp"
#include "runtime/redis_backend.hpp"

namespace sluice::runtime {
namespace {

constexpr size_t nodes_max = 128;
constexpr unsigned stray_tries_max = 3;  // to connect to a server that a redirection named, but no table
constexpr base::duration refresh_pause = std::chrono::milliseconds(100);

/// A Redis Cluster: the table of slots as one of its servers told it, corrected by MOVED, and a connection to each
/// master in it. The table is asked for anew when a connection is lost or a redirection came, until it covers all
/// slots.
class redis_cluster final : public redis_backend {
 public:
  explicit redis_cluster(redis_environment& env)
      : env_(env), slots_(resp::slot_count), refresh_(env.l, [this] { refresh(); }) {
    refresh_.arm_after(base::duration::zero());
  }

  redis_route route(std::optional<uint16_t> slot, const std::optional<host_port>& at) override {
    node* n = at ? node_at(*at) : slot ? slots_[*slot] : any_ready();
    if (!n) return {nullptr, table_known_ && slot && !at, "no server for the slot"};
    if (n->ready()) return {n->connection.get(), false, {}};
    return {nullptr, !n->failed, "not connected"};
  }

  std::optional<host_port> redirected(const resp::redirection& r, bool moved, const host_port& by) override {
    host_port to{r.to.host.empty() ? by.host : r.to.host, r.to.port};
    node* n = node_at(to);
    if (!n) return std::nullopt;
    if (moved) {
      slots_[r.slot] = n;
      refresh_soon();
    }
    return to;
  }

  void refused(resp::error_kind kind) override {
    if (kind != resp::error_kind::try_again) refresh_soon();
  }

  std::optional<host_port> any_server() const override {
    for (const auto& [at, n] : nodes_)
      if (n->in_table && n->ready()) return at;
    return std::nullopt;
  }
  bool serves(const host_port& at) const override {
    const auto found = nodes_.find(at);
    return found != nodes_.end() && found->second->in_table;
  }

 private:
  struct node {
    explicit node(loop& l, std::function<void()> retry_now) : retry(l, std::move(retry_now)) {}
    bool ready() const { return connection && connection->ready(); }
    std::unique_ptr<redis_connection> connection;
    timer retry;
    unsigned tries = 0;
    bool in_table = false;
    bool failed = false;  // not connected since it was lost, or ever
  };

  node* any_ready() {
    const auto at = any_server();
    return at ? nodes_.at(*at).get() : nullptr;
  }

  /// Made if it is new; nullptr if there are too many.
  node* node_at(const host_port& at) {
    if (const auto found = nodes_.find(at); found != nodes_.end()) return found->second.get();
    if (nodes_.size() >= nodes_max) return nullptr;
    auto& n = nodes_[at];
    n = std::make_unique<node>(env_.l, [this, at] { connect(at); });
    connect(at);
    return n.get();
  }

  resp::session_config config() const {
    auto c = env_.server_config();
    c.db = 0;
    return c;
  }

  void connect(const host_port& at) {
    auto& n = *nodes_.at(at);
    n.connection = env_.connect(at, config(),
                                {.up =
                                     [this, at] {
                                       auto& connected = *nodes_.at(at);
                                       connected.failed = false;
                                       connected.tries = 0;
                                       evaluate();
                                     },
                                 .down = [this, at](const base::error& why) { on_down(host_port(at), why); }});
  }

  void on_down(const host_port& at, const base::error& why) {
    auto& n = *nodes_.at(at);
    n.connection.reset();
    n.failed = true;
    const bool in_table = n.in_table;
    if (!in_table && n.tries >= stray_tries_max) {
      forget(at);
    } else {
      n.retry.arm_after(env_.backoff_after(n.tries++));
    }
    refresh_soon();
    if (!in_table) return;
    up_ = false;
    env_.down(at.to_string(), why);
  }

  void forget(const host_port& at) {
    const auto found = nodes_.find(at);
    for (auto& s : slots_)
      if (s == found->second.get()) s = nullptr;
    if (found->second->connection) found->second->connection->close();
    nodes_.erase(found);
  }

  // ---- the table
  void refresh_soon() {
    if (asking_ || refresh_.armed()) return;
    refresh_.arm_after(refresh_pause);
  }

  void refresh() {
    asking_ = true;
    std::vector<node*> ready;
    for (const auto& [at, n] : nodes_)
      if (n->ready()) ready.push_back(n.get());
    if (!ready.empty()) return ask(*ready[next_source_++ % ready.size()]->connection);
    // None of those we know, or not yet: the configured ones and the others, in turn.
    std::vector<host_port> candidates = env_.options.cluster;
    for (const auto& [at, n] : nodes_) candidates.push_back(at);
    probe_ = env_.connect(candidates[next_source_++ % candidates.size()], config(),
                          {.up = [this] { ask(*probe_); },
                           .down =
                               [this, count = candidates.size()](const base::error& why) {
                                 const auto at = probe_->to().to_string();
                                 unknown(at, why, count);
                               }});
  }

  void ask(redis_connection& at) {
    const std::string query[] = {"CLUSTER", "SLOTS"};
    const auto due = env_.l.now() + env_.options.call_timeout;
    const auto asked = at.call(query, due, false,
                               [this, by = at.to(), alive = std::weak_ptr(alive_)](base::result<resp::value> answer) {
                                 if (!alive.expired()) on_table(host_port(by), answer);
                               });
    if (!asked) unknown(at.to().to_string(), base::error(asked.error()), 1);
  }

  void on_table(const host_port& by, const base::result<resp::value>& answer) {
    if (!answer) return unknown(by.to_string(), answer.error(), 1);
    if (answer->is_error())
      return unknown(by.to_string(),
                     {"redis_refused", fmt::format("CLUSTER SLOTS: {}", resp::error_code(answer->text))}, 1);
    auto ranges = resp::parse_cluster_slots(*answer);
    if (!ranges) return unknown(by.to_string(), ranges.error(), 1);
    probe_.reset();
    asking_ = false;
    apply(std::move(*ranges), by);
  }

  /// Another try, at another server.
  void unknown(const std::string& address, const base::error& why, size_t candidates) {
    probe_.reset();
    asking_ = false;
    refresh_.arm_after(env_.backoff_after(static_cast<unsigned>(refresh_tries_++ / candidates)));
    if (!up_) env_.down(address, why);
  }

  void apply(std::vector<resp::slot_range> ranges, const host_port& by) {
    for (auto& r : ranges)
      if (r.master.host.empty()) r.master.host = by.host;
    std::ranges::sort(ranges, {}, &resp::slot_range::first);
    for (auto& [at, n] : nodes_) n->in_table = false;
    std::ranges::fill(slots_, nullptr);
    for (const auto& r : ranges) {
      node* n = node_at(r.master);
      if (!n) continue;
      n->in_table = true;
      std::fill(slots_.begin() + r.first, slots_.begin() + r.last + 1, n);
    }
    changed_ = changed_ || (table_known_ && ranges != told_);
    told_ = std::move(ranges);
    table_known_ = true;
    std::vector<host_port> gone;
    for (const auto& [at, n] : nodes_)
      if (!n->in_table) gone.push_back(at);
    for (const auto& at : gone) forget(at);
    covered_ = std::ranges::find(slots_, nullptr) == slots_.end();
    if (covered_) {
      refresh_tries_ = 0;
    } else {
      up_ = false;
      refresh_.arm_after(env_.backoff_after(refresh_tries_++));
      env_.down(by.to_string(), {"redis_cluster_down", "slots without a server"});
    }
    evaluate();
  }

  void evaluate() {
    if (!table_known_ || !covered_) return;
    for (const auto& [at, n] : nodes_)
      if (n->in_table && !n->ready()) return;
    if (up_ && changed_) env_.changed();
    if (!up_) env_.up(any_server()->to_string());
    up_ = true;
    changed_ = false;
  }

  redis_environment& env_;
  std::map<host_port, std::unique_ptr<node>> nodes_;
  std::vector<node*> slots_;  // with what MOVED said
  std::vector<resp::slot_range> told_;
  bool table_known_ = false, covered_ = false, changed_ = false, up_ = false;
  timer refresh_;
  bool asking_ = false;
  unsigned refresh_tries_ = 0;
  size_t next_source_ = 0;
  std::unique_ptr<redis_connection> probe_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

std::unique_ptr<redis_backend> make_redis_cluster(redis_environment& env) {
  return std::make_unique<redis_cluster>(env);
}

}  // namespace sluice::runtime
