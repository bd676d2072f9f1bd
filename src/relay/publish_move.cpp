#include "relay/publish_move.hpp"

namespace sluice::relay {
namespace {
constexpr base::duration parting_time_max = std::chrono::seconds(5);
// SRS says Publish.Start before it checks, and refuses by a bare close: so long it may take.
constexpr base::duration second_thoughts = std::chrono::milliseconds(500);
}  // namespace

publish_move::publish_move(shard_context& shard, const cluster::action::move& what, rtmp::client_request request,
                           move_events& to)
    : shard_(shard),
      what_(what),
      events_(to),
      watch_(shard.watchers, *this),
      upstream_(std::make_unique<upstream>(shard.loop, shard.config.upstream, shard.upstream_cells, what.to.rtmp,
                                           shard.control.line_of(what.to.origin_id), std::move(request), *this)),
      settled_(shard.loop, [this] { events_.on_move_accepted(); }) {
  watch_.start(what.to.origin_id);
}

void publish_move::on_started() {
  if (upstream_->numbered()) return events_.on_move_accepted();
  settled_.arm_after(second_thoughts);
}

void publish_move::on_refused(const rtmp::client_status& status) {
  events_.on_move_refused(status.description.empty() ? status.code : status.description);
}

void publish_move::on_undialled(const base::error& e) {
  if (e.reason != "no_descriptors") shard_.control.dial_failed(what_.to.origin_id);
  events_.on_move_refused(e.reason);
}

parting_upstream::parting_upstream(shard_context& shard, std::unique_ptr<upstream> u,
                                   std::shared_ptr<const retained_media> pushed)
    : shard_(shard), pushed_(std::move(pushed)), upstream_(std::move(u)), timer_(shard.loop, [this] { over(); }) {
  upstream_->hand_over(*this);
}

void parting_upstream::start() {
  timer_.arm_after(parting_time_max);
  upstream_->finish();
}

void parting_upstream::over() {
  timer_.cancel();
  shard_.release(this);
}

}  // namespace sluice::relay
