#include "relay/http_upstream.hpp"

namespace sluice::relay {
namespace {

constexpr int reads_per_turn = 8;
// A burst of this size goes on before others are read: as a whole it is in the cache now.
constexpr size_t large_read_bytes = 16 * 1024;
// As of RTMP upstreams (upstream.cpp).
constexpr base::duration user_timeout = std::chrono::seconds(20);
constexpr base::duration keepalive_idle = std::chrono::seconds(15);
// What the kernel holds for a viewer who does not read, on the origin's side.
constexpr int receive_bytes = 64 * 1024;
// SRS answers at once, or when its hooks have.
constexpr base::duration head_wait = std::chrono::seconds(15);

}  // namespace

http_upstream::http_upstream(runtime::loop& l, const upstream_config& config, upstream_metrics& metrics,
                             std::vector<base::endpoint> endpoints, std::shared_ptr<origin_line> line,
                             std::string request, bool head_request, http_upstream_events& events)
    : loop_(l),
      config_(config),
      metrics_(metrics),
      endpoints_(std::move(endpoints)),
      line_(std::move(line)),
      request_(std::move(request)),
      response_(head_request),
      events_(events),
      timer_(l, [this] { end([](http_upstream_events& e) { e.on_end("header_timeout"); }); }) {
  metrics_.connections.add(1);
  counted_ = config_.descriptors && config_.descriptors->take();
  if (config_.descriptors && !counted_) {
    undialled_later({"no_descriptors", "The server is full."});
  } else if (endpoints_.empty()) {
    undialled_later({"no_endpoint", "The origin server names no HTTP endpoint."});
  } else {
    dial_next();
  }
}

http_upstream::~http_upstream() {
  metrics_.connections.add(-1);
  if (counted_) config_.descriptors->give();
  if (stream_.is_open()) loop_.unwatch(stream_.fd(), *this);
}

void http_upstream::undialled_later(base::error e) {
  loop_.defer([this, alive = std::weak_ptr<bool>(alive_), e = std::move(e)] {
    if (!alive.expired()) end([e](http_upstream_events& events) { events.on_undialled(e); });
  });
}

void http_upstream::dial_next() {
  connector_ = std::make_unique<runtime::tcp_connector>(
      loop_, endpoints_[next_endpoint_++], config_.dial_timeout, [this](base::result<runtime::tcp_stream> stream) {
        if (stream) return on_connected(std::move(*stream));
        // Our own lack says nothing of the origin.
        if (stream.error().reason == "resources") stream.error().reason = "no_descriptors";
        if (next_endpoint_ < endpoints_.size()) {
          // The connector whose callback this is must outlive it.
          loop_.defer([this, alive = std::weak_ptr<bool>(alive_)] {
            if (!alive.expired()) dial_next();
          });
          return;
        }
        end([e = std::move(stream.error())](http_upstream_events& events) { events.on_undialled(e); });
      });
}

void http_upstream::on_connected(runtime::tcp_stream stream) {
  stream_ = std::move(stream);
  stream_.set_backstop(user_timeout, keepalive_idle);
  stream_.limit_receive_memory(receive_bytes);
  if (!loop_.watch(stream_.fd(), *this))
    return end([](http_upstream_events& e) { e.on_undialled({"no_descriptors", "The kernel watches no more."}); });
  timer_.arm_after(head_wait);
  send();
}

void http_upstream::send() {
  if (request_.empty()) return;
  const auto result = stream_.write(base::as_bytes(request_));
  if (result.status == runtime::io_status::ok) request_.erase(0, result.bytes);
  // A broken connection is seen when it is read.
}

void http_upstream::on_io(runtime::io_ready ready) {
  if (ended_) return;
  const std::weak_ptr<bool> alive(alive_);
  hangup_ |= ready.hangup;
  if (ready.writable) send();
  if (!ready.readable && !ready.hangup) return;
  if (reading_paused_) {
    read_waits_ = true;
    return;
  }
  read_some();
}

void http_upstream::read_some() {
  const std::weak_ptr<bool> alive(alive_);
  const auto on_body = [&](base::bytes_view bytes) {
    if (!alive.expired() && !ended_) events_.on_body(bytes);
  };
  for (int turn = 0; turn < reads_per_turn; ++turn) {
    if (reading_paused_) {
      read_waits_ = true;
      return;
    }
    const auto got = stream_.read(loop_.read_buffer(), runtime::loop::read_buffer_size);
    if (got.status == runtime::io_status::would_block) return;
    if (got.status != runtime::io_status::ok) {
      std::string_view reason = got.status == runtime::io_status::closed ? "origin_closed" : "origin_reset";
      if (response_.done()) reason = "response_end";
      return end([reason](http_upstream_events& e) { e.on_end(reason); });
    }
    metrics_.bytes_in.add(static_cast<int64_t>(got.bytes));
    if (got.bytes >= large_read_bytes) loop_.cut_batch();
    if (line_) note_heard(*line_, loop_.now());
    // The head is told before the body that came with it.
    const auto ok = response_.feed({loop_.read_buffer(), got.bytes}, [&](base::bytes_view bytes) {
      give_head();
      on_body(bytes);
    });
    if (alive.expired() || ended_) return;
    if (!ok) return end([](http_upstream_events& e) { e.on_end("bad_response"); });
    give_head();
    if (alive.expired() || ended_) return;
    if (response_.done()) return end([](http_upstream_events& e) { e.on_end("response_end"); });
    // As upstream::read_some().
    if (got.bytes < runtime::loop::read_buffer_size && !hangup_) return;
  }
  loop_.defer([this, alive] {
    if (!alive.expired() && !ended_) read_some();
  });
}

void http_upstream::give_head() {
  if (head_given_ || ended_ || !response_.head()) return;
  head_given_ = true;
  timer_.cancel();
  events_.on_head(*response_.head());
}

void http_upstream::pause_reading(bool on) {
  reading_paused_ = on;
  if (on || !std::exchange(read_waits_, false)) return;
  loop_.defer([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired() && !ended_) read_some();
  });
}

void http_upstream::end(std::function<void(http_upstream_events&)> last_call) {
  if (std::exchange(ended_, true)) return;
  timer_.cancel();
  if (stream_.is_open()) {
    loop_.unwatch(stream_.fd(), *this);
    stream_.close();
  }
  // Deferred: the owner may destroy this upstream in the call.
  loop_.defer([this, alive = std::weak_ptr<bool>(alive_), last_call = std::move(last_call)] {
    if (!alive.expired()) last_call(events_);
  });
}

}  // namespace sluice::relay
