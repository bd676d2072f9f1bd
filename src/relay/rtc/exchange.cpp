#include "relay/rtc/exchange.hpp"

#include <algorithm>

#include "runtime/http_text.hpp"
#include "servers/http/target.hpp"

namespace sluice::relay {
namespace {

constexpr base::duration retry_delay = std::chrono::milliseconds(200);

bool is_ours(std::string_view path) {
  for (std::string_view own : {"/rtc/v1/whip", "/rtc/v1/whep"})
    if (path == own || (path.starts_with(own) && path.substr(own.size()) == "/")) return true;
  return false;
}

}  // namespace

rtc_exchange::rtc_exchange(rtc_signalling& signalling, rtc_kind kind, rtc_form form,
                           const runtime::http_request& request, rtc_ask ask, rtc_signalling::respond done)
    : signalling_(signalling),
      kind_(kind),
      form_(form),
      request_(request),
      ask_(std::move(ask)),
      respond_(std::move(done)),
      id_(here().sessions.next_id()),
      give_up_at_(here().control.now() + here().config.play_wait),
      retry_(here().control, [this] { find(); }) {}

rtc_exchange::~rtc_exchange() {
  if (request_.client) request_.client->on_gone = nullptr;
  if (stop_fetch_) stop_fetch_();
  if (asking_ != 0) here().owners.cancel(asking_);
}

void rtc_exchange::start() {
  if (request_.client)
    request_.client->on_gone = [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->finish();
    };
  find();
}

void rtc_exchange::find() {
  auto done = [weak = weak_from_this()](base::result<cluster::assignment> owner) {
    if (const auto self = weak.lock()) self->found(std::move(owner));
  };
  const auto& key = ask_.address.key;
  if (kind_ == rtc_kind::publish) {
    asking_ = here().owners.claim(here().control, key, {.session = id_, .exclude = failed_}, std::move(done));
  } else {
    const auto left = std::max(give_up_at_ - here().control.now(), base::duration(1));
    asking_ = here().owners.find(here().control, key, left, std::move(done));
  }
}

void rtc_exchange::found(base::result<cluster::assignment> owner) {
  if (kind_ == rtc_kind::play || !owner) asking_ = 0;
  if (!owner && !failed_.empty()) return refuse(last_failure_.reason, 502, last_failure_.text);
  if (!owner) {
    const bool missing = owner.error().reason == "stream_not_found";
    return refuse(owner.error().reason, missing ? 404 : 503, owner.error().text);
  }
  to_ = std::move(*owner);
  next_endpoint_ = 0;
  // Of ours those that serve WebRTC say so.
  if (to_.api.empty() || (to_.is_sluice && to_.rtc_udp.empty()))
    return unreachable({"no_endpoint", "the stream's origin server does not serve WebRTC"});
  ask_origin();
}

void rtc_exchange::ask_origin() {
  stop_fetch_ = runtime::http_fetch(
      here().control, signalling_.to_origin(request_, to_.api[next_endpoint_++], request_.target, ask_.body),
      [weak = weak_from_this()](base::result<runtime::http_response> answer) {
        if (const auto self = weak.lock()) self->answered(std::move(answer));
      },
      &signalling_.pool_);
}

void rtc_exchange::answered(base::result<runtime::http_response> answer) {
  stop_fetch_ = nullptr;
  if (answer) {
    if (answer->status >= 200 && answer->status < 300) return agreed(*answer);
    here()
        .metrics
        .counter("sluice_refused_total", "Clients and requests refused, by reason.",
                 {{"proto", "rtc"}, {"reason", "origin_refused"}})
        .add();
    servers::session_log(here().log, id_, "rtc", servers::client_address(request_, here().config.trusted),
                         ask_.address.key.str(), name_of(kind_))
        .refused(answer->status, "origin_refused", fmt::format("the origin server answered {}", answer->status));
    return pass_on(*answer, answer->body);
  }
  const auto& e = answer.error();
  // These never reached it; others may have.
  const bool untold = e.reason == "refused" || e.reason == "unreachable";
  if (untold && next_endpoint_ < to_.api.size()) return ask_origin();
  if (untold) {
    here().owners.dial_failed(to_.origin_id);
    return unreachable(e);
  }
  if (e.reason == "bad_url") return refuse("bad_url", 400, "the request's target is no valid URL");
  if (e.reason == "no_descriptors") return refuse(e.reason, 503, e.text);
  refuse(e.reason, e.reason == "timeout" ? 504 : 502, "the origin server's API did not answer as it should");
}

/// A publisher may be placed elsewhere; a viewer waits for the owner that there will be.
void rtc_exchange::unreachable(const base::error& e) {
  if (kind_ == rtc_kind::publish) {
    here().owners.cancel(std::exchange(asking_, 0));
    failed_.push_back(to_.origin_id);
    last_failure_ = e;
    if (failed_.size() >= here().config.claim_attempts) return refuse(e.reason, 502, e.text);
    return find();
  }
  if (e.reason == "no_endpoint" || here().control.now() + retry_delay >= give_up_at_)
    return refuse(e.reason, 502, e.text);
  retry_.arm_after(retry_delay);
}

void rtc_exchange::agreed(const runtime::http_response& answer) {
  const auto parsed = parse_rtc_answer(answer.body, form_, signalling_.candidates(request_, ask_));
  if (!parsed && parsed.error().reason == "origin_refused") return pass_on(answer, answer.body);
  if (!parsed) return refuse(parsed.error().reason, 502, parsed.error().text);
  std::optional<base::endpoint> media = parsed->candidate;
  if (!to_.rtc_udp.empty()) media = to_.rtc_udp.front();
  if (!media) return refuse("no_endpoint", 502, "the stream's origin server names no endpoint of WebRTC media");

  rtc_sessions::opening o{.id = id_,
                          .kind = kind_,
                          .key = ask_.address.key,
                          .client = servers::client_address(request_, here().config.trusted),
                          .to = to_,
                          .origin = *media,
                          .credentials = {parsed->ufrag + ":" + ask_.ufrag, parsed->password},
                          .location = {},
                          .resource = {}};
  const auto path = std::string_view(request_.target).substr(0, request_.target.find('?'));
  for (const auto& [name, value] : answer.headers)
    if (runtime::equal_ignoring_case(name, "location"))
      if (auto resource = resource_of(value, path)) o.resource = o.location = std::move(*resource);
  // A path of the origin's own would not be one of ours.
  if (!o.location.empty() &&
      (!is_ours(o.location.substr(0, o.location.find('?'))) || here().sessions.find_location(o.location)))
    o.location = "/rtc/v1/resource/" + id_;
  const auto location = o.location;
  asking_ = 0;  // used
  here().owners.dial_ok(to_.origin_id);
  here().sessions.open(std::move(o));
  pass_on(answer, parsed->body, location);
}

void rtc_exchange::pass_on(const runtime::http_response& answer, std::string body, const std::string& location) {
  runtime::http_response r;
  r.status = answer.status;
  r.content_type = answer.content_type;
  r.headers = returned_rtc_headers(answer.headers);
  if (!location.empty()) r.headers.emplace_back("Location", location);
  if (answer.status >= 300)  // to where an origin redirects is its own affair
    for (const auto& [name, value] : answer.headers)
      if (runtime::equal_ignoring_case(name, "location")) r.headers.emplace_back(name, value);
  allow_rtc_pages(r.headers);
  r.body = std::move(body);
  std::exchange(respond_, nullptr)(std::move(r));
  finish();
}

void rtc_exchange::refuse(std::string_view reason, int status, std::string_view text) {
  signalling_.refuse(request_, reason, status, text, ask_.address.key.str(), std::exchange(respond_, nullptr));
  finish();
}

/// What was claimed and not used is given back (destructor).
void rtc_exchange::finish() { signalling_.retire(this); }

}  // namespace sluice::relay
