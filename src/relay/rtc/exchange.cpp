#include "relay/rtc/exchange.hpp"

#include <algorithm>

#include "runtime/http_text.hpp"
#include "servers/http/target.hpp"

namespace sluice::relay {
namespace {

constexpr base::duration retry_delay = std::chrono::milliseconds(200);

/// Whether a DELETE or PATCH of it comes here, and another proxy could tell by it which session is meant (rtc_change).
bool is_ours(std::string_view location) {
  const auto mark = std::min(location.find('?'), location.size());
  const auto path = location.substr(0, mark);
  const auto is = [&](std::string_view own) {
    return path == own || (path.starts_with(own) && path.substr(own.size()) == "/");
  };
  if (!is("/rtc/v1/whip") && !is("/rtc/v1/whep")) return false;
  runtime::http_request r;
  r.query = location.substr(std::min(mark + 1, location.size()));
  return !r.query_value("session").empty() || (!r.query_value("app").empty() && !r.query_value("stream").empty());
}

std::string own_location(std::string_view id, std::string_view username) {
  std::string out = fmt::format("/rtc/v1/resource/{}?session=", id);
  for (const char c : username) {
    const bool plain =
        (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == ':' || c == '/';
    plain ? out.push_back(c) : void(out += fmt::format("%{:02X}", static_cast<unsigned char>(c)));
  }
  return out;
}

}  // namespace

rtc_exchange::rtc_exchange(rtc_signalling& signalling, rtc_kind kind, rtc_form form,
                           const runtime::http_request& request, rtc_ask ask, std::vector<base::endpoint> ours,
                           rtc_signalling::respond done)
    : signalling_(signalling),
      kind_(kind),
      form_(form),
      request_(request),
      ask_(std::move(ask)),
      ours_(std::move(ours)),
      respond_(std::move(done)),
      id_(here().sessions.next_id()),
      give_up_at_(here().control.now() + here().config.play_wait),
      retry_(here().control, [this] { find(); }) {}

rtc_exchange::~rtc_exchange() {
  if (request_.client) request_.client->on_gone = nullptr;
  if (lingers_) --signalling_.lingering_;
  if (stop_fetch_) stop_fetch_();
  if (asking_ != 0) here().owners.cancel(asking_);
}

void rtc_exchange::start() {
  if (request_.client)
    request_.client->on_gone = [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->client_gone();
    };
  find();
}

/// What the origin has been asked may be done already; where that is undone, its answer alone tells.
void rtc_exchange::client_gone() {
  is_client_gone_ = true;
  if (!stop_fetch_ || !linger()) return finish();
  if (asking_ != 0) here().owners.cancel(std::exchange(asking_, 0));
}

/// False if there are too many already.
bool rtc_exchange::linger() {
  if (lingers_) return true;
  if (!signalling_.may_linger()) return false;
  ++signalling_.lingering_;
  return lingers_ = true;
}

void rtc_exchange::find() {
  auto done = [weak = weak_from_this()](base::result<cluster::assignment> owner) {
    if (const auto self = weak.lock()) self->found(std::move(owner));
  };
  const auto& key = ask_.address.key;
  if (kind_ == rtc_kind::publish) {
    asking_ = here().owners.claim(here().control, key,
                                  {.session = id_, .exclude = failed_, .by = cluster::transport::rtc}, std::move(done));
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
  if (is_client_gone_ && !answer) return finish();
  if (answer) {
    const bool agrees = answer->status >= 200 && answer->status < 300;
    if (agrees || (kind_ == rtc_kind::play && form_ == rtc_form::sdp && is_counter_offer(*answer)))
      return agreed(*answer);
    if (is_client_gone_) return finish();
    here()
        .metrics
        .counter("sluice_refused_total", "Clients and requests refused, by reason.",
                 {{"proto", "rtc"}, {"reason", "origin_refused"}})
        .add();
    servers::session_log(here().log, id_, "rtc", servers::client_address(request_, here().config.trusted),
                         ask_.address.key.str(), name_of(kind_))
        .refused(answer->status, "origin_refused", fmt::format("the origin server answered {}", answer->status));
    leave_claim();
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

/// The origin has refused the publisher: somebody else may publish there with what this claim has written.
void rtc_exchange::leave_claim() {
  if (kind_ == rtc_kind::publish && asking_ != 0) here().owners.claim_refused(std::exchange(asking_, 0));
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
  const auto parsed = parse_rtc_answer(answer.body, form_, ours_);
  if (!parsed && parsed.error().reason == "origin_refused") {
    leave_claim();
    return is_client_gone_ ? finish() : pass_on(answer, answer.body);
  }
  if (is_client_gone_) return undo(answer, "client_gone");
  if (!parsed) {
    tell_refusal(parsed.error().reason, 502, parsed.error().text);
    return undo(answer, parsed.error().reason);
  }
  std::optional<base::endpoint> media = parsed->candidate;
  if (!to_.rtc_udp.empty()) media = to_.rtc_udp.front();
  if (!media) {
    tell_refusal("no_endpoint", 502, "the stream's origin server names no endpoint of WebRTC media");
    return undo(answer, "no_endpoint");
  }
  const auto path = std::string_view(request_.target).substr(0, request_.target.find('?'));
  const auto resource = resource_of(answer, path);
  if (answer.status >= 300 && resource.empty())
    return refuse("bad_answer", 406, "the origin server makes an offer of its own, but names no session to answer it");

  rtc_sessions::opening o{.id = id_,
                          .kind = kind_,
                          .key = ask_.address.key,
                          .client = servers::client_address(request_, here().config.trusted),
                          .to = to_,
                          .origin = *media,
                          .credentials = {parsed->ufrag + ":" + ask_.ufrag, parsed->password},
                          .location = resource,
                          .resource = resource};
  // A path of the origin's own would not be one of ours.
  if (!o.location.empty() && (!is_ours(o.location) || here().sessions.find_location(o.location)))
    o.location = own_location(id_, o.credentials.username);
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
  if (answer.status >= 300 && location.empty())  // to where an origin redirects is its own affair
    for (const auto& [name, value] : answer.headers)
      if (runtime::equal_ignoring_case(name, "location")) r.headers.emplace_back(name, value);
  r.body = std::move(body);
  std::exchange(respond_, nullptr)(std::move(r));
  finish();
}

/// Nobody will use what the origin has agreed to: it is ended there. (The older calls name nothing that could be: the
/// origin ends that when no check comes.)
void rtc_exchange::undo(const runtime::http_response& answer, std::string_view why) {
  if (asking_ != 0) here().owners.cancel(std::exchange(asking_, 0));
  const auto path = std::string_view(request_.target).substr(0, request_.target.find('?'));
  const auto resource = form_ == rtc_form::sdp ? resource_of(answer, path) : std::string();
  if (resource.empty()) return undone(why, "no_resource");
  if (!linger()) return undone(why, "too_many");
  auto request = signalling_.to_origin(request_, to_.api[next_endpoint_ - 1], resource, {});
  request.method = "DELETE";
  std::erase_if(request.headers, [](const auto& h) { return runtime::equal_ignoring_case(h.first, "content-type"); });
  stop_fetch_ = runtime::http_fetch(
      here().control, std::move(request),
      [weak = weak_from_this(), why = std::string(why)](const base::result<runtime::http_response>& deleted) {
        const auto self = weak.lock();
        if (!self) return;
        self->stop_fetch_ = nullptr;
        self->undone(why, deleted && deleted->status < 300 ? "deleted" : "failed");
      },
      &signalling_.pool_);
}

void rtc_exchange::undone(std::string_view why, std::string_view outcome) {
  here()
      .metrics
      .counter("sluice_rtc_undone_total", "WebRTC sessions that origins agreed to and nobody could use, by outcome.",
               {{"reason", std::string(why)}, {"outcome", std::string(outcome)}})
      .add();
  here().log.info("rtc_undone", {{"session", id_},
                                 {"stream", ask_.address.key.str()},
                                 {"origin", to_.origin_id},
                                 {"reason", why},
                                 {"outcome", outcome}});
  finish();
}

void rtc_exchange::refuse(std::string_view reason, int status, std::string_view text) {
  tell_refusal(reason, status, text);
  finish();
}

void rtc_exchange::tell_refusal(std::string_view reason, int status, std::string_view text) {
  signalling_.refuse(request_, reason, status, text, ask_.address.key.str(), std::exchange(respond_, nullptr));
}

/// What was claimed and not used is given back (destructor).
void rtc_exchange::finish() { signalling_.retire(this); }

}  // namespace sluice::relay
