#include "relay/hls_home.hpp"

#include "servers/http/target.hpp"

namespace sluice::relay {
namespace {

base::metric_cell& requests(base::metrics& m, const char* from) {
  return m.counter("sluice_hls_requests_total", "HLS requests of players, by what answered them.", {{"from", from}});
}

}  // namespace

hls_home::hls_home(shard_context& s, const hls_relay_config& c)
    : shard(s),
      config(c),
      pool(s.loop, {.descriptors = s.config.upstream.descriptors}),
      viewers(c.viewers, s.metrics),
      from_cache(requests(s.metrics, "cache")),
      from_origin(requests(s.metrics, "origin")),
      cached_bytes(s.metrics.gauge("sluice_hls_cached_bytes", "HLS playlists and segments kept for players.")) {}

void hls_home::note_bytes(size_t before, size_t after) {
  bytes = bytes - before + after;
  cached_bytes.set(static_cast<int64_t>(bytes));
  if (bytes > config.bytes_max && on_full) on_full();
}

void hls_ask::enter() {
  counted_ = true;
  ++home->asks;
  since = home->shard.loop.now();
}

void hls_ask::answer(runtime::http_response response) {
  if (std::exchange(counted_, false)) --home->asks;
  on_leave = otherwise = nullptr;
  if (!respond) return;
  if (playlist && request->method == "GET" && (response.status == 200 || response.status == 304))
    home->viewers.given(key, *request, servers::client_address(*request, home->config.trusted).address, response,
                        home->shard.loop.now());
  std::exchange(respond, nullptr)(std::move(response));
}

void hls_ask::refuse(int status, std::string_view reason, std::string_view text) {
  if (!respond) return;
  if (status == 404 && otherwise) {
    if (std::exchange(counted_, false)) --home->asks;
    respond = nullptr;
    on_leave = nullptr;
    return std::exchange(otherwise, nullptr)();
  }
  auto& shard = home->shard;
  const auto peer = servers::client_address(*request, home->config.trusted);
  shard.log.warn("session_refused", {{"proto", "hls"},
                                     {"peer", peer.port == 0 ? peer.address.to_string() : peer.to_string()},
                                     {"stream", key.str()},
                                     {"path", request->path},
                                     {"status", status},
                                     {"reason", reason},
                                     {"text", text}});
  answer(servers::http_failure(status, text));
}

void hls_ask::leave() {
  if (const auto end = std::exchange(on_leave, nullptr)) end();
  answer(servers::http_failure(503, "the client is gone"));
}

}  // namespace sluice::relay
