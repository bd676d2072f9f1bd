#include "proto/resp/session.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "proto/resp/command.hpp"

namespace sluice::resp {
namespace {

tl::unexpected<base::error> unavailable(std::string text) { return base::fail("store_unavailable", std::move(text)); }

/// The handshake was refused. Redis quotes arguments in some errors, a password too: only the code is shown.
tl::unexpected<base::error> refused(std::string_view command, std::string_view text) {
  const auto code = error_code(text);
  switch (kind_of_error(text)) {
    case error_kind::no_auth:
      return base::fail(
          "redis_auth",
          fmt::format("{}: {} (user or password wrong, missing, or without the right to it)", command, code));
    case error_kind::loading:
      return base::fail("redis_loading", fmt::format("{}: {} (the server is not ready yet)", command, code));
    default:
      return base::fail("redis_refused", fmt::format("{}: {}", command, code));
  }
}

}  // namespace

session::session(session_config config, base::time_point now)
    : config_(std::move(config)),
      parser_(config_.reply_limits),
      unsubscribed_(config_.channels.size()),
      handshake_due_(now + config_.handshake_timeout) {
  send_hello();
}

void session::send_hello() {
  std::vector<std::string> hello{"HELLO", "3"};
  if (!config_.password.empty())
    hello.insert(hello.end(), {"AUTH", config_.username.empty() ? "default" : config_.username, config_.password});
  send(purpose::hello, hello, 0, base::never);
}

// All at once: one round trip. `auth`: HELLO did not do it.
void session::send_settings(bool auth) {
  state_ = state::settings;
  if (auth && !config_.password.empty()) {
    if (config_.username.empty()) {
      send(purpose::auth, {"AUTH", config_.password});
    } else {
      send(purpose::auth, {"AUTH", config_.username, config_.password});
    }
  }
  if (!config_.client_name.empty()) send(purpose::name, {"CLIENT", "SETNAME", config_.client_name});
  if (config_.db != 0) send(purpose::select, {"SELECT", fmt::format("{}", config_.db)});
  if (config_.master_wanted) send(purpose::role, {"ROLE"});
  send(purpose::ping, {"PING"});
}

/// The answer to the handshake's PING is here: the last of the settings.
base::result<void> session::settled() {
  if (config_.master_wanted && role_ == server_role::replica)
    return base::fail("redis_not_master", "the server is a replica");
  if (config_.channels.empty()) {
    become_ready();
    return {};
  }
  state_ = state::subscribing;
  std::vector<std::string> subscribe{"SUBSCRIBE"};
  subscribe.insert(subscribe.end(), config_.channels.begin(), config_.channels.end());
  send(purpose::subscribe, subscribe, 0, base::never);
  return {};
}

void session::become_ready() {
  state_ = state::ready;
  handshake_due_ = base::never;
  events_.push_back(session_ready{});
}

void session::send(purpose what, std::span<const std::string> command, uint64_t id, base::time_point due) {
  const size_t before = output_.size();
  write_command(output_.sink(), command);
  pending_.push_back({what, id, due, output_.size() - before});
  pending_bytes_ += pending_.back().bytes;
  next_due_ = std::min(next_due_, due);
}

void session::send(purpose what, std::initializer_list<std::string> command) {
  send(what, std::vector<std::string>(command), 0, base::never);
}

base::result<void> session::call(uint64_t id, std::span<const std::string> command, base::time_point due, bool asking) {
  if (!ready() || !config_.channels.empty()) return unavailable("the connection takes no calls");
  if (overdue()) return unavailable("the server does not answer");
  if (pending_.size() >= config_.calls_max || pending_bytes_ + command_bytes(command) > config_.call_bytes_max)
    return unavailable("too many calls are unanswered");
  const std::string prefix[] = {"ASKING"};
  if (asking) send(purpose::asking, prefix, 0, due);
  send(purpose::call, command, id, due);
  return {};
}

base::result<void> session::receive(base::bytes_view bytes, base::time_point now) {
  while (true) {
    auto v = parser_.read(bytes);
    if (!v) return tl::unexpected(v.error());
    if (!*v) return {};
    if (auto ok = on_value(std::move(**v), now); !ok) return ok;
  }
}

base::result<void> session::on_value(value v, base::time_point now) {
  next_ping_ = now + config_.ping_interval;
  if (on_push(v)) return {};
  if (pending_.empty()) return base::fail("bad_resp", "an answer that nobody asked for");
  const auto p = pending_.front();
  pending_.pop_front();
  pending_bytes_ -= p.bytes;
  return p.expired ? base::result<void>{} : on_reply(p, std::move(v));
}

/// Takes what belongs to subscriptions: pushes, and in RESP2 arrays that look like them.
bool session::on_push(value& v) {
  const bool by_form = v.type == kind::push || (!resp3_ && !config_.channels.empty() && v.type == kind::array);
  if (!by_form) return false;
  auto& e = v.elements;
  const bool named = !e.empty() && e[0].is_string();
  if (named && e.size() == 3 && e[0].text == "message" && e[1].is_string() && e[2].is_string()) {
    events_.push_back(channel_message{std::move(e[1].text), std::move(e[2].text)});
    return true;
  }
  if (named && e[0].text == "subscribe") {
    if (unsubscribed_ == 0 || --unsubscribed_ > 0 || state_ != state::subscribing) return true;
    // The confirmations stand for the command's reply.
    if (!pending_.empty()) {
      pending_bytes_ -= pending_.front().bytes;
      pending_.pop_front();
    }
    become_ready();
    return true;
  }
  return v.type == kind::push;
}

base::result<void> session::on_reply(const pending& p, value v) {
  switch (p.what) {
    case purpose::hello:
      return on_hello(v);
    case purpose::auth:
      if (v.is_error()) return refused("AUTH", v.text);
      return {};
    case purpose::select:
      if (v.is_error()) return refused("SELECT", v.text);
      return {};
    case purpose::role:
      if (const auto role = parse_role(v); role != server_role::unknown) role_ = role;
      return {};
    case purpose::ping:
      if (state_ != state::settings) return {};
      // A user without the right to PING may have others.
      if (v.is_error() && error_code(v.text) != "NOPERM") return refused("PING", v.text);
      return settled();
    case purpose::subscribe:
      return v.is_error() ? refused("SUBSCRIBE", v.text) : base::fail("bad_resp", "an odd answer to SUBSCRIBE");
    case purpose::call:
      events_.push_back(call_done{p.id, std::move(v)});
      return {};
    case purpose::name:
    case purpose::asking:
      return {};
  }
  return {};
}

base::result<void> session::on_hello(const value& v) {
  if (!v.is_error()) {
    const auto* proto = v.find("proto");
    resp3_ = proto && proto->number() == 3;
    if (const auto* role = v.find("role"); role && role->is_string()) role_ = parse_role_name(role->text);
    send_settings(false);
    return {};
  }
  switch (kind_of_error(v.text)) {
    case error_kind::no_auth:
    case error_kind::loading:
    case error_kind::full:
      return refused("HELLO", v.text);
    default:
      send_settings(true);
      return {};
  }
}

base::result<void> session::on_timeout(base::time_point now) {
  if (now >= handshake_due_) return base::fail("redis_silent", "no end of the handshake in time");
  if (now >= next_due_) {
    next_due_ = base::never;
    for (auto& p : pending_) {
      if (!p.expired && p.due <= now) {
        p.expired = true;
        if (p.what == purpose::call) events_.push_back(call_done{p.id, unavailable("no answer in time")});
      }
      if (!p.expired) next_due_ = std::min(next_due_, p.due);
    }
  }
  if (overdue() && now - pending_.front().due >= config_.overdue_max)
    return base::fail("redis_silent", "the server does not answer");
  if (ready() && now >= next_ping_) {
    next_ping_ = now + config_.ping_interval;
    const std::string ping[] = {"PING"};
    if (pending_.empty()) send(purpose::ping, ping, 0, now + config_.ping_timeout);
  }
  return {};
}

base::time_point session::deadline() const {
  auto when = std::min(handshake_due_, next_due_);
  if (ready()) when = std::min(when, next_ping_);
  if (overdue()) when = std::min(when, pending_.front().due + config_.overdue_max);
  return when;
}

std::optional<session_event> session::next_event() {
  if (events_.empty()) return std::nullopt;
  auto e = std::move(events_.front());
  events_.pop_front();
  return e;
}

}  // namespace sluice::resp
