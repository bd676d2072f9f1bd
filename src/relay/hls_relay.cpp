#include "relay/hls_relay.hpp"

#include <algorithm>

#include "relay/hls_url.hpp"

namespace sluice::relay {
namespace {

constexpr base::duration prune_interval = std::chrono::seconds(5);
// After making room there is this much of it, so that it is not made for every answer.
constexpr size_t room_share = 4;

}  // namespace

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

void hls_relay::segment(const runtime::http_request& request, const servers::media_target&,
                        runtime::http_server::respond respond) {
  route(request, key_of_segment(request, home_.shard.config.vhosts), false, std::move(respond));
}

// On the shard that has the client.
void hls_relay::route(const runtime::http_request& request, std::optional<cluster::stream_key> key, bool playlist,
                      runtime::http_server::respond respond) {
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
  hls_relay* home = all_[std::hash<cluster::stream_key>{}(a->key) % all_.size()];
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
  if (!channels_.empty()) prune_.arm_after(prune_interval);
}

}  // namespace sluice::relay
