#include "relay/feed.hpp"

#include <algorithm>

#include "runtime/backoff.hpp"
#include "servers/rtmp/capabilities.hpp"

namespace sluice::relay {
namespace {

// What the kernel holds for a viewer who does not read, on the origin's side.
constexpr int one_viewer_receive_bytes = 64 * 1024;
constexpr base::duration retry_first = std::chrono::milliseconds(20);
constexpr base::duration retry_last = std::chrono::seconds(1);
constexpr base::duration busy_delay = std::chrono::milliseconds(250);
// For so long after a loss the publisher is expected at the next owner at any moment.
constexpr base::duration publisher_due = std::chrono::seconds(2);
// An origin that ends a running pull twice within this time means it.
constexpr base::duration second_loss = std::chrono::seconds(10);
// A link that has lasted so long held: what comes then is a loss of its own.
constexpr base::duration held_after = std::chrono::seconds(10);
// An origin that does not say when a publisher leaves has none any more, if nothing comes for so long.
constexpr base::duration media_pause = std::chrono::seconds(1);

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

source_maker rtmp_source(shard_context& shard, audience viewers, request_maker make_request) {
  return [&shard, viewers, make = std::move(make_request)](const cluster::assignment& to, const link_terms& terms,
                                                           upstream_events& events) -> std::unique_ptr<pull_source> {
    auto link = std::make_unique<upstream>(shard.loop, shard.config.upstream, shard.upstream_cells, to.rtmp,
                                           shard.control.line_of(to.origin_id), make(to, terms), events);
    if (viewers == audience::one) link->limit_receive_memory(one_viewer_receive_bytes);
    return link;
  };
}

pull_feed::pull_feed(shard_context& shard, cluster::stream_key key, audience viewers, cluster::assignment to,
                     source_maker connect, std::string session, std::function<void()> on_unused)
    : feed(shard, std::move(key), viewers == audience::one ? shard.config.private_hub : shard.config.shared_hub,
           shard.flusher, std::move(on_unused)),
      to_(std::move(to)),
      connect_(std::move(connect)),
      session_(std::move(session)),
      watch_(shard.watchers, *this),
      retry_(shard.loop,
             [this] {
               if (!upstream_) return resolve();
               const uint64_t gaps = splicer_->gaps();
               splicer_->on_timeout(hub(), shard_.loop.now());
               if (splicer_->gaps() != gaps) note_gap(0);
               arm_splicer();
             }),
      news_timer_(shard.loop, [this] { on_news_timer(); }),
      give_up_at_(shard.loop.now() + shard.config.recover_wait) {
  shard_.pulls.emplace(key_, this);
  dial();
}

pull_feed::~pull_feed() {
  auto [at, end] = shard_.pulls.equal_range(key_);
  while (at->second != this) ++at;
  shard_.pulls.erase(at);
  if (finding_ != 0) shard_.control.cancel(finding_);
  if (upstream_) upstream_->say_goodbye();
  if (played_ && !ended()) note_end(unused() ? "no_viewers" : "stopping", {});
}

void pull_feed::note_end(std::string_view reason, std::string_view text) {
  shard_.log.info(
      "pull_end",
      {{"session", session_}, {"stream", key_.str()}, {"origin", to_.origin_id}, {"reason", reason}, {"text", text}});
}

void pull_feed::pause_source(bool on) {
  if (upstream_) upstream_->pause_reading(on);
}

void pull_feed::dial() {
  ++steps_;
  marked_ = false;
  linked_at_ = base::never;
  watch_.start(to_.origin_id);
  upstream_ = connect_(to_, {hub().source(), hub().source_next()}, *this);
}

void pull_feed::dial_in_turn() {
  shard_.gate.ask(to_.origin_id, dial_class::viewer, alive_, [this, step = steps_] {
    if (step == steps_ && !upstream_ && !ended()) dial();
  });
}

void pull_feed::resolve() {
  finding_ = shard_.control.find(shard_.loop, key_, std::max(give_up_at_ - shard_.loop.now(), base::duration(1)),
                                 [this, alive = std::weak_ptr<bool>(alive_)](base::result<cluster::assignment> found) {
                                   if (alive.expired()) return;
                                   finding_ = 0;
                                   if (!found) return give_up("NetStream.Play.StreamNotFound", found.error().text);
                                   to_ = std::move(*found);
                                   dial_in_turn();
                                 });
}

void pull_feed::on_started() {
  give_up_at_ = base::never;
  linked_at_ = shard_.loop.now();
  shard_.control.dial_ok(to_.origin_id);
  shard_.log.info(
      "pull_start",
      {{"session", session_}, {"proto", upstream_->proto()}, {"stream", key_.str()}, {"origin", to_.origin_id}});
  // From what is told by numbers to what is told by content, or back, nothing can be joined.
  const bool was_numbered = std::exchange(numbered_, upstream_->numbered());
  if (fed_ && numbered_ != was_numbered) note_gap(0);
  if (numbered_) {
    splicer_.reset();  // its marks say where to go on
  } else if (splicer_ && played_) {
    splicer_->begin(shard_.loop.now());
    arm_splicer();
  } else {
    splicer_ = std::make_unique<media::splicer>();
    hub().begin_source(shard_.loop.now());
  }
  played_ = true;
  start_viewers();
}

void pull_feed::arm_splicer() { retry_.arm_at(splicer_->deadline()); }

void pull_feed::on_media(rtmp::message msg) {
  // What a numbered link brings before its first mark (|RtmpSampleAccess) is no message of the stream.
  if (upstream_->numbered() && !marked_) return;
  const bool is_media = msg.type == rtmp::audio || msg.type == rtmp::video;
  fed_ |= is_media;
  if (is_media) media_at_ = shard_.loop.now();
  if (!splicer_) return hub().append(std::move(msg), shard_.loop.now());
  const uint64_t gaps = splicer_->gaps();
  splicer_->take(hub(), std::move(msg), shard_.loop.now());
  if (splicer_->gaps() != gaps) note_gap(0);
}

void pull_feed::on_mark(const media::mark& m) {
  const auto outcome = hub().on_mark(m, !std::exchange(marked_, true), shard_.loop.now());
  if (outcome.missing > 0) note_gap(outcome.missing);
}

/// Viewers miss something: so many messages, or nobody knows how many.
void pull_feed::note_gap(uint64_t messages) {
  shard_.failover_cells.gap(messages);
  shard_.log.warn("viewers_gap", {{"session", session_},
                                  {"stream", key_.str()},
                                  {"origin", to_.origin_id},
                                  {"messages", static_cast<int64_t>(messages)}});
  shard_.control.note(key_, {0, "gap", to_.origin_id, to_.epoch, messages > 0 ? std::to_string(messages) : ""});
}

void pull_feed::on_refused(const rtmp::client_status& status) {
  if (status.code == servers::shutdown_code) {
    shard_.control.dial_failed(to_.origin_id);
    return retry("shutdown");
  }
  // The owner is to be asked for anew; or there was no room, which may be for this moment only.
  if (status.code == servers::play_stale_code) return retry("fenced");
  const bool full = status.code == servers::play_at_capacity_code || status.code == servers::full_code;
  if (full && played_) return retry("at_capacity", busy_delay);
  // An HTTP server knows no waiting for a stream: at the next owner its publisher may not be there yet. Who asks again
  // within the time that the publisher gives his viewers, before he replays, misses nothing. A server that lives, and
  // has ended the stream itself, means it.
  const bool by_http = !status.code.empty() && status.code[0] >= '0' && status.code[0] <= '9';
  if (by_http && played_ && to_.origin_id != lost_alive_origin_) {
    if (shard_.loop.now() < give_up_at_ - shard_.config.recover_wait + publisher_due) tries_ = 0;
    return retry("origin_refused", shard_.config.replay_delay / 2);
  }
  give_up(full ? "NetStream.Play.Failed" : std::string_view(status.code), status.description);
}

void pull_feed::on_undialled(const base::error& e) {
  if (e.reason == "no_descriptors") return give_up("NetStream.Play.Failed", e.text);
  shard_.control.dial_failed(to_.origin_id);
  retry(e.reason);
}

void pull_feed::drop_upstream() {
  ++steps_;
  watch_.stop();
  retry_.cancel();
  forget_news();
  upstream_.reset();
  hub().end_source();
  if (give_up_at_ == base::never) give_up_at_ = shard_.loop.now() + shard_.config.recover_wait;
}

void pull_feed::on_lost(bool was_started, std::string_view reason) {
  drop_upstream();
  // A close is not a death: an origin that lives and ends the stream without a word has refused the client, or kicked
  // it.
  shard_.control.origin_closed(
      shard_.loop, to_.origin_id,
      [this, alive = std::weak_ptr<bool>(alive_), was_started, reason, step = steps_](cluster::origin_verdict verdict) {
        if (!alive.expired() && step == steps_) on_verdict(verdict, was_started, reason);
      },
      was_started || !to_.is_sluice);  // others refuse a client by hanging up
}

void pull_feed::on_verdict(cluster::origin_verdict verdict, bool was_started, std::string_view reason) {
  if (verdict != cluster::origin_verdict::alive) return retry(reason);
  // One of ours says why it ends a stream: here only the connection has broken.
  if (was_started && to_.is_sluice) return retry(reason);
  const auto now = shard_.loop.now();
  const bool again = std::exchange(lost_alive_at_, now) + second_loss > now && lost_alive_origin_ == to_.origin_id;
  lost_alive_origin_ = to_.origin_id;
  // In a storm a server may be full, or too slow, for a moment: its viewers wait, unless it was one that refuses so.
  if (!was_started && played_ && (to_.is_sluice || !is_close(reason))) return retry(reason, busy_delay);
  // SRS says Play.Start before it checks: who was sent nothing was refused.
  if (!was_started || again || !fed_)
    return give_up("NetStream.Play.Failed", "The origin server closed the connection.");
  retry(reason);
}

void pull_feed::on_origin_lost(cluster::loss_reason reason) {
  if (ended()) return;
  retry(reason == cluster::loss_reason::silent ? "origin_silent" : "origin_gone");
}

void pull_feed::on_owner_changed(const cluster::assignment& to) {
  if (ended() || to.rtmp.empty()) return;  // an origin that is not known here
  if (to.origin_id == to_.origin_id && upstream_) return forget_news();
  if (upstream_ && is_fed() && to.epoch < to_.epoch) {
    // News of yesterday; or the store has lost the present owner, whose publisher has left, and what comes is the last
    // of what it had.
    news_ = to;
    return news_timer_.arm_after(media_pause);
  }
  follow(to);
}

bool pull_feed::is_fed() const { return hub().live() && (numbered_ || media_at_ + media_pause > shard_.loop.now()); }

void pull_feed::on_news_timer() {
  if (is_fed()) return news_timer_.arm_after(media_pause);
  follow(cluster::assignment(*news_));
}

void pull_feed::forget_news() {
  news_.reset();
  news_timer_.cancel();
}

void pull_feed::follow(const cluster::assignment& to) {
  if (upstream_) upstream_->say_goodbye();
  drop_upstream();
  if (finding_ != 0) shard_.control.cancel(std::exchange(finding_, 0));
  to_ = to;
  dial_in_turn();
}

void pull_feed::retry(std::string_view reason, base::duration at_least) {
  drop_upstream();
  shard_.log.warn("pull_lost",
                  {{"session", session_}, {"stream", key_.str()}, {"origin", to_.origin_id}, {"reason", reason}});
  if (shard_.loop.now() >= give_up_at_)
    return give_up("NetStream.Play.StreamNotFound", "No origin server has the stream.");
  if (linked_at_ != base::never && shard_.loop.now() - linked_at_ >= held_after) tries_ = 0;
  retry_.arm_after(std::max(at_least, runtime::backoff(retry_first, retry_last, tries_++, shard_.random)));
}

void pull_feed::give_up(std::string_view code, std::string_view text) {
  drop_upstream();
  note_end(code, text);
  end_viewers(code, text);
}

}  // namespace sluice::relay
