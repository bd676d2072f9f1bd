#include "sim/origin.hpp"

#include <algorithm>

#include "sim/monitor.hpp"
#include "sim/proxy.hpp"
#include "sim/world.hpp"

namespace sluice::sim {
namespace {

constexpr duration beat_interval = 1s;
constexpr duration beat_timeout = 2s;
constexpr duration whole_interval = 10s;
/// directory_limits of src/servers/live.
constexpr duration publisher_idle = 3s;
constexpr duration publisher_wait = 30s;
/// A publisher's connection that brings nothing at all.
constexpr duration connection_idle = 15s;
constexpr int64_t gop_messages = 4;

}  // namespace

origin::origin(world& w, int index)
    : process(w.queue),
      w_(w),
      index_(index),
      self_(w.origin_node(index)),
      copies_(static_cast<size_t>(w.how.streams)) {}

std::string origin::id_of(uint32_t life) const { return fmt::format("o{}-s{}-1", index_, life); }

cluster::origin_registration origin::registration() const {
  cluster::origin_registration reg;
  reg.ip = "10.0.0.1";
  reg.address = base::ip_address::v4({10, 0, 0, static_cast<uint8_t>(index_ + 1)});
  reg.server = fmt::format("o{}", index_);
  reg.service = fmt::format("s{}", life());
  reg.pid = "1";
  reg.rtmp = {{reg.address, 1935}};
  cluster::sluice_info info;
  info.version = "sim";
  info.period_ms = 1000;
  reg.sluice = std::move(info);
  return reg;
}

void origin::start() {
  begin_life();
  w_.trace("{} starts as {}", w_.name_of(self_), id());
  w_.watch->origin_started(self_);
  fence_.emplace(true, now());
  copies_.assign(copies_.size(), {});
  uses_.clear();
  peers_.assign(w_.how.balanced ? 1 : static_cast<size_t>(w_.how.proxies), {});
  beats_ = 0;
  for (peer& p : peers_) p.changed.assign(copies_.size(), false);
  after(cluster::fence::wake_interval, [this] { tick(); });
  for (int i = 0; i < static_cast<int>(peers_.size()); ++i) {
    after(w_.random.between(duration(1ms), duration(300ms)), [this, i] { beat(i); });
  }
}

void origin::crash(bool silent) {
  if (!up()) return;
  w_.trace("{} crashes{}", w_.name_of(self_), silent ? " with its machine" : "");
  end_life();
  w_.net.died(self_, silent);
  copies_.assign(copies_.size(), {});
  uses_.clear();
}

int origin::published() const {
  return static_cast<int>(
      std::count_if(copies_.begin(), copies_.end(), [](const copy& c) { return c.publisher >= 0; }));
}

void origin::tick() {
  after(cluster::fence::wake_interval, [this] { tick(); });
  for (int s = 0; s < w_.how.streams; ++s) {
    copy& c = at_stream(s);
    if (!c.held) continue;
    if (c.publisher >= 0 && c.heard_at + connection_idle <= now()) {
      w_.net.close(c.publisher, side::origin);
      std::erase_if(uses_, [&](const use& u) { return u.conn == c.publisher; });
      unpublish(s);
    }
    if (c.publisher >= 0 || c.unpublished_at + publisher_wait > now()) continue;
    for (const player& p : std::exchange(c.players, {})) refuse(p.conn, refusal::no_publisher);
    settle(s);
  }
}

// -- heartbeats

void origin::changed(int stream) {
  for (peer& p : peers_) p.changed[static_cast<size_t>(stream)] = true;
}

void origin::beat(int at) {
  after(beat_interval, [this, at] { beat(at); });
  peer& p = peers_[static_cast<size_t>(at)];
  if (p.out && p.sent_at + beat_timeout > now()) return;  // one at a time
  if (p.out) {
    for (size_t s = 0; s < p.changed.size(); ++s) p.changed[s] = p.changed[s] || p.in_flight[s];
  }
  const bool whole = p.want_whole || p.whole_at + whole_interval <= now() || fence_->suspended();
  cluster::origin_registration reg = registration();
  reg.sluice->load.streams = static_cast<uint32_t>(published());
  reg.sluice->whole = whole;
  for (int s = 0; s < w_.how.streams; ++s) {
    const copy& c = at_stream(s);
    if (whole ? !c.held : !p.changed[static_cast<size_t>(s)]) continue;
    cluster::held_stream held{w_.key(s).str(), {}, false};
    if (c.held) held = {std::move(held.name), fence_->current(w_.key(s)), c.publisher >= 0};
    reg.sluice->streams.push_back(std::move(held));
  }
  p.in_flight = p.changed;
  std::fill(p.changed.begin(), p.changed.end(), false);
  p.out = true;
  p.sent_at = now();
  const uint64_t beat = p.beat = ++beats_;
  if (w_.how.numbered) {
    reg.sluice->beat = beat;
    reg.sluice->since = whole ? 0 : p.taken;
  }
  int proxy = at;
  if (w_.how.balanced) {
    const sim::proxy* const to = w_.some_proxy();
    if (to == nullptr) return;
    proxy = to->self();
  }
  using shared = std::shared_ptr<const cluster::origin_registration>;
  w_.net.post(self_, proxy,
              [&, from = self_, life = life(), reg = shared(std::make_shared<cluster::origin_registration>(reg))] {
                return inner_callback([this, proxy, at, from, life, beat, whole, reg] {
                  const auto reply = w_.proxies[static_cast<size_t>(proxy)]->on_heartbeat(*reg);
                  auto kept = std::make_shared<const base::result<cluster::registration_reply>>(reply);
                  w_.net.deliver(proxy, from, [this, life, at, beat, whole, kept] {
                    if (this->life() == life) on_beat_reply(at, beat, whole, *kept);
                  });
                });
              });
}

void origin::on_beat_reply(int at, uint64_t beat, bool whole, const base::result<cluster::registration_reply>& reply) {
  peer& p = peers_[static_cast<size_t>(at)];
  if (!p.out || beat != p.beat) return;  // given up, or the answer to the same one sent twice
  p.out = false;
  if (!reply) return;
  p.taken = beat;
  p.want_whole = reply->want_whole;
  if (whole) p.whole_at = p.sent_at;
  for (const auto& [name, e] : reply->fenced) {
    for (int s = 0; s < w_.how.streams; ++s) {
      if (w_.key(s).str() == name) told(s, e);
    }
  }
  if (!whole) return;
  const bool was = fence_->suspended();
  fence_->confirmed(p.sent_at);
  w_.watch->origin_confirmed(self_, p.sent_at);
  if (was && !fence_->suspended()) {
    w_.trace("{} is confirmed", w_.name_of(self_));
    for (int s = 0; s < w_.how.streams; ++s) flush(s);
  }
}

// -- connections

void origin::on_packet(int conn, const packet& p) {
  switch (p.what) {
    case packet::kind::publish:
      return publish(conn, p);
    case packet::kind::play:
      return play(conn, p);
    case packet::kind::media:
      return media(conn, p);
    case packet::kind::ping: {
      packet pong;
      pong.what = packet::kind::pong;
      return w_.net.send(conn, side::origin, pong);
    }
    case packet::kind::goodbye:
      return on_closed(conn, false);
    default:
      return;
  }
}

void origin::on_closed(int conn, bool) {
  const auto found = std::find_if(uses_.begin(), uses_.end(), [&](const use& u) { return u.conn == conn; });
  if (found == uses_.end()) return;
  const use u = *found;
  uses_.erase(found);
  copy& c = at_stream(u.stream);
  if (u.publishes) {
    if (c.publisher == conn) unpublish(u.stream);
  } else {
    std::erase_if(c.players, [&](const player& p) { return p.conn == conn; });
  }
  settle(u.stream);
}

void origin::close(int conn) {
  w_.net.close(conn, side::origin);
  std::erase_if(uses_, [&](const use& u) { return u.conn == conn; });
}

void origin::refuse(int conn, refusal why, const cluster::epoch& seen) {
  packet p;
  p.what = packet::kind::refuse;
  p.why = why;
  p.epoch = seen;
  w_.net.send(conn, side::origin, p);
  close(conn);
}

void origin::publish(int conn, const packet& p) {
  const cluster::stream_key& key = w_.key(p.stream);
  copy& c = at_stream(p.stream);
  // As servers::directory has it: who is there comes first, then the epoch.
  if (c.publisher >= 0 && c.session != p.session && c.heard_at + publisher_idle > now())
    return refuse(conn, refusal::second_publisher);
  const auto agreed = fence_->publish(key, p.epoch);
  if (!agreed) {
    w_.trace("{} refuses s{} of epoch {}: {}", w_.name_of(self_), p.stream, p.epoch.counter, agreed.error().reason);
    return refuse(conn, refusal::stale_epoch, fence_->current(key));
  }
  if (c.publisher >= 0) refuse(c.publisher, refusal::taken_over);
  w_.trace("{} accepts s{} epoch {}.{:x} session {}", w_.name_of(self_), p.stream, agreed->counter,
           agreed->claim_id & 0xFFFF, p.session);
  w_.watch->publish_accepted(self_, p.stream, *agreed);
  if (c.source != p.source || p.first > c.next) {
    c.source = p.source;
    c.oldest = c.next = p.first;
  }
  c.held = true;
  c.epoch = *agreed;
  c.publisher = conn;
  c.session = p.session;
  c.kept_by_proxy = p.first;
  c.heard_at = now();
  fence_->held(key, true);
  uses_.push_back({conn, p.stream, true});
  packet answer;
  answer.what = packet::kind::published;
  answer.number = c.next;
  w_.net.send(conn, side::origin, answer);
  changed(p.stream);
}

void origin::play(int conn, const packet& p) {
  if (p.epoch != cluster::epoch{}) told(p.stream, p.epoch);
  copy& c = at_stream(p.stream);
  if (!c.held) {
    c.held = true;
    c.unpublished_at = now();
    changed(p.stream);
  }
  c.players.push_back({conn, p.source, p.number});
  uses_.push_back({conn, p.stream, false});
  packet answer;
  answer.what = packet::kind::playing;
  w_.net.send(conn, side::origin, answer);
  flush(p.stream);
}

void origin::media(int conn, const packet& p) {
  const auto found = std::find_if(uses_.begin(), uses_.end(), [&](const use& u) { return u.conn == conn; });
  if (found == uses_.end()) return;
  const int stream = found->stream;
  copy& c = at_stream(stream);
  if (c.publisher != conn || p.number < c.next) return;
  if (p.number > c.next) c.oldest = p.number;
  c.next = p.number + 1;
  c.kept_by_proxy = std::max(c.kept_by_proxy, p.first);
  c.heard_at = now();
  if (p.number % gop_messages == 0) w_.net.send(conn, side::origin, packet{});
  flush(stream);
}

/// Sends every player what he has not got.
void origin::flush(int stream) {
  copy& c = at_stream(stream);
  if (!c.held || fence_->suspended()) return;
  for (player& to : c.players) {
    if (c.next == c.oldest) continue;
    if (to.source != c.source) {
      if (c.publisher < 0) continue;  // what is left of another publication is no continuation
      const bool joins = to.source == 0;
      to.source = c.source;
      to.next = joins ? std::max(c.oldest, (c.next - 1) / gop_messages * gop_messages) : c.oldest;
    }
    if (to.next < c.oldest) {
      w_.watch->gap(self_, stream, to.next, c.oldest, c.kept_by_proxy);
      to.next = c.oldest;
    }
    for (; to.next < c.next; ++to.next) {
      packet p;
      p.what = packet::kind::media;
      p.stream = stream;
      p.epoch = c.epoch;
      p.source = c.source;
      p.number = to.next;
      w_.watch->media_sent(self_, stream, c.epoch);
      w_.net.send(to.conn, side::origin, p);
    }
  }
}

void origin::told(int stream, const cluster::epoch& e) {
  w_.watch->epoch_told(self_, stream, e, true);
  if (!fence_->told(w_.key(stream), e)) return;
  w_.trace("{} drops its copy of s{}: epoch {} is above its own", w_.name_of(self_), stream, e.counter);
  drop(stream);
}

/// The bare close tells proxies to look for the owner.
void origin::drop(int stream) {
  copy dropped = std::exchange(at_stream(stream), {});
  if (dropped.publisher >= 0) close(dropped.publisher);
  for (const player& p : dropped.players) close(p.conn);
  fence_->held(w_.key(stream), false);
  changed(stream);
}

void origin::unpublish(int stream) {
  copy& c = at_stream(stream);
  c.publisher = -1;
  c.unpublished_at = now();
  w_.trace("{} has no publisher of s{} any more", w_.name_of(self_), stream);
  changed(stream);
}

/// A stream without a publisher and without players is forgotten.
void origin::settle(int stream) {
  copy& c = at_stream(stream);
  if (!c.held || c.publisher >= 0 || !c.players.empty()) return;
  c = {};
  fence_->held(w_.key(stream), false);
  changed(stream);
}

void origin::kick() {
  if (uses_.empty()) return;
  const use u = uses_[static_cast<size_t>(w_.random.below(static_cast<int>(uses_.size())))];
  w_.trace("{} kicks a {} of s{}", w_.name_of(self_), u.publishes ? "publisher" : "player", u.stream);
  refuse(u.conn, refusal::kicked);
  copy& c = at_stream(u.stream);
  if (u.publishes) {
    unpublish(u.stream);
  } else {
    std::erase_if(c.players, [&](const player& p) { return p.conn == u.conn; });
  }
  settle(u.stream);
}

}  // namespace sluice::sim
