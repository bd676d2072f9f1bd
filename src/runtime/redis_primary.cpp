#include "runtime/redis_backend.hpp"
#include "runtime/redis_sentinels.hpp"

namespace sluice::runtime {
namespace {

/// One server: the one that is configured, or the master that Sentinels name.
class redis_primary final : public redis_backend {
 public:
  explicit redis_primary(redis_environment& env) : env_(env), retry_(env.l, [this] { attempt(); }) {
    if (!env.options.sentinels.empty()) {
      sentinels_ = std::make_unique<redis_sentinels>(
          env, redis_sentinels::news{.switched = [this](const host_port& to) { follow(to); },
                                     .listening = [this] { check(); }});
    }
    attempt();
  }

  redis_route route(std::optional<uint16_t>, const std::optional<host_port>&) override {
    if (ready() && !leaving_) return {connection_.get(), false, {}};
    return {nullptr, leaving_, "not connected"};
  }
  std::optional<host_port> redirected(const resp::redirection&, bool, const host_port&) override {
    return std::nullopt;  // a server of a Cluster, but we were not told of one
  }
  void refused(resp::error_kind kind) override {
    if (kind != resp::error_kind::read_only || leaving_ || !ready()) return;
    // No longer the master. What else it answers in this batch is heard before it is left.
    leaving_ = true;
    retry_.arm_after(base::duration::zero());
  }
  std::optional<host_port> any_server() const override { return ready() ? std::optional(at_) : std::nullopt; }
  bool serves(const host_port& at) const override { return at == at_; }

 private:
  bool ready() const { return connection_ && connection_->ready(); }

  void attempt() {
    if (leaving_) return leave({"redis_not_master", "the server takes no writes"});
    if (!sentinels_) return connect({env_.options.host, env_.options.port});
    sentinels_->find([this](base::result<host_port> found) {
      if (found) return connect(*found);
      lost("sentinel", found.error());
    });
  }

  void connect(const host_port& to) {
    at_ = to;
    auto config = env_.server_config();
    config.master_wanted = true;
    connection_ = env_.connect(to, config,
                               {.up =
                                    [this] {
                                      up_since_ = env_.l.now();
                                      env_.up(at_.to_string());
                                    },
                                .down = [this](const base::error& why) { lost(at_.to_string(), why); }});
  }

  void leave(const base::error& why) {
    leaving_ = false;
    connection_->close();
    lost(at_.to_string(), why);
  }

  void lost(const std::string& address, const base::error& why) {
    connection_.reset();
    leaving_ = false;
    // A server that comes and goes is not tried as often as one that was there for long.
    if (up_since_ != base::never && env_.l.now() - up_since_ > env_.options.backoff_max) tries_ = 0;
    up_since_ = base::never;
    retry_.arm_after(env_.backoff_after(tries_++));
    env_.down(address, why);
  }

  // ---- Sentinel's news
  void follow(const host_port& to) {
    if (connection_ && to == at_) return;
    retry_.cancel();
    leaving_ = false;
    if (connection_) connection_->close();
    env_.down(at_.to_string(), {"redis_not_master", "the master is " + to.to_string() + " now"});
    connect(to);
  }
  void check() {
    if (!ready()) return;
    sentinels_->find([this](base::result<host_port> found) {
      if (found && ready()) follow(*found);
    });
  }

  redis_environment& env_;
  host_port at_;
  std::unique_ptr<redis_connection> connection_;
  std::unique_ptr<redis_sentinels> sentinels_;
  bool leaving_ = false;
  unsigned tries_ = 0;
  base::time_point up_since_ = base::never;
  timer retry_;
};

}  // namespace

std::unique_ptr<redis_backend> make_redis_primary(redis_environment& env) {
  return std::make_unique<redis_primary>(env);
}

}  // namespace sluice::runtime
