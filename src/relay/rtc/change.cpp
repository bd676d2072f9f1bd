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
  if (!is_delete() && !take_fragment()) return;
  resource_ = request_.target;
  if (auto* e = here().sessions.find_location(request_.target)) {
    session_ = e->session;
    e->deleting = is_delete();
    resource_ = e->resource;
    api_ = e->api;
    stream_ = session_->key.str();
    return ask_origin();
  }
  const auto name = request_.query_value("session");
  if (const auto* e = here().sessions.find_username(name)) session_ = e->session;
  auto by_query = [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    const auto& r = self->request_;
    if (r.query_value("app").empty() || r.query_value("stream").empty())
      return self->find_owner(base::fail("no_such_session"));
    const auto path = std::string_view(r.target).substr(0, r.target.find('?'));
    const auto address = cluster::parse_http(r.header("host"), path, r.query, self->here().vhosts);
    self->find_owner(address.map([](const cluster::stream_address& a) { return a.key; }));
  };
  if (!stun::parse_username(name)) return by_query();
  here().sessions.find_stored(name, [weak = weak_from_this(), by_query](const std::string& stream) {
    if (stream.empty()) return by_query();
    if (const auto self = weak.lock()) self->find_owner(cluster::parse_key(stream));
  });
}

/// False if it was refused.
bool rtc_change::take_fragment() {
  const auto fragment = request_.body.size() <= sdp::bytes_max ? sdp::parse_fragment(request_.body)
                                                               : base::fail("body_too_large", "the body is too large");
  if (!fragment) {
    refuse(fragment.error().reason, rtc_status_of(fragment.error()), fragment.error().text);
    return false;
  }
  new_ufrag_ = fragment->first_ufrag();
  body_ = sdp::drop_candidates(request_.body);
  return true;
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
                                 self->api_ = owner->api;
                                 self->ask_origin();
                               });
}

void rtc_change::ask_origin() {
  if (next_endpoint_ >= api_.size()) {
    end_here();
    return refuse("no_endpoint", 502, "the session's origin server cannot be reached");
  }
  stop_fetch_ = runtime::http_fetch(
      here().control, signalling_.to_origin(request_, api_[next_endpoint_++], resource_, body_),
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
    end_here();
    return refuse(e.reason, e.reason == "timeout" ? 504 : 502, "the origin server's API did not answer as it should");
  }
  const bool done = answer->status < 300 || answer->status == 404 || answer->status == 410;
  if (done) end_here();
  runtime::http_response r;
  r.status = answer->status;
  r.content_type = answer->content_type;
  r.headers = returned_rtc_headers(answer->headers);
  allow_rtc_pages(r.headers);
  r.body = !is_delete() && answer->status < 300 ? take_restart(answer->body) : std::move(answer->body);
  std::exchange(respond_, nullptr)(std::move(r));
  signalling_.retire(this);
}

/// The answer to an ICE restart has the origin's new credentials (RFC 9725 §4.3.2).
std::string rtc_change::take_restart(std::string_view body) {
  const auto fragment = sdp::parse_fragment(body);
  if (!fragment) return std::string(body);
  auto* e = session_ ? here().sessions.find(session_) : nullptr;
  if (e && !fragment->first_ufrag().empty() && !new_ufrag_.empty())
    here().sessions.add_credentials(
        *e, {std::string(fragment->first_ufrag()) + ":" + new_ufrag_, std::string(fragment->first_password())});
  return sdp::replace_candidates(body, signalling_.candidates(request_, {}), false);
}

/// Whatever the origin says: who wants his session ended gets that here.
void rtc_change::end_here() {
  if (is_delete() && session_) here().sessions.end(session_, "deleted");
}

void rtc_change::refuse(std::string_view reason, int status, std::string_view text) {
  signalling_.refuse(request_, reason, status, text, stream_, std::exchange(respond_, nullptr));
  signalling_.retire(this);
}

}  // namespace sluice::relay
