#include "runtime/redis_client.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <map>

#include "proto/resp/command.hpp"
#include "runtime/backoff.hpp"
#include "runtime/process.hpp"
#include "runtime/redis_backend.hpp"
#include "runtime/redis_subscriber.hpp"

namespace sluice::runtime {
namespace {

using namespace std::chrono_literals;

constexpr base::duration said_again_after = 10s;
constexpr base::duration retry_pause = 20ms;
constexpr unsigned redirections_max = 8;
constexpr size_t waiting_max = 1024;
constexpr size_t error_text_bytes_max = 500;
constexpr double call_bounds_s[] = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1};

std::string sha1_of(std::string_view text) {
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr) != 1) throw std::bad_alloc();
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

uint32_t random_seed() {
  std::array<uint8_t, 4> bytes;
  random_bytes(bytes);
  return static_cast<uint32_t>(bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3]);
}

/// Lets a line through at most every 10 s.
struct pacer {
  bool is_due(base::time_point now) {
    if (said && now - said_at < said_again_after) return false;
    said = true;
    said_at = now;
    return true;
  }
  bool said = false;
  base::time_point said_at{};
};

/// One call of the user, until it is answered.
struct redis_call {
  std::optional<uint16_t> slot;  // of a Cluster
  std::vector<std::string> command;
  std::optional<redis_script> script;
  redis_client::on_reply done;
  base::time_point asked, due;
  unsigned redirections = 0;
  std::optional<host_port> at;  // where a redirection sent it
  bool asking = false;          // the redirection was ASK
};

}  // namespace

redis_script::redis_script(std::string text) {
  auto sha = sha1_of(text);
  body_ = std::make_shared<const body>(body{std::move(text), std::move(sha)});
}

// ---- redis_environment

redis_environment::redis_environment(loop& loop_of_all, redis_options o)
    : l(loop_of_all), options(std::move(o)), random(random_seed()) {
  if (options.tls) tls = tls_context::make(options.ca_file);
}

std::unique_ptr<redis_connection> redis_environment::connect(const host_port& to, const resp::session_config& config,
                                                             redis_connection::handlers h) {
  return std::make_unique<redis_connection>(l, names, tls ? &*tls : nullptr, to, config, std::move(h));
}

resp::session_config redis_environment::server_config() const {
  resp::session_config c;
  c.username = options.username;
  c.password = options.password;
  c.client_name = options.client_name;
  c.db = options.db;
  c.handshake_timeout = options.connect_timeout;
  c.ping_timeout = options.call_timeout;
  return c;
}

resp::session_config redis_environment::sentinel_config() const {
  auto c = server_config();
  c.username = options.sentinel_username;
  c.password = options.sentinel_password;
  c.db = 0;
  return c;
}

base::duration redis_environment::backoff_after(unsigned tries) {
  return backoff(options.backoff_min, options.backoff_max, tries, random);
}

// ---- redis_client

struct redis_client::impl : std::enable_shared_from_this<redis_client::impl> {
  impl(redis_client& client, loop& l, redis_options options, base::log_sink& log_to, base::metrics& metrics)
      : owner(&client),
        env(l, std::move(options)),
        log(log_to),
        up_gauge(metrics.gauge("sluice_redis_up", "1 while Redis is usable")),
        answered(counter(metrics, "ok")),
        unavailable(counter(metrics, "unavailable")),
        refused(counter(metrics, "error")),
        seconds(metrics.histogram("sluice_redis_call_seconds", "Time that a Redis call took", call_bounds_s)),
        retry(l, [this] { retry_waiting(); }) {}

  static base::metric_cell& counter(base::metrics& metrics, const char* outcome) {
    return metrics.counter("sluice_redis_calls_total", "Redis calls", {{"outcome", outcome}});
  }

  void start() {
    env.up = [this](const std::string& address) { on_up(address); };
    env.down = [this](const std::string& address, const base::error& why) { on_down(address, why); };
    env.unsubscribed = [this](const std::string& address, const base::error& why) {
      if (said_unsubscribed.is_due(env.l.now()))
        log.warn("redis_unsubscribed", {{"peer", address}, {"reason", why.reason}, {"text", why.text}});
    };
    env.changed = [this] {
      announce(false);
      announce(true);
    };
    if (env.options.tls && !env.tls) {
      // Without authorities nobody can be believed: there is nothing to try.
      on_down("", env.tls.error());
      return;
    }
    backend = env.options.cluster.empty() ? make_redis_primary(env) : make_redis_cluster(env);
  }

