#include "relay/rtc/signalling.hpp"

#include <boost/json.hpp>

#include "relay/http_pass.hpp"
#include "relay/rtc/change.hpp"
#include "relay/rtc/exchange.hpp"
#include "runtime/http_text.hpp"
#include "servers/http/target.hpp"

namespace sluice::relay {
namespace {

// SRS answers when its hooks have.
constexpr base::duration origin_timeout = std::chrono::seconds(10);
// Candidates of clients are replaced by one that nobody listens at: the origin has to wait for what comes through here.
constexpr uint16_t discard_port = 9;

}  // namespace

runtime::http_response rtc_failure(int status, std::string_view text) {
  runtime::http_response r;
  r.status = status;
  r.body = boost::json::serialize(boost::json::object{{"code", status}, {"error", text}});
  allow_rtc_pages(r.headers);
  return r;
}

rtc_signalling::rtc_signalling(const surroundings& around)
    : here_(around), pool_(around.control, {.descriptors = around.descriptors}) {}

rtc_signalling::~rtc_signalling() { close(); }

void rtc_signalling::close() { under_way_.clear(); }

void rtc_signalling::begin(rtc_kind kind, rtc_form form, const runtime::http_request& request, respond done) {
  if (stopping_) return refuse(request, "stopping", 503, "this proxy is being stopped", {}, done);
  const auto local = request.local.address;
  auto ask = parse_rtc_ask(request, form, {local, discard_port}, here_.vhosts);
  if (!ask) return refuse(request, ask.error().reason, rtc_status_of(ask.error()), ask.error().text, {}, done);
  const auto stream = ask->address.key.str();
  if (const auto room = here_.sessions.admit(servers::client_address(request, here_.config.trusted).address); !room)
    return refuse(request, room.error().reason, 503, room.error().text, stream, done);
  auto exchange = std::make_shared<rtc_exchange>(*this, kind, form, request, std::move(*ask), std::move(done));
  under_way_.emplace(exchange.get(), exchange);
  exchange->start();
}

void rtc_signalling::change(const runtime::http_request& request, respond done) {
  auto change = std::make_shared<rtc_change>(*this, request, std::move(done));
  under_way_.emplace(change.get(), change);
  change->start();
}

runtime::http_response rtc_signalling::options() {
  runtime::http_response r;
  r.status = 204;
  r.content_type.clear();
  allow_rtc_pages(r.headers);
  r.headers.emplace_back("Allow", "POST, DELETE, PATCH, OPTIONS");
  r.headers.emplace_back("Accept-Post", "application/sdp");
  r.headers.emplace_back("Accept-Patch", "application/trickle-ice-sdpfrag");
  r.headers.emplace_back("Access-Control-Allow-Methods", "POST, DELETE, PATCH, OPTIONS");
  r.headers.emplace_back("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match, *");
  r.headers.emplace_back("Access-Control-Max-Age", "86400");
  return r;
}

/// Where the client is told to send its media: what the operator says; what it asks for itself; the one address that
/// is served; or the one at which it reached this API.
std::vector<base::endpoint> rtc_signalling::candidates(const runtime::http_request& request, const rtc_ask& ask) const {
  std::vector<base::endpoint> out;
  for (const auto& address : here_.config.advertise) out.push_back({address, media_.port});
  if (!out.empty()) return out;
  if (ask.external) return {{ask.external->address, ask.external->port != 0 ? ask.external->port : media_.port}};
  if (!media_.address.is_unspecified()) return {media_};
  return {{request.local.address, media_.port}};
}

void rtc_signalling::refuse(const runtime::http_request& request, std::string_view reason, int status,
                            std::string_view text, std::string_view stream, const respond& done) {
  here_.metrics
      .counter("sluice_refused_total", "Clients and requests refused, by reason.",
               {{"proto", "rtc"}, {"reason", std::string(reason)}})
      .add();
  servers::session_log(here_.log, here_.sessions.next_id(), "rtc",
                       servers::client_address(request, here_.config.trusted), std::string(stream))
      .refused(status, reason, text);
  done(rtc_failure(status, text));
}

runtime::http_client_request rtc_signalling::to_origin(const runtime::http_request& request, const base::endpoint& api,
                                                       std::string_view target, std::string body) const {
  runtime::http_client_request r;
  r.method = request.method;
  r.url = fmt::format("http://{}{}", api.to_string(), target);
  r.headers = forwarded_headers(request, here_.config.trusted, request.header("host"));
  // Its body is read here.
  std::erase_if(r.headers, [](const auto& h) { return runtime::equal_ignoring_case(h.first, "accept-encoding"); });
  r.body = std::move(body);
  r.timeout = origin_timeout;
  return r;
}

}  // namespace sluice::relay
