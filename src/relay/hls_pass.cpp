#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "relay/hls_channel.hpp"
#include "relay/hls_url.hpp"
#include "relay/http_pass.hpp"
#include "runtime/http_response_reader.hpp"
#include "runtime/http_text.hpp"

// The part of hls_channel for origins that are not ours.
namespace sluice::relay {
namespace {

// Of what an origin calls public without saying for how long (RFC 9111 §4.2.2 leaves it to us). Stock SRS uses names of
// segments again when it starts anew.
constexpr base::duration public_kept = std::chrono::seconds(10);
constexpr size_t leads_max = 256;
// Of those who wait for a stream's first segment each asks for himself, and that takes seconds.
constexpr base::duration early_delay = std::chrono::seconds(1);

bool has(const runtime::http_request& request, std::initializer_list<std::string_view> names) {
  return std::ranges::any_of(names, [&](std::string_view name) { return !request.header(name).empty(); });
}

/// Whether any viewer might get the answer to that request.
bool is_shareable(const runtime::http_request& request) {
  return request.body.empty() && !has(request, {"authorization", "cookie", "range", "if-range", "if-none-match",
                                                "if-modified-since", "if-match", "if-unmodified-since"});
}

/// The value of a directive of Cache-Control (RFC 9111 §5.2), `=` and quotes cut off; nothing if it is not there.
std::optional<std::string_view> directive(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    auto item = list.substr(0, list.find(','));
    list.remove_prefix(std::min(item.size() + 1, list.size()));
    while (item.starts_with(' ')) item.remove_prefix(1);
    const auto said = item.substr(0, item.find_first_of("= "));
    if (!runtime::equal_ignoring_case(said, name)) continue;
    item.remove_prefix(said.size());
    while (item.starts_with('=') || item.starts_with('"')) item.remove_prefix(1);
    return item;
  }
  return std::nullopt;
}

/// How long the answer may be given to others; zero: not at all.
base::duration public_for(const runtime::http_response& answer) {
  const runtime::http_response_head head{answer.status, answer.headers};
  const auto control = head.header("cache-control");
  if (answer.status != 200 || !head.header("set-cookie").empty() || !head.header("vary").empty() ||
      !head.header("content-encoding").empty())
    return {};
  for (const std::string_view no : {"private", "no-store", "no-cache"})
    if (directive(control, no)) return {};
  auto age = directive(control, "s-maxage");
  if (!age) age = directive(control, "max-age");
  if (!age) return directive(control, "public") ? public_kept : base::duration{};
  uint32_t seconds = 0;
  std::from_chars(age->data(), age->data() + age->size(), seconds);
  return std::chrono::seconds(seconds);
}

/// Of files that a stock origin calls public. Names of our origins' files hold no line end.
std::string shared_name_of(const runtime::http_request& request) {
  return fmt::format("{}\n{}", origin_target(request), request.header("host"));
}

bool is_file(std::string_view path) { return path.find('.', path.rfind('/') + 1) != std::string_view::npos; }

}  // namespace

void hls_channel::pass(std::shared_ptr<hls_ask> a) {
  if (!a->request->target.starts_with('/')) return a->refuse(400, "bad_request", "the request target is no path");
  // An id leads to files, and to what playlists name, not to whatever else an origin's port serves.
  if (!is_file(a->request->path) && std::ranges::find(leads_, path_to(*a->request, {})) == leads_.end())
    return a->refuse(404, "no_such_file", "no media file");
  if (give_public(*a, false)) return home_.from_cache.add();
  // What answers HEAD is of no use to others.
  if (!is_shareable(*a->request) || a->request->method == "HEAD") {
    home_.from_origin.add();
    return ask_origin(std::move(a), {});
  }
  const auto name = shared_name_of(*a->request);
  hls_file* f = open_file(name);
  if (f && f->fetching && expect_public_[a->playlist]) {
    home_.from_cache.add();
    f->waiting.push_back(std::move(a));
    return;
  }
  home_.from_origin.add();
  // Only one of equal requests is waited for by others.
  const bool leads = f && !f->fetching;
  if (leads) f->fetching = true;
  ask_origin(std::move(a), leads ? name : std::string());
}