  // ---- calls
  void call(redis_call c) {
    c.asked = env.l.refresh();
    c.due = c.asked + env.options.call_timeout;
    dispatch(std::move(c));
  }
  void dispatch(redis_call c);
  void on_answer(redis_call& c, const host_port& by, base::result<resp::value> answer);
  void on_error(redis_call& c, const host_port& by, const resp::value& error);
  void wait(redis_call c, std::string_view why);
  void retry_waiting();
  void fail_later(redis_call c, std::string why);
  void finish(redis_call& c, base::result<resp::value> outcome);

  // ---- state
  void on_up(const std::string& address);
  void on_down(const std::string& address, const base::error& why);
  void announce(bool is_up);

  redis_client* owner;  // as long as this is held by it
  redis_environment env;
  base::log_sink& log;
  base::metric_cell &up_gauge, &answered, &unavailable, &refused;
  base::metric_histogram& seconds;
  bool up = false;
  pacer said_down, said_unsubscribed;
  std::multimap<base::time_point, redis_call> waiting;  // by when they are tried again
  timer retry;
  std::unique_ptr<redis_backend> backend;
  std::unique_ptr<redis_subscriber> subscriber;
};

void redis_client::impl::dispatch(redis_call c) {
  if (!backend) return fail_later(std::move(c), "not connected");
  const auto route = backend->route(c.slot, c.at);
  if (!route.to) {
    if (route.soon) return wait(std::move(c), route.why);
    return fail_later(std::move(c), std::string(route.why));
  }
  // Shared, so that a connection which takes no call leaves it to us.
  auto kept = std::make_shared<redis_call>(std::move(c));
  const auto sent =
      route.to->call(kept->command, kept->due, kept->asking,
                     [weak = weak_from_this(), kept, by = route.to->to()](base::result<resp::value> answer) {
                       if (const auto self = weak.lock()) self->on_answer(*kept, by, std::move(answer));
                     });
  if (!sent) fail_later(std::move(*kept), sent.error().text);
}

void redis_client::impl::on_answer(redis_call& c, const host_port& by, base::result<resp::value> answer) {
  if (answer && answer->is_error()) return on_error(c, by, *answer);
  finish(c, std::move(answer));
}

void redis_client::impl::on_error(redis_call& c, const host_port& by, const resp::value& error) {
  const auto kind = resp::kind_of_error(error.text);
  switch (kind) {
    case resp::error_kind::moved:
    case resp::error_kind::ask: {
      const auto r = resp::parse_redirection(error.text);
      c.asking = kind == resp::error_kind::ask;
      c.at = r && ++c.redirections <= redirections_max ? backend->redirected(*r, !c.asking, by) : std::nullopt;
      if (c.at) return dispatch(std::move(c));
      return finish(c, base::fail("store_unavailable", error.text.substr(0, error_text_bytes_max)));
    }
    case resp::error_kind::no_script:
      if (c.script && c.command[0] == "EVALSHA") {
        c.command[0] = "EVAL";
        c.command[1] = c.script->text();
        return dispatch(std::move(c));
      }
      break;
    case resp::error_kind::read_only:
    case resp::error_kind::cluster_down:
    case resp::error_kind::try_again:
    case resp::error_kind::loading:
      backend->refused(kind);
      c.at.reset();
      c.asking = false;
      return wait(std::move(c), resp::error_code(error.text));
    case resp::error_kind::full:
      return finish(c, base::fail("store_unavailable", std::string(resp::error_code(error.text))));
    default:
      break;
  }
  finish(c, base::fail("store_error", error.text.substr(0, error_text_bytes_max)));
}

