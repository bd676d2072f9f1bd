#include "servers/http/hls_server.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "media/bridge/hls_name.hpp"
#include "runtime/process.hpp"
#include "servers/http/body.hpp"
#include "servers/http/hls_channel.hpp"

namespace sluice::servers {
namespace {

constexpr base::duration prune_interval = std::chrono::seconds(2);

std::optional<std::optional<media::container>> parse_wish(std::string_view text) {
  if (text.empty() || text == "auto") return std::optional<media::container>{};
  if (text == "ts") return media::container::mpegts;
  if (text == "fmp4") return media::container::fmp4;
  return std::nullopt;
}

}  // namespace

hls_server::hls_server(runtime::loop& l, const hls_limits& limits, stream_access& streams,
                       const cluster::vhost_rules& vhosts, base::log_sink& log, base::metrics& metrics)
    : loop_(l),
      limits_(limits),
      streams_(streams),
      vhosts_(vhosts),
      log_(log),
      prune_(l, [this] { prune(); }),
      id_prefix_(runtime::random_id(8)),
      channels_cell_(metrics.gauge("sluice_hls_channels", "Streams cut into HLS segments now, in each form.")),
      bytes_cell_(metrics.gauge("sluice_hls_bytes", "HLS segments held.")),
      bytes_out_cell_(
          metrics.counter("sluice_bytes_total", "Bytes from and to clients.", {{"dir", "out"}, {"proto", "hls"}})) {}

hls_server::~hls_server() { close_all(); }

void hls_server::close_all() { channels_.clear(); }

hls_channel* hls_server::open(const cluster::stream_address& address, wish w, const runtime::http_request& request) {
  auto& channel = channels_[{address.key, w}];
  if (!channel) {
    if (channels_.size() > limits_.channels_max) {
      channels_.erase({address.key, w});
      return nullptr;
    }
    channel = std::make_unique<hls_channel>(*this, address, w);
    if (!prune_.armed()) prune_.arm_after(prune_interval);
  }
  channel->watch(request);
  return channel.get();
}

void hls_server::playlist(const runtime::http_request& request, const media_target& target,
                          runtime::http_server::respond respond) {
  const auto media = request.query_value("media");
  const auto w = parse_wish(media.empty() ? request.query_value("hls") : media);
  if (!w) return respond(http_failure(400, unknown_hls_format));
  auto* channel = open(target.address, *w, request);
  if (!channel) return respond(http_failure(503, "as many streams are cut into segments as may"));
  channel->answer(request, std::move(respond));
}

void hls_server::segment(const runtime::http_request& request, const media_target& target,
                         runtime::http_server::respond respond, const media_answer& as_stream) {
  const auto path = std::string_view(request.target).substr(0, request.target.find('?'));
  const auto slash = path.rfind('/');
  const auto file = slash == std::string_view::npos ? path : path.substr(slash + 1);
  const auto name = media::parse_hls_name(file);
  if (!name) return respond(http_failure(404, "no such segment"));
  const auto stream_path = fmt::format("{}{}.m3u8", path.substr(0, slash + 1), name->stream);
  const auto address = cluster::parse_http(request.header("host"), stream_path, request.query, vhosts_);
  if (!address) return respond(http_failure(404, "no such segment"));
  const wish wishes[] = {std::nullopt, name->format};
  for (const wish& w : wishes) {
    const auto channel = channels_.find({address->key, w});
    if (channel == channels_.end()) continue;
    channel->second->watch(request);
    const auto found = channel->second->find(file);
    if (!found) continue;
    bytes_out_cell_.add(static_cast<int64_t>(found->bytes->size()));
    return respond(answer_with(
        request, {found->bytes, std::string(found->content_type), found->etag, std::string(found->cache_control)}));
  }
  if (target.may_be_stream && as_stream && streams_.publishes(target.address.key))
    return as_stream(request, target, std::move(respond));
  respond(http_failure(404, "no such segment"));
}

void hls_server::prune() {
  const auto now = loop_.now();
  size_t bytes = 0;
  std::erase_if(channels_, [&](const auto& entry) {
    return !entry.second->awaited() && now - entry.second->last_used() > limits_.idle;
  });
  for (const auto& [key, channel] : channels_) bytes += channel->bytes();
  while (bytes > limits_.bytes_max && channels_.size() > 1) {
    const auto idlest = std::min_element(channels_.begin(), channels_.end(), [](const auto& a, const auto& b) {
      return a.second->last_used() < b.second->last_used();
    });
    bytes -= idlest->second->bytes();
    log_.warn("hls_over_limit", {{"stream", idlest->first.first.str()}, {"bytes", bytes}});
    channels_.erase(idlest);
  }
  channels_cell_.set(static_cast<int64_t>(channels_.size()));
  bytes_cell_.set(static_cast<int64_t>(bytes));
  if (!channels_.empty()) prune_.arm_after(prune_interval);
}

}  // namespace sluice::servers
