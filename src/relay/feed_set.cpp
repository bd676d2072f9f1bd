#include "relay/feed_set.hpp"

#include <atomic>

#include "media/reader.hpp"

namespace sluice::relay {
namespace {

// What may be on its way to a shard that is behind; above it the link waits, and the hub's limits decide what it
// misses.
constexpr size_t in_flight_max = 16u << 20;

}  // namespace

/// A feed that another shard's pull fills.
class replica_feed final : public feed {
 public:
  replica_feed(feed_set& set, uint64_t id, unsigned home, const cluster::stream_key& key, const cluster::assignment& to,
               request_maker make_request, std::string session, std::function<void()> on_unused)
      : feed(set.shard_, key, set.shard_.config.shared_hub, set.shard_.prompt_flusher, std::move(on_unused)),
        set_(set),
        id_(id),
        home_(home) {
    set_.replicas_.emplace(id_, this);
    feed_set* there = shard_.all[home_];
    there->shard_.loop.post([there, s = feed_set::subscription{shard_.index, id_}, key, to,
                             make = std::move(make_request),
                             session = std::move(session)] { there->subscribe(s, key, to, make, session); });
  }
  ~replica_feed() override {
    set_.replicas_.erase(id_);
    feed_set* there = shard_.all[home_];
    there->shard_.loop.post([there, s = feed_set::subscription{shard_.index, id_}] { there->unsubscribe(s); });
  }
  const std::string& origin() const override { return origin_; }

  void begin(const std::string& origin) {
    origin_ = origin;
    hub().begin_source(shard_.loop.now());
    start_viewers();
  }
  void append(const replica_batch& batch) {
    if (batch.new_source) hub().follow_source();
    if (batch.headers) hub().adopt_headers(batch.headers);
    uint64_t number = batch.first;
    for (const auto& f : batch.frames) hub().append_replica(f, number++);
  }
  void end(const std::string& code, const std::string& text) {
    hub().end_source();
    end_viewers(code, text);
  }

 private:
  feed_set& set_;
  const uint64_t id_;
  const unsigned home_;
  std::string origin_;
};

/// On the home shard: one other shard that watches a feed.
class replica_link final : public feed_viewer, public media::reader_owner {
 public:
  replica_link(feed_set& set, feed_set::subscription to) : set_(set), to_(to) {}
  ~replica_link() { leave(); }

  void watch(feed& f) {
    feed_ = &f;
    f.add(*this);
  }

  void on_feed_started(feed& f) override {
    reader_ = std::make_unique<media::reader>(f.hub(), *this, media::reader_start::keyframe);
    post([id = to_.id, origin = f.origin()](feed_set& there) { there.on_replica_started(id, origin); });
    on_frames();
  }

  void on_feed_ended(std::string_view code, std::string_view text) override {
    reader_.reset();
    feed_ = nullptr;
    post([id = to_.id, code = std::string(code), text = std::string(text)](feed_set& there) {
      there.on_replica_ended(id, code, text);
    });
  }

  void on_frames() override {
    if (in_flight_->load(std::memory_order_relaxed) > in_flight_max) return;
    replica_batch batch;
    size_t bytes = 0;
    while (const media::frame* f = reader_->peek()) {
      // A batch is a run without holes, of one source, behind one set of headers.
      const media::hub& h = feed_->hub();
      const bool new_source = h.sources() != source_ && reader_->next_number() >= h.source_begin();
      auto headers = reader_->take_headers();
      if (headers || new_source) send(std::exchange(batch, {}), std::exchange(bytes, 0));
      if (headers) batch.headers = std::move(headers);
      if (new_source) {
        batch.new_source = source_ != 0;
        source_ = h.sources();
      }
      if (batch.frames.empty()) batch.first = reader_->next_number();
      batch.frames.push_back(*f);
      bytes += f->wire.size();
      reader_->pop();
    }
    send(std::move(batch), bytes);
  }

