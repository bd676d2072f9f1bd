#include "relay/hls_relay.hpp"

#include <algorithm>

#include "relay/hls_url.hpp"

namespace sluice::relay {
namespace {

constexpr base::duration prune_interval = std::chrono::seconds(5);
// After making room there is this much of it, so that it is not made for every answer.
constexpr size_t room_share = 4;
// How long it is looked for a stream that may be meant by a segment's name: the way to the store and back.
constexpr base::duration look_time = std::chrono::milliseconds(200);

}  // namespace

/// A request that is for HTTP-TS, unless it is for a segment.
struct hls_relay::maybe_stream {
  runtime::http_request request;
  servers::media_target target;
  runtime::http_server::respond respond;
  servers::media_answer serve;
};

hls_relay::hls_relay(shard_context& shard, const hls_relay_config& config, const std::vector<hls_relay*>& all)
    : home_(shard, config), all_(all), prune_(shard.loop, [this] { prune(); }) {
  home_.on_full = [this] { prune_.arm_after(base::duration::zero()); };
}

hls_relay::~hls_relay() = default;

void hls_relay::playlist(const runtime::http_request& request, const servers::media_target& target,
                         runtime::http_server::respond respond) {
  const auto id = request.query_value(spbhid_parameter);
  route(request, id.empty() ? target.address.key : key_of_spbhid(id), true, std::move(respond));
}

void hls_relay::segment(const runtime::http_request& request, const servers::media_target& target,
                        runtime::http_server::respond respond, const servers::media_answer& as_stream) {
  auto key = key_of_segment(request, home_.shard.config.vhosts);
  if (!target.may_be_stream || !as_stream) return route(request, std::move(key), false, std::move(respond));
  auto maybe = std::make_shared<maybe_stream>(maybe_stream{request, target, std::move(respond), as_stream});
  route(request, std::move(key), false, [maybe](runtime::http_response r) { maybe->respond(std::move(r)); }, maybe);
}

/// It is no segment.
void hls_relay::look_for_stream(const std::shared_ptr<maybe_stream>& maybe) {
  home_.shard.control.find(home_.shard.loop, maybe->target.address.key, look_time,
                           [this, maybe](const base::result<cluster::assignment>& found) {
                             if (found) return maybe->serve(maybe->request, maybe->target, std::move(maybe->respond));
                             route(maybe->request, std::nullopt, false, std::move(maybe->respond));
                           });
}

void hls_relay::route(const runtime::http_request& request, std::optional<cluster::stream_key> key, bool playlist,
                      runtime::http_server::respond respond, std::shared_ptr<maybe_stream> maybe) {
  hls_relay* const home = key ? all_[std::hash<cluster::stream_key>{}(*key) % all_.size()] : nullptr;
  if (home == this && !playlist) {
    const auto found = channels_.find(*key);
    if (found != channels_.end())
      if (auto kept = found->second->kept_segment(request)) return respond(std::move(*kept));
  }
  auto a = std::make_shared<hls_ask>(home_);
  auto copy = std::make_shared<runtime::http_request>(request);
  copy->client = nullptr;  // belongs to this thread
  a->request = std::move(copy);
  a->playlist = playlist;
  if (!key || key->stream.empty()) {
    a->respond = std::move(respond);
    return a->refuse(404, "bad_stream_name", "no such stream or file");
  }
  a->key = std::move(*key);
  if (maybe)
    a->otherwise = [this, maybe = std::move(maybe)] {
      home_.shard.loop.post([this, maybe] { look_for_stream(maybe); });
    };
  if (request.client)
    request.client->on_gone = [&loop = home->home_.shard.loop, weak = std::weak_ptr<hls_ask>(a)] {
      loop.post([weak] {
        if (const auto gone = weak.lock()) gone->leave();
      });
    };
  if (home == this) {
    a->respond = std::move(respond);
    return serve(std::move(a));
  }
  // The way to the client is only touched, and given up, by this thread.
  auto kept = std::make_shared<runtime::http_server::respond>(std::move(respond));
  a->respond = [&loop = home_.shard.loop, kept = std::move(kept)](runtime::http_response r) mutable {
    loop.post([kept = std::move(kept), r = std::move(r)]() mutable { (*kept)(std::move(r)); });
  };
  a->home = &home->home_;
  home->home_.shard.loop.post([home, a = std::move(a)]() mutable { home->serve(std::move(a)); });
}

// On the stream's home.
void hls_relay::serve(std::shared_ptr<hls_ask> a) {
  if (home_.asks >= home_.config.asks_max)
    return a->refuse(503, "too_many_waiters", "this server handles as many requests as it may");
  auto found = channels_.find(a->key);
  if (found == channels_.end()) {
    if (channels_.size() >= home_.config.streams_max)
      return a->refuse(503, "too_many_streams", "this server handles as many streams as it may");
    found = channels_.emplace(a->key, std::make_unique<hls_channel>(home_, a->key)).first;
  }
  a->enter();
  if (!prune_.armed()) prune_.arm_after(prune_interval);
  found->second->serve(std::move(a));
}

void hls_relay::prune() {
  const auto now = home_.shard.loop.now();
  home_.viewers.expire(now);
  for (auto it = channels_.begin(); it != channels_.end();) it = it->second->prune(now) ? channels_.erase(it) : ++it;
  if (home_.bytes > home_.config.bytes_max) {
    std::vector<hls_channel::removable> all;
    for (auto& [key, channel] : channels_) channel->list_removable(all);
    std::ranges::sort(all, {}, &hls_channel::removable::since);
    const size_t wanted = home_.config.bytes_max - home_.config.bytes_max / room_share;
    for (const auto& r : all) {
      if (home_.bytes <= wanted) break;
      r.of->remove(r.name);
    }
  }
  if (!channels_.empty() || home_.viewers.size() > 0) prune_.arm_after(prune_interval);
}

void hls_relay::for_each_audience(const std::function<void(const std::string& stream, size_t viewers)>& visit) {
  home_.viewers.expire(home_.shard.loop.now());
  home_.viewers.for_each_stream(visit);
}

}  // namespace sluice::relay
