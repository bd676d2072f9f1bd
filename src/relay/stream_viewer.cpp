#include "relay/stream_viewer.hpp"

namespace sluice::relay {

stream_viewer::stream_viewer(shard_context& shard, feed_set& feeds, std::shared_ptr<const client_ask> ask,
                             viewer_events& events)
    : shard_(shard), feeds_(feeds), ask_(std::move(ask)), events_(events) {}

stream_viewer::~stream_viewer() {
  if (finding_ != 0) shard_.control.cancel(finding_);
  if (feed_) feed_->remove(*this);
}

void stream_viewer::start() {
  feed* there = shard_.config.mode == relay_mode::per_viewer ? nullptr : feeds_.find(ask_->address.key);
  if (there) {
    join(*there);
  } else {
    find();
  }
}

void stream_viewer::find() {
  finding_ = shard_.control.find(shard_.loop, ask_->address.key, shard_.config.play_wait,
                                 [this, alive = std::weak_ptr<bool>(alive_)](base::result<cluster::assignment> found) {
                                   if (alive.expired()) return;
                                   finding_ = 0;
                                   if (found) return watch(*found);
                                   events_.on_not_found(found.error());
                                 });
}

void stream_viewer::watch(const cluster::assignment& to) {
  const bool share =
      shard_.config.mode == relay_mode::collapse || (shard_.config.mode == relay_mode::automatic && to.is_sluice);
  if (!share) return events_.on_own_origin(to);
  auto make = [ask = ask_](const cluster::assignment& origin, const link_terms& terms) {
    return shared_request_for(*ask, origin, terms);
  };
  feed& f = feeds_.open(ask_->address.key, to, std::move(make), ask_->session + "-pull");
  ask_.reset();
  join(f);
}

void stream_viewer::join(feed& f) {
  feed_ = &f;
  f.add(*this);
}

void stream_viewer::on_feed_ended(std::string_view code, std::string_view text) {
  feed_ = nullptr;
  events_.on_feed_end(code, text);
}

}  // namespace sluice::relay
