#include "relay/hls_viewers.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace sluice::relay {
namespace {

constexpr base::duration window_min = std::chrono::seconds(15), window_max = std::chrono::seconds(60);
constexpr std::string_view session_parameter = "hls_ctx";
constexpr std::string_view target_tag = "#EXT-X-TARGETDURATION:";

uint64_t hash_of(std::string_view text) { return std::hash<std::string_view>{}(text); }

/// How long a viewer counts who follows that playlist; nothing if it is a master playlist, or not at hand.
std::optional<base::duration> window_of(const runtime::http_response& playlist) {
  const std::string& text = playlist.shared_body ? *playlist.shared_body : playlist.body;
  const auto tag = text.find(target_tag);
  if (tag == std::string::npos) return std::nullopt;
  uint32_t target = 0;
  std::from_chars(text.data() + tag + target_tag.size(), text.data() + text.size(), target);
  // An origin may say anything: what is longer than the longest window would overflow.
  const base::duration said = std::min<base::duration>(std::chrono::minutes(1), std::chrono::seconds(target));
  return std::clamp<base::duration>(3 * said, window_min, window_max);
}

}  // namespace

hls_viewers::hls_viewers(const limits& lim, base::metrics& m)
    : lim_(lim),
      viewers_cell_(m.gauge("sluice_hls_viewers", "HLS viewers: clients that ask for playlists of a stream.")),
      uncounted_cell_(m.counter("sluice_hls_viewers_uncounted_total",
                                "Playlists given to HLS viewers who were more than can be counted.")) {}

void hls_viewers::given(const cluster::stream_key& stream, const runtime::http_request& request,
                        const base::ip_address& client, const runtime::http_response& playlist, base::time_point now) {
  auto& of = streams_.try_emplace(stream, audience{{}, {}, window_min}).first->second;
  if (const auto window = window_of(playlist)) of.window = *window;
  const auto anonymous = hash_of(client.to_string() + '\n' + std::string(request.header("user-agent")));
  const auto session = request.query_value(session_parameter);
  const auto name = session.empty() ? anonymous : hash_of(session);
  if (const auto known = of.by_name.find(name); known != of.by_name.end()) {
    known->second->seen = now;
    ++known->second->given;
    of.by_time.splice(of.by_time.end(), of.by_time, known->second);
    return;
  }
  // It is in the playlist that he got first that he was told of his session; so were others behind his address. Without
  // sessions of their own are those to whom more playlists were given.
  if (const auto before = session.empty() ? of.by_name.end() : of.by_name.find(anonymous);
      before != of.by_name.end() && ++before->second->sessions >= before->second->given)
    forget(of, before->second);
  if (of.by_time.size() >= lim_.stream_max || all_ >= lim_.all_max) {
    uncounted_cell_.add();
    if (of.by_time.empty()) streams_.erase(stream);
    return;
  }
  of.by_name.emplace(name, of.by_time.insert(of.by_time.end(), {.name = name, .seen = now}));
  viewers_cell_.set(static_cast<int64_t>(++all_));
}

void hls_viewers::forget(audience& of, std::list<viewer>::iterator who) {
  of.by_name.erase(who->name);
  of.by_time.erase(who);
  viewers_cell_.set(static_cast<int64_t>(--all_));
}

void hls_viewers::expire(base::time_point now) {
  for (auto it = streams_.begin(); it != streams_.end();) {
    auto& of = it->second;
    while (!of.by_time.empty() && now - of.by_time.front().seen >= of.window) forget(of, of.by_time.begin());
    it = of.by_time.empty() ? streams_.erase(it) : std::next(it);
  }
}

void hls_viewers::for_each_stream(const std::function<void(const std::string& stream, size_t viewers)>& visit) const {
  for (const auto& [key, of] : streams_) visit(key.str(), of.by_time.size());
}

}  // namespace sluice::relay
