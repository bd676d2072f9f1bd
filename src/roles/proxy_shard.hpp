#pragma once

#include <memory>
#include <vector>

#include "relay/hls_relay.hpp"
#include "relay/http_access.hpp"
#include "relay/http_pass.hpp"
#include "relay/proxy_handler.hpp"
#include "roles/srt_service.hpp"
#include "runtime/http_server.hpp"
#include "servers/http/front.hpp"
#include "servers/http/media_server.hpp"
#include "servers/rtmp/server.hpp"

namespace sluice::roles {

/// All that one shard has. Made, used and destroyed on its thread.
struct proxy_shard {
  proxy_shard(unsigned index, runtime::loop& l, base::duration merge, base::duration srt_interval,
              const servers::server_limits& limits, const servers::media_server_limits& players_limits,
              const relay::http_pass_config& passing, const relay::hls_relay_config& hls_config,
              const relay::relay_config& relays, relay::director& control, base::log_sink& log, base::metrics& cells,
              const std::vector<relay::feed_set*>& all, const std::vector<relay::hls_relay*>& all_hls,
              relay::srt_common& srt_callers)
      : server(l, "proxy", limits, merge, log, cells,
               [this](servers::connection& c) { return relay::make_proxy_handler(c, context, feeds); }),
        prompt(l, base::duration::zero()),
        context{index,
                l,
                log,
                cells,
                relays,
                control,
                server.flusher(),
                prompt,
                relay::upstream_metrics(cells),
                relay::retention_metrics(cells),
                relay::failover_metrics(cells),
                all},
        feeds(context),
        pass(context, passing),
        access(context, feeds, pass),
        players(l, "proxy", players_limits, access, log, cells),
        hls(context, hls_config, all_hls),
        srt(context, srt_callers, srt_interval) {
    front.serve_media(players, hls);
  }

  size_t sessions() const { return server.sessions() + players.sessions() + pass.sessions() + srt.door.sessions(); }

  servers::rtmp_server server;
  servers::hub_flusher prompt;
  relay::shard_context context;
  relay::feed_set feeds;
  relay::http_pass pass;
  relay::http_access access;
  servers::media_server players;
  relay::hls_relay hls;
  srt_part srt;
  servers::http_front front;
  std::unique_ptr<runtime::http_server> http;
};

}  // namespace sluice::roles
