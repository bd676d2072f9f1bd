#include "relay/flv_source.hpp"

#include <fmt/format.h>

namespace sluice::relay {

flv_source::flv_source(shard_context& shard, upstream_metrics& cells, const cluster::assignment& to,
                       std::string request, on_head_seen heard, upstream_events& events)
    : loop_(shard.loop),
      heard_(std::move(heard)),
      events_(events),
      tags_(shard.config.upstream.session.message_bytes_max, rtmp::message_headroom),
      upstream_(shard.loop, shard.config.upstream, cells, to.http, shard.control.line_of(to.origin_id),
                std::move(request), false, *this) {}

void flv_source::on_head(const runtime::http_response_head& head) {
  heard_(head);
  if (head.status == 200) {
    started_ = true;
    return events_.on_started();
  }
  fail_later([status = head.status](upstream_events& e) {
    rtmp::client_status refusal;
    refusal.level = "error";
    refusal.code = fmt::format("{}", status);
    refusal.description = fmt::format("The origin server answered {}.", status);
    refusal.refused = true;
    e.on_refused(refusal);
  });
}

void flv_source::on_body(base::bytes_view bytes) {
  while (!failed_) {
    auto tag = tags_.next(bytes);
    if (!tag) return fail_later([reason = tag.error().reason](upstream_events& e) { e.on_lost(true, reason); });
    if (!*tag) return;
    const uint8_t type = (*tag)->type;
    if (type != flv::audio_tag_type && type != flv::video_tag_type && type != flv::script_tag_type) continue;
    events_.on_media({(*tag)->timestamp, type, 0, 0, std::move((*tag)->body)});
  }
}

void flv_source::on_end(std::string_view reason) {
  if (!failed_) events_.on_lost(started_, reason == "response_end" ? "origin_closed" : reason);
}

void flv_source::on_undialled(const base::error& e) {
  if (!failed_) events_.on_undialled(e);
}

/// The connection, whose call is on the stack, goes with this object.
void flv_source::fail_later(std::function<void(upstream_events&)> last_call) {
  if (std::exchange(failed_, true)) return;
  upstream_.pause_reading(true);
  loop_.defer([this, alive = std::weak_ptr<bool>(alive_), last_call = std::move(last_call)] {
    if (!alive.expired()) last_call(events_);
  });
}

}  // namespace sluice::relay
