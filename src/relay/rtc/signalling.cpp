#include "relay/rtc/signalling.hpp"

#include <boost/json.hpp>

#include "relay/http_pass.hpp"
#include "relay/rtc/change.hpp"
#include "relay/rtc/exchange.hpp"
#include "runtime/http_text.hpp"
#include "runtime/interfaces.hpp"
#include "servers/http/target.hpp"

namespace sluice::relay {
namespace {

// SRS answers when its hooks have.
constexpr base::duration origin_timeout = std::chrono::seconds(10);
// Candidates of clients are replaced by one that nobody listens at: the origin has to wait for what comes through here.
constexpr uint16_t discard_port = 9;
constexpr size_t lingering_max = 256;

}  // namespace

base::endpoint rtc_signalling::placeholder(const runtime::http_request& request) {
  return {request.local.address, discard_port};
}

runtime::http_response rtc_failure(int status, std::string_view text) {
  runtime::http_response r;
  r.status = status;
  r.body = boost::json::serialize(boost::json::object{{"code", status}, {"error", text}});
  return r;
}

rtc_signalling::rtc_signalling(const surroundings& around)
    : here_(around), pool_(around.control, {.descriptors = around.descriptors}) {}

rtc_signalling::~rtc_signalling() { close(); }

void rtc_signalling::close() { under_way_.clear(); }

void rtc_signalling::begin(rtc_kind kind, rtc_form form, const runtime::http_request& request, respond done) {
  if (stopping_) return refuse(request, "stopping", 503, "this proxy is being stopped", {}, done);
  if (media_.port == 0) return refuse(request, "starting", 503, "this proxy does not serve media yet", {}, done);
  auto ask = parse_rtc_ask(request, form, placeholder(request), here_.vhosts);
  if (!ask) return refuse(request, ask.error().reason, rtc_status_of(ask.error()), ask.error().text, {}, done);
  const auto stream = ask->address.key.str();
  if (const auto room = here_.sessions.admit(servers::client_address(request, here_.config.trusted).address); !room)
    return refuse(request, room.error().reason, 503, room.error().text, stream, done);
  auto ours = candidates(request, ask->external);
  if (ours.empty())
    return refuse(
        request, "no_address", 500,
        "there is no address for media: the API was reached by IPv6, and PROXY_WEBRTC_SERVER serves IPv4 alone; "
        "let it be [::]:PORT, or set PROXY_ADVERTISE",
        stream, done);
  auto exchange =
      std::make_shared<rtc_exchange>(*this, kind, form, request, std::move(*ask), std::move(ours), std::move(done));
  under_way_.emplace(exchange.get(), exchange);
  exchange->start();
}

void rtc_signalling::change(const runtime::http_request& request, respond done) {
  auto change = std::make_shared<rtc_change>(*this, request, std::move(done));
  under_way_.emplace(change.get(), change);
  change->start();
}

runtime::http_response rtc_signalling::options(rtc_place place) {
  const bool begins = place != rtc_place::session, changes = place != rtc_place::older_call;
  const std::string_view methods = !begins   ? "DELETE, PATCH, OPTIONS"
                                   : changes ? "POST, DELETE, PATCH, OPTIONS"
                                             : "POST, OPTIONS";
  auto r = no_content();
  r.headers.emplace_back("Allow", fmt::format("{}{}", changes ? "GET, HEAD, " : "", methods));
  if (begins) r.headers.emplace_back("Accept-Post", changes ? "application/sdp" : "application/json");
  if (changes) r.headers.emplace_back("Accept-Patch", rtc_patch_types(place == rtc_place::whip ? "/rtc/v1/whip" : ""));
  r.headers.emplace_back("Access-Control-Allow-Methods", methods);
  r.headers.emplace_back("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match, *");
  r.headers.emplace_back("Access-Control-Max-Age", "86400");
  return r;
}

runtime::http_response rtc_signalling::no_content() {
  runtime::http_response r;
  r.status = 204;
  r.content_type.clear();
  return r;
}

/// Where the client is told to send its media; empty: nowhere.
std::vector<base::endpoint> rtc_signalling::candidates(const runtime::http_request& request,
                                                       const std::optional<base::endpoint>& wanted) const {
  return rtc_candidates({here_.config.advertise, wanted, media_, request.local.address, runtime::v4_beside});
}

bool rtc_signalling::may_linger() const { return lingering_ < lingering_max; }

void rtc_signalling::refuse(const runtime::http_request& request, std::string_view reason, int status,
                            std::string_view text, std::string_view stream, const respond& done) {
  here_.metrics
      .counter("sluice_refused_total", "Clients and requests refused, by reason.",
               {{"proto", "rtc"}, {"reason", std::string(reason)}})
      .add();
  servers::session_log(here_.log, here_.sessions.next_id(), "rtc",
                       servers::client_address(request, here_.config.trusted), std::string(stream))
      .refused(status, reason, text);
  auto answer = rtc_failure(status, text);
  if (status == 415 && request.method == "PATCH")
    answer.headers.emplace_back("Accept-Patch", rtc_patch_types(request.path));  // RFC 5789 §2.2
  if (status == 415 && request.method == "POST") answer.headers.emplace_back("Accept-Post", "application/sdp");
  done(std::move(answer));
}

runtime::http_client_request rtc_signalling::to_origin(const runtime::http_request& request, const base::endpoint& api,
                                                       std::string_view target, std::string body) const {
  runtime::http_client_request r;
  r.method = request.method;
  r.url = fmt::format("http://{}{}", api.to_string(), target);
  r.headers = forwarded_headers(request, here_.config.trusted, request.header("host"), {api});
  // Its body is read here.
  std::erase_if(r.headers, [](const auto& h) { return runtime::equal_ignoring_case(h.first, "accept-encoding"); });
  r.body = std::move(body);
  r.timeout = origin_timeout;
  return r;
}

}  // namespace sluice::relay
