#include "runtime/redis_connection.hpp"

#include <fmt/format.h>

#include <system_error>

namespace sluice::runtime {
namespace {

base::error lost(const base::error& why) { return {"store_unavailable", "the connection was lost: " + why.text}; }

}  // namespace

void redis_names::find(loop& l, const resp::host_port& name, std::weak_ptr<bool> alive, on_found done) {
  const auto [entry, first] = asked_->try_emplace(name);
  std::erase_if(entry->second, [](const auto& w) { return w.first.expired(); });
  entry->second.emplace_back(std::move(alive), std::move(done));
  if (!first) return;
  resolve(l, name.host, name.port,
          [weak = std::weak_ptr(asked_), name](const base::result<std::vector<base::endpoint>>& found) {
            const auto asked = weak.lock();
            if (!asked) return;
            const auto answered = asked->extract(name);
            for (const auto& [waiter, tell] : answered.mapped())
              if (!waiter.expired()) tell(found);
          });
}

redis_connection::redis_connection(loop& l, redis_names& names, const tls_context* tls, resp::host_port to,
                                   resp::session_config config, handlers h)
    : loop_(l),
      tls_context_(tls),
      to_(std::move(to)),
      config_(std::move(config)),
      handlers_(std::make_shared<const handlers>(std::move(h))),
      connect_due_(loop::monotonic_now() + config_.handshake_timeout),
      timer_(l, [this] { on_timer(); }) {
  timer_.arm_at(connect_due_);
  names.find(l, to_, alive_, [this](const base::result<std::vector<base::endpoint>>& found) {
    if (!timer_.armed()) return;  // at its end meanwhile
    if (!found) return fail(found.error());
    endpoints_ = *found;
    connect_to(0);
  });
}

redis_connection::~redis_connection() { shut(); }

// Addresses in turn; each has its share of the time that is left.
void redis_connection::connect_to(size_t index) {
  const auto left = std::max(connect_due_ - loop_.now(), base::duration::zero());
  const auto share = left / static_cast<int64_t>(endpoints_.size() - index);
  connector_ =
      std::make_unique<tcp_connector>(loop_, endpoints_[index], share, [this, index](base::result<tcp_stream> s) {
        if (s) return on_connected(std::move(*s));
        if (index + 1 >= endpoints_.size()) return fail(s.error());
        connect_to(index + 1);
      });
}

void redis_connection::on_connected(tcp_stream stream) {
  connector_.reset();
  stream_ = std::move(stream);
  if (!loop_.watch(stream_.fd(), *this))
    return fail({"resources", "cannot watch the socket: " + std::generic_category().message(errno)});
  if (!tls_context_) return begin_session();
  tls_ = std::make_unique<tls_client>(*tls_context_, to_.host);
  flush_soon();
}

void redis_connection::begin_session() {
  config_.handshake_timeout = std::max(connect_due_ - loop_.now(), base::duration::zero());
  session_.emplace(config_, loop_.now());
  arm();
  flush_soon();
}

base::result<void> redis_connection::call(std::span<const std::string> command, base::time_point due, bool asking,
                                          on_reply done) {
  if (!session_) return base::fail("store_unavailable", "not connected");
  const uint64_t id = ++last_id_;
  if (auto ok = session_->call(id, command, due, asking); !ok) return ok;
  calls_.emplace(id, std::move(done));
  arm();
  flush_soon();
  return {};
}

void redis_connection::on_io(io_ready ready) {
  if (ready.readable || ready.hangup) {
    const std::weak_ptr alive(alive_);
    read();
    if (alive.expired() || !stream_.is_open()) return;
  }
  if (ready.writable) flush();
}

void redis_connection::read() {
  const std::weak_ptr alive(alive_);
  while (true) {
    const auto r = stream_.read(loop_.read_buffer(), loop::read_buffer_size);
    if (r.status == io_status::would_block) break;
    if (r.status == io_status::closed) return fail({"redis_closed", "the server closed the connection"});
    if (r.status == io_status::failed) return fail({"redis_closed", std::generic_category().message(r.error)});
    if (!take({loop_.read_buffer(), r.bytes})) return;
    if (alive.expired() || !stream_.is_open()) return;
  }
  flush_soon();
}

/// False if the connection is at its end, or gone.
bool redis_connection::take(base::bytes_view bytes) {
  if (tls_) {
    plain_.clear();
    if (auto ok = tls_->receive(bytes, plain_); !ok) {
      write(tls_->output());  // the alert
      fail(ok.error());
      return false;
    }
    if (tls_->established() && !session_) begin_session();
    bytes = plain_;
  }
  if (!session_) return true;
  const auto ok = session_->receive(bytes, loop_.now());
  if (!drain()) return false;
  if (ok) return true;
  fail(ok.error());
  return false;
}

/// False if a callback has destroyed or closed the connection.
bool redis_connection::drain() {
  const std::weak_ptr alive(alive_);
  const auto h = handlers_;
  while (auto e = session_->next_event()) {
    if (std::holds_alternative<resp::session_ready>(*e)) {
      if (h->up) h->up();
    } else if (auto* m = std::get_if<resp::channel_message>(&*e)) {
      if (h->message) h->message(m->channel, m->payload);
    } else if (auto* answer = std::get_if<resp::call_done>(&*e)) {
      auto call = calls_.extract(answer->id);
      if (call) call.mapped()(std::move(answer->reply));
    }
    if (alive.expired() || !session_) return false;
  }
  arm();
  return true;
}

// What is said in one batch of events goes out in one write.
void redis_connection::flush_soon() {
  if (std::exchange(flush_deferred_, true)) return;
  loop_.defer([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    flush_deferred_ = false;
    if (stream_.is_open()) flush();
  });
}

void redis_connection::flush() {
  if (tls_ && session_ && !session_->output().empty()) {
    if (auto ok = tls_->send(session_->output().pending()); !ok) return fail(ok.error());
    session_->output().consume(session_->output().size());
  }
  if (tls_) {
    write(tls_->output());
  } else if (session_) {
    write(session_->output());
  }
}

void redis_connection::write(base::send_buffer& out) {
  while (!out.empty()) {
    const auto r = stream_.write(out.pending());
    // If it failed: what the server said before it closed will be read, and then its end.
    if (r.status != io_status::ok) return;
    out.consume(r.bytes);
  }
}

void redis_connection::on_timer() {
  if (!session_) return fail({"timeout", "no connection in time"});
  const auto ok = session_->on_timeout(loop_.now());
  if (!drain()) return;
  if (!ok) return fail(ok.error());
  flush_soon();
}

void redis_connection::arm() { timer_.arm_at(session_->deadline()); }

void redis_connection::shut() {
  timer_.cancel();
  connector_.reset();
  if (!stream_.is_open()) return;
  loop_.unwatch(stream_.fd(), *this);
  stream_.close();
}

void redis_connection::fail(base::error why) {
  const std::weak_ptr alive(alive_);
  shut();
  session_.reset();
  for (auto calls = std::exchange(calls_, {}); auto& [id, done] : calls) {
    done(tl::unexpected(lost(why)));
    if (alive.expired()) return;
  }
  if (const auto h = std::exchange(handlers_, nullptr); h && h->down) h->down(std::move(why));
}

void redis_connection::close() {
  shut();
  session_.reset();
  handlers_.reset();
  if (calls_.empty()) return;
  loop_.post([calls = std::exchange(calls_, {})]() mutable {
    for (auto& [id, done] : calls) done(tl::unexpected(lost({"redis_closed", "given up"})));
  });
}

}  // namespace sluice::runtime
