#include "relay/rtc/change.hpp"

#include <utility>

#include "proto/sdp/description.hpp"
#include "runtime/http_text.hpp"

namespace sluice::relay {
namespace {

constexpr base::duration owner_wait = std::chrono::milliseconds(500);

}  // namespace

rtc_change::rtc_change(rtc_signalling& signalling, const runtime::http_request& request, rtc_signalling::respond done)
    : signalling_(signalling), request_(request), respond_(std::move(done)) {}

rtc_change::~rtc_change() {
  if (stop_fetch_) stop_fetch_();
  if (asking_ != 0) here().owners.cancel(asking_);
}

void rtc_change::start() {
  if (!is_delete() && !take_body()) return;
  resource_ = request_.target;
  if (auto* e = here().sessions.find_location(request_.target)) {
    take_entry(*e);
    if (!is_for_players(session_->kind)) return;
    is_location_ = true;
    resource_ = e->resource;
    api_ = e->api;
    stream_ = session_->key.str();
    return ask_origin();
  }
  name_ = request_.query_value("session");
  if (!stun::parse_username(name_)) {
    name_.clear();
    return by_query();
  }
  if (auto* e = here().sessions.find_username(name_))
    take_entry(*e);
  else
    names_.push_back(name_);
  here().sessions.find_stored(name_, [weak = weak_from_this()](const std::optional<rtc_record>& record) {
    const auto self = weak.lock();
    if (self) record ? self->by_stored(*record) : self->by_query();
  });
}

void rtc_change::take_entry(rtc_entry& e) {
  session_ = e.session;
  for (const auto& c : e.credentials) names_.push_back(c.username);
  if (is_delete()) e.deleting = true;
}

/// As this proxy knows the session now: a check may have resumed it meanwhile.
rtc_entry* rtc_change::entry() {
  if (session_) return here().sessions.find(session_);
  return name_.empty() ? nullptr : here().sessions.find_username(name_);
}

void rtc_change::by_stored(const rtc_record& record) {
  record_ = record;
  if (!is_for_players(record.kind)) return;
  // Who knows the name alone has no right to what its origin is asked by.
  is_location_ = !record.resource.empty() && record.location == request_.target;
  if (is_location_) resource_ = record.resource;
  find_owner(cluster::parse_key(record.stream_url));
}

void rtc_change::by_query() {
  if (request_.query_value("app").empty() || request_.query_value("stream").empty())
    return find_owner(base::fail("no_such_session"));
  const auto path = std::string_view(request_.target).substr(0, request_.target.find('?'));
  const auto address = cluster::parse_http(request_.header("host"), path, request_.query, here().vhosts);
  find_owner(address.map([](const cluster::stream_address& a) { return a.key; }));
}

/// False if it was refused.
bool rtc_change::take_body() {
  auto patch = parse_rtc_patch(request_, rtc_signalling::placeholder(request_));
  if (!patch) {
    refuse(patch.error().reason, rtc_status_of(patch.error()), patch.error().text);
    return false;
  }
  patch_ = std::move(*patch);
  return true;
}

/// False if it was refused: publishers get no offers that they could answer.
bool rtc_change::is_for_players(rtc_kind kind) {
  if (!patch_.is_answer || kind == rtc_kind::play) return true;
  refuse("unsupported_media_type", 415, "a publisher's session takes application/trickle-ice-sdpfrag");
  return false;
}

void rtc_change::find_owner(const base::result<cluster::stream_key>& key) {
  if (!key) return refuse("no_such_session", 404, "there is no such session");
  stream_ = key->str();
  asking_ = here().owners.find(here().control, *key, owner_wait,
                               [weak = weak_from_this()](const base::result<cluster::assignment>& owner) {
                                 const auto self = weak.lock();
                                 if (!self) return;
                                 self->asking_ = 0;
                                 if (!owner) return self->refuse("no_such_session", 404, owner.error().text);
                                 // Its path would mean another session at another origin.
                                 const auto& r = self->record_;
                                 if (r && self->resource_ == r->resource && owner->origin_id != r->origin)
                                   return self->refuse("no_such_session", 404, "the session's origin is gone");
                                 self->api_ = owner->api;
                                 self->ask_origin();
                               });
}

void rtc_change::ask_origin() {
  if (next_endpoint_ >= api_.size()) {
    if (is_location_) end_session();
    return refuse("no_endpoint", 502, "the session's origin server cannot be reached");
  }
  stop_fetch_ = runtime::http_fetch(
      here().control, signalling_.to_origin(request_, api_[next_endpoint_++], resource_, patch_.body),
      [weak = weak_from_this()](base::result<runtime::http_response> answer) {
        if (const auto self = weak.lock()) self->answered(std::move(answer));
      },
      &signalling_.pool_);
}

void rtc_change::answered(base::result<runtime::http_response> answer) {
  stop_fetch_ = nullptr;
  if (!answer) {
    const auto& e = answer.error();
    if (e.reason == "refused" || e.reason == "unreachable") return ask_origin();
    if (is_location_) end_session();
    return refuse(e.reason, e.reason == "timeout" ? 504 : 502, "the origin server's API did not answer as it should");
  }
  // That it knows no such session means little if its name alone was right: that can be read off the wire.
  const bool is_gone = is_location_ && (answer->status == 404 || answer->status == 410);
  const bool done = answer->status < 300 || is_gone;
  done ? end_session() : go_on_here();
  runtime::http_response r;
  r.status = answer->status;
  r.content_type = answer->content_type;
  r.headers = returned_rtc_headers(answer->headers);
  r.body = !is_delete() && answer->status < 300 ? take_consent(answer->body) : std::move(answer->body);
  std::exchange(respond_, nullptr)(std::move(r));
  signalling_.retire(this);
}

/// An offer that the client has answered was known by the client's former name; the answer to an ICE restart has the
/// origin's new credentials (RFC 9725 §4.3.2).
std::string rtc_change::take_consent(std::string_view body) {
  if (patch_.is_answer) {
    const auto* e = entry();
    const rtc_credentials offered = e         ? e->credentials.back()
                                    : record_ ? rtc_credentials{record_->ufrag, record_->password}
                                              : rtc_credentials{};
    const auto own = stun::parse_username(offered.username);
    if (own) add_credentials({std::string(own->local) + ":" + patch_.ufrag, offered.password});
  }
  const auto fragment = sdp::parse_fragment(body);
  if (!fragment) return std::string(body);
  if (!patch_.is_answer && !fragment->first_ufrag().empty() && !patch_.ufrag.empty())
    add_credentials(
        {std::string(fragment->first_ufrag()) + ":" + patch_.ufrag, std::string(fragment->first_password())});
  const auto ours = signalling_.candidates(request_, std::nullopt);
  return ours.empty() ? sdp::drop_candidates(body) : sdp::replace_candidates(body, ours, false);
}

void rtc_change::add_credentials(rtc_credentials now) {
  if (auto* e = entry()) {
    here().sessions.add_credentials(*e, std::move(now));
  } else if (record_ && !record_->origin.empty()) {
    here().sessions.store_credentials(*record_, std::move(now));
  }
}

/// Whatever the origin says: who has shown the session's Location, and wants it ended, gets that, here and at the proxy
/// that carries it.
void rtc_change::end_session() {
  if (!is_delete()) return;
  if (const auto* e = entry()) {
    const auto session = e->session;
    here().sessions.end(session, "deleted");
  }
  for (const auto& name : names_) here().sessions.end_everywhere(name);
}

/// The origin has not ended it.
void rtc_change::go_on_here() {
  if (auto* e = is_delete() ? entry() : nullptr) e->deleting = false;
}

void rtc_change::refuse(std::string_view reason, int status, std::string_view text) {
  go_on_here();
  signalling_.refuse(request_, reason, status, text, stream_, std::exchange(respond_, nullptr));
  signalling_.retire(this);
}

}  // namespace sluice::relay