/// Also what is out of date, when nobody has a newer one.
bool hls_channel::give_public(hls_ask& a, bool any_age) {
  if (!is_shareable(*a.request)) return false;
  const auto found = files_.find(shared_name_of(*a.request));
  if (found == files_.end() || !found->second.body.bytes) return false;
  const hls_file& f = found->second;
  if (shard_.loop.now() - f.fetched_at >= (any_age ? home_.config.window : f.fresh_for)) return false;
  runtime::http_response r;
  r.content_type.clear();
  r.headers = f.headers;
  // RFC 9111 §5.1: what comes from a cache says for how long it has been there, besides the caches before.
  uint64_t age_s = 0;
  std::erase_if(r.headers, [&](const auto& h) {
    if (!runtime::equal_ignoring_case(h.first, "age")) return false;
    std::from_chars(h.second.data(), h.second.data() + h.second.size(), age_s);
    return true;
  });
  age_s += static_cast<uint64_t>(std::chrono::floor<std::chrono::seconds>(shard_.loop.now() - f.fetched_at).count());
  r.headers.emplace_back("Age", fmt::format("{}", age_s));
  r.shared_body = f.body.bytes;
  a.answer(std::move(r));
  return true;
}

void hls_channel::ask_origin(std::shared_ptr<hls_ask> a, const std::string& shared_name) {
  runtime::http_client_request request;
  request.method = a->request->method;
  request.url = fmt::format("http://{}{}", owner_->http.front().to_string(), origin_target(*a->request));
  request.headers = forwarded_headers(*a->request, home_.config.trusted, a->request->header("host"), owner_->http);
  // What is rewritten has to come whole and as it is.
  if (a->playlist)
    std::erase_if(request.headers, [](const auto& h) {
      return runtime::equal_ignoring_case(h.first, "range") || runtime::equal_ignoring_case(h.first, "if-range") ||
             runtime::equal_ignoring_case(h.first, "accept-encoding");
    });
  request.timeout = home_.config.wait;
  request.response_bytes_max = home_.config.response_bytes_max;
  auto stop = runtime::http_fetch(
      shard_.loop, std::move(request),
      [this, alive = std::weak_ptr<bool>(alive_), a, shared_name,
       from = *owner_](base::result<runtime::http_response> answer) {
        if (!alive.expired()) on_passed(a, shared_name, from, std::move(answer));
      },
      &home_.pool);
  a->on_leave = [this, alive = std::weak_ptr<bool>(alive_), stop = std::move(stop), shared_name] {
    if (alive.expired()) return;
    if (!shared_name.empty() && !files_.at(shared_name).waiting.empty()) return;  // others want it, too
    stop();
    if (shared_name.empty()) return;
    files_.at(shared_name).fetching = false;
    if (!files_.at(shared_name).body.bytes) remove(shared_name);
  };
}

