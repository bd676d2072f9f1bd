#include "servers/http/media_server.hpp"

#include <fmt/format.h>

#include "runtime/process.hpp"
#include "servers/http/player.hpp"

namespace sluice::servers {

media_server::cells::cells(base::metrics& m, std::string_view role, std::string_view proto)
    : sessions(m.gauge("sluice_sessions", "Client connections open now.",
                       {{"role", std::string(role)}, {"proto", std::string(proto)}})),
      bytes_out(m.counter("sluice_bytes_total", "Bytes from and to clients.",
                          {{"dir", "out"}, {"proto", std::string(proto)}})),
      drops(m.counter("sluice_player_drops_total", "How often slow players were moved on to a newer keyframe.",
                      {{"proto", std::string(proto)}})) {}

media_server::media_server(runtime::loop& l, std::string_view role, const media_server_limits& limits,
                           stream_access& streams, base::log_sink& log, base::metrics& metrics)
    : loop_(l),
      limits_(limits),
      streams_(streams),
      log_(log),
      metrics_(metrics),
      flv_cells_(metrics, role, name(http_format::flv)),
      ts_cells_(metrics, role, name(http_format::ts)),
      formats_(l, limits.log),
      id_prefix_(runtime::random_id(8)) {}

media_server::~media_server() { close_all("shutdown"); }

void media_server::play(const runtime::http_request& request, const media_target& target,
                        runtime::http_server::respond respond) {
  auto p = std::make_unique<http_player>(*this, fmt::format("{}-{:x}", id_prefix_, ++ids_), request, target,
                                         std::move(respond));
  http_player& player = *p;
  player.slot_ = players_.size();
  players_.push_back(std::move(p));
  player.place_ = runtime::session_place::take(limits_.sessions);
  if (!player.place_.held())
    return player.refuse(503, "too_many_sessions", "this server has as many players and other sessions as it may");
  player.start();
}

void media_server::close_all(std::string_view reason) {
  while (!players_.empty()) players_.back()->close(reason);
  retired_.clear();
}

void media_server::drain(std::string_view reason) {
  for (size_t i = players_.size(); i-- > 0;)
    if (i < players_.size()) players_[i]->drain(reason);
}

void media_server::for_each_session(const std::function<void(const std::string& stream)>& visit) const {
  for (const auto& p : players_)
    if (p->running()) visit(p->stream());
}

base::metric_cell& media_server::refused(std::string_view proto, std::string_view reason) {
  return metrics_.counter("sluice_refused_total", "Clients and requests refused, by reason.",
                          {{"proto", std::string(proto)}, {"reason", std::string(reason)}});
}

void media_server::retire(http_player& p) {
  p.place_.give_back();
  const size_t slot = p.slot_;
  if (retired_.empty()) loop_.defer([this] { retired_.clear(); });
  retired_.push_back(std::move(players_[slot]));
  if (slot + 1 < players_.size()) {
    players_[slot] = std::move(players_.back());
    players_[slot]->slot_ = slot;
  }
  players_.pop_back();
}

}  // namespace sluice::servers
