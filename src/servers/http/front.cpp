#include "servers/http/front.hpp"

namespace sluice::servers {

runtime::http_server::handler make_http_front(const http_front& front, const cluster::vhost_rules& rules) {
  return [&front, &rules](const runtime::http_request& request, runtime::http_server::respond respond) {
    const auto refuse = [&](int status, std::string_view reason, std::string_view text) {
      front.on_refused(request, reason, text);
      auto response = http_failure(status, text);
      if (status == 405) response.headers.emplace_back("Allow", "GET, HEAD, OPTIONS");
      respond(std::move(response));
    };
    if (request.method == "OPTIONS" && request.path == "*") return respond(options_response());  // RFC 9110 §9.3.7
    const auto target = parse_media_target(request, rules);
    if (!target) return refuse(400, target.error().reason, target.error().text);
    const media_answer* chosen = nullptr;
    switch (target->kind) {
      case media_kind::none:
        return front.other(request, std::move(respond));
      case media_kind::endless:
        chosen = &front.endless;
        break;
      case media_kind::playlist:
        chosen = &front.playlist;
        break;
      case media_kind::segment:
        chosen = &front.segment;
        break;
    }
    if (request.method == "OPTIONS") return respond(options_response());
    if (request.method != "GET" && request.method != "HEAD")
      return refuse(405, "method_not_allowed", "a stream is got by GET");
    if (!*chosen) return refuse(404, "not_found", "not served here");
    (*chosen)(request, *target, std::move(respond));
  };
}

}  // namespace sluice::servers
