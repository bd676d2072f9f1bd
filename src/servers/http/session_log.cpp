#include "servers/http/session_log.hpp"

namespace sluice::servers {

session_log::session_log(base::log_sink& log, std::string id, std::string_view proto, const base::endpoint& peer,
                         std::string stream, std::string_view kind)
    : log_(log),
      id_(std::move(id)),
      stream_(std::move(stream)),
      // An address that came in a header has no port.
      peer_(peer.port == 0 ? peer.address.to_string() : peer.to_string()),
      proto_(proto),
      kind_(kind) {}

void session_log::started(std::string_view origin, base::time_point now) {
  origin_ = origin;
  started_ = now;
  log_.info("session_start", {{"session", id_},
                              {"proto", proto_},
                              {"kind", kind_},
                              {"peer", peer_},
                              {"stream", stream_},
                              {"origin", origin_}});
}

void session_log::ended(std::string_view reason, base::time_point now, uint64_t bytes_in, uint64_t bytes_out,
                        uint64_t drops) {
  if (!running()) return;
  const auto lasted = std::chrono::duration_cast<std::chrono::milliseconds>(now - started_);
  started_ = {};
  log_.info("session_end", {{"session", id_},
                            {"proto", proto_},
                            {"kind", kind_},
                            {"peer", peer_},
                            {"stream", stream_},
                            {"origin", origin_},
                            {"reason", reason},
                            {"duration_ms", lasted.count()},
                            {"bytes_in", bytes_in},
                            {"bytes_out", bytes_out},
                            {"drops", drops}});
}

void session_log::refused(int status, std::string_view reason, std::string_view text) {
  log_.warn("session_refused", {{"session", id_},
                                {"proto", proto_},
                                {"peer", peer_},
                                {"stream", stream_},
                                {"status", status},
                                {"reason", reason},
                                {"text", text}});
}

}  // namespace sluice::servers