void hls_channel::on_passed(const std::shared_ptr<hls_ask>& a, const std::string& shared_name,
                            const cluster::assignment& from, base::result<runtime::http_response> answer) {
  a->on_leave = nullptr;
  if (!answer) {
    const auto& why = answer.error();
    const bool lost = why.reason == "refused" || why.reason == "unreachable" || why.reason == "bad_response";
    // Whether one that hangs up lives will be seen when it is dialled again.
    if (lost && why.reason != "bad_response") shard_.control.dial_failed(from.origin_id);
    if (lost && owner_ && owner_->origin_id == from.origin_id) lose_owner(why.reason);
    settle_shared(shared_name, nullptr);
    if (!a->respond) return;
    if (lost) return try_again(a, why);
    if (why.reason == "bad_url") return a->refuse(400, "bad_request", "not a valid URL");
    return a->refuse(why.reason == "timeout" ? 504 : 503, why.reason, why.text);
  }
  // Who came before the publisher is early for the origin, too, until that has the stream's first segment.
  if (answer->status == 404 && a->playlist && a->has_waited && a->respond &&
      try_later(a, shard_.config.play_wait, early_delay))
    return settle_shared(shared_name, nullptr);
  if (answer->status == 404 && a->otherwise) {
    settle_shared(shared_name, nullptr);
    return a->refuse(404, "no_such_file", "no such stream or file");
  }
  const auto keep = shared_name.empty() ? base::duration{} : public_for(*answer);
  auto response = returned(*a, from, std::move(*answer));
  if (!shared_name.empty()) {
    expect_public_[a->playlist] = keep > base::duration{};
    if (keep > base::duration{}) {
      hls_file& f = files_.at(shared_name);
      f.fresh_for = std::min<base::duration>(keep, home_.config.window);
      f.fetched_at = shard_.loop.now();
      f.headers = response.headers;
      store(f, std::move(response.body), {});
      response.shared_body = f.body.bytes;
    }
    settle_shared(shared_name, keep > base::duration{} ? &response : nullptr);
  }
  a->answer(std::move(response));
}

/// Those who waited for another's answer get it, or ask by themselves.
void hls_channel::settle_shared(const std::string& shared_name, const runtime::http_response* answer) {
  if (shared_name.empty()) return;
  hls_file& f = files_.at(shared_name);
  f.fetching = false;
  auto asks = std::exchange(f.waiting, {});
  if (!answer) remove(shared_name);
  for (auto& a : asks) {
    if (!a->respond) continue;
    if (answer) {
      a->answer(*answer);
    } else if (owner_ && !owner_->http.empty()) {
      ask_origin(std::move(a), {});
    } else {
      try_again(std::move(a), {"origin_gone", "the origin server is gone"});
    }
  }
}

/// What the viewer gets: everything as the origin said it, but URIs that lead to it lead through this proxy.
runtime::http_response hls_channel::returned(const hls_ask& a, const cluster::assignment& from,
                                             runtime::http_response answer) {
  uri_tagger tag{id_, {std::string(a.request->header("host"))}};
  for (const auto& at : from.http) tag.authorities.push_back(at.to_string());
  const runtime::http_response_head head{answer.status, std::move(answer.headers)};
  runtime::http_response r;
  r.status = answer.status;
  r.content_type.clear();
  r.headers = returned_headers(head);
  for (auto& [name, value] : r.headers) {
    const bool leads =
        runtime::equal_ignoring_case(name, "location") || runtime::equal_ignoring_case(name, "content-location");
    if (leads) value = tag(value).value_or(value);
  }
  if (head.header("access-control-allow-origin").empty()) servers::allow_any_site(r);
  r.body = std::move(answer.body);
  const bool rewritten = a.playlist && answer.status == 200 && head.header("content-encoding").empty();
  if (a.request->method == "HEAD") {
    // What is rewritten has another length than the origin says.
    const auto length = rewritten ? std::string_view() : head.header("content-length");
    if (!length.empty()) r.headers.emplace_back("Content-Length", length);
    r.header_only = true;
    return r;
  }
  if (!rewritten) return r;
  const auto led = [&](std::string_view uri) {
    auto out = tag(uri);
    if (out) note_lead(a, *out);
    return out;
  };
  if (auto text = hls::rewrite(r.body, led)) r.body = std::move(*text);
  return r;
}

/// Such as a steering server's (RFC 8216bis §4.4.6.6), which need not look like a file.
void hls_channel::note_lead(const hls_ask& a, std::string_view uri) {
  auto path = path_to(*a.request, uri);
  if (is_file(path) || std::ranges::find(leads_, path) != leads_.end()) return;
  leads_.push_back(std::move(path));
  if (leads_.size() > leads_max) leads_.pop_front();
}

}  // namespace sluice::relay