/// Not done yet, and may be in a moment: as long as its deadline allows.
void redis_client::impl::wait(redis_call c, std::string_view why) {
  const auto at = env.l.now() + retry_pause;
  if (at >= c.due || waiting.size() >= waiting_max) return fail_later(std::move(c), std::string(why));
  waiting.emplace(at, std::move(c));
  if (!retry.armed()) retry.arm_at(at);
}

void redis_client::impl::retry_waiting() {
  while (!waiting.empty() && waiting.begin()->first <= env.l.now()) {
    auto next = waiting.extract(waiting.begin());
    dispatch(std::move(next.mapped()));
  }
  if (!waiting.empty()) retry.arm_at(waiting.begin()->first);
}

void redis_client::impl::fail_later(redis_call c, std::string why) {
  auto kept = std::make_shared<redis_call>(std::move(c));
  env.l.post([weak = weak_from_this(), kept, why = std::move(why)] {
    if (const auto self = weak.lock()) self->finish(*kept, base::fail("store_unavailable", why));
  });
}

void redis_client::impl::finish(redis_call& c, base::result<resp::value> outcome) {
  if (outcome) {
    answered.add();
    seconds.observe(std::chrono::duration<double>(env.l.now() - c.asked).count());
  } else {
    (outcome.error().reason == "store_error" ? refused : unavailable).add();
  }
  if (owner && c.done) std::exchange(c.done, nullptr)(std::move(outcome));
}

void redis_client::impl::on_up(const std::string& address) {
  log.info("redis_connected", {{"peer", address}});
  up_gauge.set(1);
  up = true;
  announce(true);
  if (subscriber) subscriber->look();
}

void redis_client::impl::on_down(const std::string& address, const base::error& why) {
  if (said_down.is_due(env.l.now()))
    log.warn("redis_unavailable", {{"peer", address}, {"reason", why.reason}, {"text", why.text}});
  up_gauge.set(0);
  if (std::exchange(up, false)) announce(false);
}

void redis_client::impl::announce(bool is_up) {
  env.l.post([weak = weak_from_this(), is_up] {
    const auto self = weak.lock();
    if (self && self->owner && self->owner->on_state) {
      const auto tell = self->owner->on_state;  // may be replaced, or destroyed with its client
      tell(is_up);
    }
  });
}

redis_client::redis_client(loop& l, redis_options options, base::log_sink& log, base::metrics& metrics)
    : impl_(std::make_shared<impl>(*this, l, std::move(options), log, metrics)) {
  impl_->start();
}

redis_client::~redis_client() { impl_->owner = nullptr; }

void redis_client::call(std::string_view slot_key, std::vector<std::string> command, on_reply done) {
  redis_call c;
  if (!slot_key.empty()) c.slot = resp::key_slot(slot_key);
  c.command = std::move(command);
  c.done = std::move(done);
  impl_->call(std::move(c));
}

void redis_client::eval(const redis_script& script, std::vector<std::string> keys, std::vector<std::string> arguments,
                        on_reply done) {
  redis_call c;
  if (!keys.empty()) c.slot = resp::key_slot(keys.front());
  c.command = {"EVALSHA", script.sha(), fmt::format("{}", keys.size())};
  c.command.insert(c.command.end(), std::make_move_iterator(keys.begin()), std::make_move_iterator(keys.end()));
  c.command.insert(c.command.end(), std::make_move_iterator(arguments.begin()),
                   std::make_move_iterator(arguments.end()));
  c.script = script;
  c.done = std::move(done);
  impl_->call(std::move(c));
}

void redis_client::subscribe(std::vector<std::string> channels, on_message handler) {
  impl_->subscriber.reset();
  if (channels.empty() || !impl_->backend) return;
  impl_->subscriber = std::make_unique<redis_subscriber>(
      impl_->env, *impl_->backend, std::move(channels),
      [weak = std::weak_ptr(impl_), handler = std::move(handler)](std::string_view channel, std::string_view payload) {
        const auto self = weak.lock();
        if (self && self->owner) handler(channel, payload);
      },
      [weak = std::weak_ptr(impl_)] {
        if (const auto self = weak.lock(); self && self->up) self->env.changed();
      });
  impl_->subscriber->look();
}

bool redis_client::is_up() const { return impl_->up; }

}  // namespace sluice::runtime
