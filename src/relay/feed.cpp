#include "relay/feed.hpp"

#include <algorithm>

namespace sluice::relay {
namespace {

// What the kernel holds for a viewer who does not read, on the origin's side.
constexpr int one_viewer_receive_bytes = 64 * 1024;
constexpr base::duration retry_delay = std::chrono::milliseconds(100);
// An origin that ends a running pull twice within this time means it.
constexpr base::duration second_loss = std::chrono::seconds(10);

}  // namespace

feed::feed(shard_context& shard, cluster::stream_key key, const media::hub_limits& limits,
           servers::hub_flusher& flusher, std::function<void()> on_unused)
    : shard_(shard),
      key_(std::move(key)),
      flusher_(flusher),
      hub_(limits, flusher),
      linger_(shard.loop, std::move(on_unused)) {}

feed::~feed() { flusher_.forget(hub_); }

void feed::add(feed_viewer& v) {
  linger_.cancel();
  viewers_.push_back(&v);
  if (started_) v.on_feed_started(*this);
}

void feed::remove(feed_viewer& v) {
  std::erase(viewers_, &v);
  if (viewers_.empty()) linger_.arm_after(shard_.config.linger);
}

void feed::start_viewers() {
  if (std::exchange(started_, true)) return;
  for (feed_viewer* v : std::vector<feed_viewer*>(viewers_)) v->on_feed_started(*this);
}

void feed::end_viewers(std::string_view code, std::string_view text) {
  started_ = false;
  ended_ = true;
  for (feed_viewer* v : std::exchange(viewers_, {})) v->on_feed_ended(code, text);
  linger_.arm_after(base::duration::zero());
}

pull_feed::pull_feed(shard_context& shard, cluster::stream_key key, audience viewers, cluster::assignment to,
                     request_maker make_request, std::string session, std::function<void()> on_unused)
    : feed(shard, std::move(key), viewers == audience::one ? shard.config.private_hub : shard.config.shared_hub,
           shard.flusher, std::move(on_unused)),
      to_(std::move(to)),
      viewers_(viewers),
      make_request_(std::move(make_request)),
      session_(std::move(session)),
      retry_(shard.loop, [this] { resolve(); }),
      give_up_at_(shard.loop.now() + shard.config.recover_wait) {
  dial();
}

pull_feed::~pull_feed() {
  if (upstream_) upstream_->say_goodbye();
}

void pull_feed::pause_source(bool on) {
  if (upstream_) upstream_->pause_reading(on);
}

void pull_feed::dial() {
  upstream_ = std::make_unique<upstream>(shard_.loop, shard_.config.upstream, shard_.upstream_cells, to_.rtmp,
                                         make_request_(to_), *this);
  if (viewers_ == audience::one) upstream_->limit_receive_memory(one_viewer_receive_bytes);
}

void pull_feed::resolve() {
  shard_.control.find(shard_.loop, key_, std::max(give_up_at_ - shard_.loop.now(), base::duration(1)),
                      [this, alive = std::weak_ptr<bool>(alive_)](base::result<cluster::assignment> found) {
                        if (alive.expired()) return;
                        if (!found) return give_up("NetStream.Play.StreamNotFound", found.error().text);
                        to_ = std::move(*found);
                        dial();
                      });
}

void pull_feed::on_started() {
  give_up_at_ = base::never;
  shard_.control.dial_ok(to_.origin_id);
  shard_.log.info("pull_start",
                  {{"session", session_}, {"proto", "rtmp"}, {"stream", key_.str()}, {"origin", to_.origin_id}});
  hub().begin_source(shard_.loop.now());
  start_viewers();
}

void pull_feed::on_media(rtmp::message msg) { hub().append(std::move(msg), shard_.loop.now()); }

void pull_feed::on_refused(const rtmp::client_status& status) { give_up(status.code, status.description); }

void pull_feed::on_undialled(const base::error& e) {
  if (e.reason == "no_descriptors") return give_up("NetStream.Play.Failed", e.text);
  shard_.control.dial_failed(to_.origin_id);
  retry(e.reason);
}

void pull_feed::on_lost(bool was_started, std::string_view reason) {
  hub().end_source();
  upstream_.reset();
  if (was_started) give_up_at_ = shard_.loop.now() + shard_.config.recover_wait;
  // A close is not a death: an origin that lives and ends the stream without a word has refused the client, or kicked
  // it.
  shard_.control.origin_closed(
      shard_.loop, to_.origin_id,
      [this, alive = std::weak_ptr<bool>(alive_), was_started, reason](cluster::origin_verdict verdict) {
        if (alive.expired()) return;
        if (verdict != cluster::origin_verdict::alive) return retry(reason);
        const auto now = shard_.loop.now();
        const bool again = now - std::exchange(lost_alive_at_, now) < second_loss;
        if (!was_started || again) return give_up("NetStream.Play.Failed", "The origin server closed the connection.");
        retry(reason);
      });
}

void pull_feed::retry(std::string_view reason) {
  upstream_.reset();
  shard_.log.warn("pull_lost",
                  {{"session", session_}, {"stream", key_.str()}, {"origin", to_.origin_id}, {"reason", reason}});
  if (shard_.loop.now() >= give_up_at_)
    return give_up("NetStream.Play.StreamNotFound", "No origin server has the stream.");
  retry_.arm_after(retry_delay);
}

void pull_feed::give_up(std::string_view code, std::string_view text) {
  hub().end_source();
  upstream_.reset();
  shard_.log.info(
      "pull_end",
      {{"session", session_}, {"stream", key_.str()}, {"origin", to_.origin_id}, {"reason", code}, {"text", text}});
  end_viewers(code, text);
}

}  // namespace sluice::relay
