#include "servers/live/directory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "servers/live/segments_start.hpp"

namespace sluice::servers {

directory::directory(runtime::loop& l, const directory_limits& limits, cluster::fence& epochs,
                     media::hub_driver& driver, std::function<void(media::hub&)> forget, base::metrics& metrics)
    : loop_(l),
      limits_(limits),
      epochs_(epochs),
      driver_(driver),
      forget_(std::move(forget)),
      published_cell_(metrics.gauge("sluice_streams", "Streams that have a publisher.")),
      cut_cell_(metrics.counter("sluice_replays_cut_total",
                                "Replays after a fail-over that were kept for a shorter time, for want of room.")) {}

directory::~directory() {
  for (auto& [key, s] : streams_) forget_(s->hub);
}

base::result<live_stream*> directory::open(const cluster::stream_key& key) {
  if (const auto found = streams_.find(key); found != streams_.end()) return found->second.get();
  if (streams_.size() >= limits_.streams_max)
    return base::fail("too_many_streams", fmt::format("this origin holds {} streams, its limit", streams_.size()));
  auto s = std::make_unique<live_stream>(key, limits_, driver_, loop_, [this, key] { on_wait_over(key); });
  return streams_.emplace(key, std::move(s)).first->second.get();
}

base::result<live_stream*> directory::publish(const cluster::stream_key& key, const publication& what,
                                              live_publisher& p) {
  auto opened = open(key);
  if (!opened) return opened;
  live_stream& s = **opened;
  const auto refuse = [&](std::string_view reason, std::string text) -> base::result<live_stream*> {
    settle(s);
    return base::fail(reason, std::move(text));
  };
  if (s.publisher_) {
    const auto idle = loop_.now() - s.publisher_->last_message();
    const bool take = s.publication_ == what.id || limits_.policy == second_publisher::takeover ||
                      (limits_.policy == second_publisher::takeover_if_idle && idle >= limits_.publisher_idle);
    if (!take)
      return refuse("second_publisher", fmt::format("the stream is published by {}", s.publisher_->describe()));
  } else if (published_ >= limits_.publishers_max) {
    return refuse("at_capacity", fmt::format("this origin has {} publishers, its capacity", published_));
  }
  if (const auto epoch = epochs_.publish(key, what.epoch); !epoch)
    return refuse(epoch.error().reason, epoch.error().text);
  if (s.publisher_) {
    std::exchange(s.publisher_, nullptr)->on_taken_over();
    set_published(published_ - 1);
  }
  s.publisher_ = &p;
  s.publication_ = what.id;
  s.wait_.cancel();
  if (!what.numbered) {
    const auto before = s.hub.next_segments_start();
    s.hub.begin_source(loop_.now(), what.id);
    begin_segments(s, before);
  }
  if (what.replays) keep_replay(s);
  epochs_.held(key, true);
  set_published(published_ + 1);
  return &s;
}

void directory::begin_segments(live_stream& s, const std::optional<media::publication_start>& before) {
  s.hub.begin_segments(before ? segments_go_on(*before, limits_.hls_segment) : segments_from_now(limits_.hls_segment));
}

void directory::unpublish(live_stream& s, live_publisher& p) {
  if (s.publisher_ != &p) return;
  s.publisher_ = nullptr;
  s.hub.end_source();
  for (auto& w : s.players_) w.until = loop_.now() + limits_.publisher_wait;
  set_published(published_ - 1);
  settle(s);
}

base::result<live_stream*> directory::play(const cluster::stream_key& key, const cluster::epoch& e, live_player& p) {
  // No news of another owner: this origin is the one of that epoch. Its publisher is on his way.
  epochs_.told(key, e);
  auto opened = open(key);
  if (!opened) return opened;
  (*opened)->players_.push_back({&p, loop_.now() + limits_.publisher_wait});
  settle(**opened);
  return opened;
}

void directory::stop(live_stream& s, live_player& p) {
  std::erase_if(s.players_, [&](const auto& w) { return w.player == &p; });
  settle(s);
}

// After every change: a stream without a publisher gives its players a time to wait; one without both is forgotten.
void directory::settle(live_stream& s) {
  if (s.publisher_) return;
  if (!s.players_.empty()) {
    s.wait_.arm_at(s.players_.front().until);  // they are in the order of their deadlines
    return;
  }
  epochs_.held(s.key_, false);
  end_replay(s);
  forget_(s.hub);
  // Not at once: the caller may be one of its readers on the way out.
  auto node = streams_.extract(s.key_);
  loop_.defer([gone = std::shared_ptr<live_stream>(std::move(node.mapped()))] {});
}

void directory::on_wait_over(const cluster::stream_key& key) {
  const auto found = streams_.find(key);
  if (found == streams_.end() || found->second->publisher_) return;
  std::vector<live_player*> over;
  for (const auto& w : found->second->players_)
    if (w.until <= loop_.now()) over.push_back(w.player);
  // Each leaves through stop(), which arms the timer for the next; the last one takes the stream with it.
  for (live_player* p : over) p->on_no_publisher();
}

bool directory::told(const cluster::stream_key& key, const cluster::epoch& e) {
  if (e == cluster::epoch{} || !epochs_.told(key, e)) return false;
  drop(key);
  return true;
}

// The copy goes, with all that it has: who was fed from it looks for the new owner.
void directory::drop(const cluster::stream_key& key) {
  const auto found = streams_.find(key);
  if (found == streams_.end()) return;
  live_stream& s = *found->second;
  auto players = std::exchange(s.players_, {});
  if (s.publisher_) {
    std::exchange(s.publisher_, nullptr)->on_fenced();
    set_published(published_ - 1);
  }
  for (const auto& w : players) w.player->on_fenced();
  settle(s);
}

void directory::keep_replay(live_stream& s) {
  end_replay(s);
  s.hub.hold(true);
  s.replay_over_ = std::make_unique<runtime::timer>(loop_, [this, &s] { end_replay(s); });
  s.replay_over_->arm_after(limits_.replay_kept);
  replays_.push_back(&s);
  replay_bytes_ += s.replay_bytes_ = std::max<size_t>(s.hub.bytes(), 1);
}

void directory::end_replay(live_stream& s) {
  if (s.replay_bytes_ == 0) return;
  s.hub.hold(false);
  s.replay_over_->cancel();
  std::erase(replays_, &s);
  replay_bytes_ -= std::exchange(s.replay_bytes_, 0);
}

/// A storm brings replays of all streams at once.
void directory::bound_replays(live_stream& s) {
  const size_t now = std::max<size_t>(s.hub.bytes(), 1);
  replay_bytes_ += now - std::exchange(s.replay_bytes_, now);
  while (replay_bytes_ > limits_.replays_bytes_max) {
    cut_cell_.add();
    end_replay(*replays_.front());
  }
}

std::vector<cluster::held_stream> directory::held() const {
  std::vector<cluster::held_stream> all;
  all.reserve(streams_.size());
  for (const auto& [key, s] : streams_) all.push_back({s->name, epochs_.current(key), s->published()});
  return all;
}

bool directory::publishes(const cluster::stream_key& key) const {
  const auto found = streams_.find(key);
  return found != streams_.end() && found->second->published();
}

void directory::set_published(size_t count) {
  published_ = count;
  published_cell_.set(static_cast<int64_t>(count));
}

void directory::for_each(const std::function<void(const live_stream&)>& visit) const {
  for (const auto& [key, s] : streams_) visit(*s);
}

}  // namespace sluice::servers