 private:
  void send(replica_batch batch, size_t bytes) {
    if (batch.frames.empty()) return;
    in_flight_->fetch_add(bytes, std::memory_order_relaxed);
    post([id = to_.id, batch = std::move(batch), bytes, in_flight = in_flight_](feed_set& there) {
      there.on_replica_frames(id, batch);
      in_flight->fetch_sub(bytes, std::memory_order_relaxed);
    });
  }

  template <typename F>
  void post(F task) {
    feed_set* there = set_.shard_.all[to_.shard];
    there->shard_.loop.post([there, task = std::move(task)] { task(*there); });
  }

  void leave() {
    reader_.reset();
    if (feed_) std::exchange(feed_, nullptr)->remove(*this);
  }

  feed_set& set_;
  const feed_set::subscription to_;
  feed* feed_ = nullptr;
  std::unique_ptr<media::reader> reader_;
  uint64_t source_ = 0;  // of the home hub, that the other side knows of
  std::shared_ptr<std::atomic<size_t>> in_flight_ = std::make_shared<std::atomic<size_t>>(0);
};

feed_set::feed_set(shard_context& shard) : shard_(shard) {}

// Links read hubs of feeds: they go first.
feed_set::~feed_set() { clear(); }

unsigned feed_set::home_of(const cluster::stream_key& key) const {
  return static_cast<unsigned>(std::hash<cluster::stream_key>{}(key) % shard_.all.size());
}

feed* feed_set::find(const cluster::stream_key& key) {
  const auto found = feeds_.find(key);
  return found == feeds_.end() || found->second->ended() ? nullptr : found->second.get();
}

feed& feed_set::open(const cluster::stream_key& key, const cluster::assignment& to, request_maker make_request,
                     std::string session) {
  if (feed* found = find(key)) return *found;
  drop(key);
  auto on_unused = [this, key] { drop(key); };
  const unsigned home = home_of(key);
  std::unique_ptr<feed> made;
  if (home == shard_.index) {
    made = std::make_unique<pull_feed>(shard_, key, audience::many, to,
                                       rtmp_source(shard_, audience::many, std::move(make_request)), std::move(session),
                                       std::move(on_unused));
  } else {
    made = std::make_unique<replica_feed>(*this, ++ids_, home, key, to, std::move(make_request), std::move(session),
                                          std::move(on_unused));
  }
  return *feeds_.emplace(key, std::move(made)).first->second;
}

void feed_set::drop(const cluster::stream_key& key) {
  const auto found = feeds_.find(key);
  if (found == feeds_.end() || !found->second->unused()) return;
  // Deferred: this may be called by the feed itself.
  const feed* gone = found->second.get();
  shard_.keep(std::move(found->second));
  shard_.release(gone);
  feeds_.erase(found);
}

void feed_set::clear() {
  links_.clear();
  feeds_.clear();
}

void feed_set::for_each(const std::function<void(const feed&)>& visit) const {
  for (const auto& [key, f] : feeds_) visit(*f);
}

void feed_set::subscribe(subscription s, const cluster::stream_key& key, cluster::assignment to,
                         request_maker make_request, std::string session) {
  auto& link = links_[s] = std::make_unique<replica_link>(*this, s);
  link->watch(open(key, to, std::move(make_request), std::move(session)));
}

void feed_set::unsubscribe(subscription s) { links_.erase(s); }

void feed_set::on_replica_started(uint64_t id, const std::string& origin) {
  if (const auto found = replicas_.find(id); found != replicas_.end()) found->second->begin(origin);
}

void feed_set::on_replica_frames(uint64_t id, const replica_batch& batch) {
  if (const auto found = replicas_.find(id); found != replicas_.end()) found->second->append(batch);
}

void feed_set::on_replica_ended(uint64_t id, const std::string& code, const std::string& text) {
  if (const auto found = replicas_.find(id); found != replicas_.end()) found->second->end(code, text);
}

}  // namespace sluice::relay
