#include "relay/hls_channel.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parse.hpp>

#include "media/bridge/hls_name.hpp"
#include "relay/hls_url.hpp"
#include "runtime/http_response_reader.hpp"
#include "runtime/http_text.hpp"

namespace sluice::relay {
namespace {

// For the owner of a stream that a request may not mean: the way to the store and back.
constexpr base::duration look_time = std::chrono::milliseconds(200);
// Of a new playlist, how many of its segments are fetched before anybody asks: so that they are here when their origin
// is not.
constexpr size_t prefetched_segments = 3;
constexpr std::string_view map_tag = "#EXT-X-MAP:";

bool is_media_playlist(std::string_view name) { return name.find(".m3u8?media=") != std::string_view::npos; }
bool is_playlist(std::string_view name) { return name.find(".m3u8") != std::string_view::npos; }

/// Whether files that a playlist names by relative URIs are found under the URL by which it was asked for: not if that
/// has the vhost or the stream in its query.
bool is_found_by_path(const hls_ask& a, const cluster::vhost_rules& rules) {
  const auto raw = std::string_view(a.request->target).substr(0, a.request->target.find('?'));
  const auto plain = cluster::parse_http(a.request->header("host"), raw, {}, rules);
  return plain && plain->key == a.key;
}

/// What an origin of ours says of it (servers::http_failure()).
std::string text_of_failure(const runtime::http_response& answer) {
  boost::system::error_code error;
  const auto said = boost::json::parse(answer.body, error);
  const auto* object = error ? nullptr : said.if_object();
  const auto* text = object ? object->if_contains("error") : nullptr;
  if (text && text->is_string()) return std::string(text->get_string());
  return fmt::format("the origin server answered {}", answer.status);
}

}  // namespace

hls_channel::hls_channel(hls_home& home, const cluster::stream_key& key)
    : home_(home),
      shard_(home.shard),
      key_(key),
      name_(key.str()),
      id_(spbhid_of(key)),
      retry_(home.shard.loop, [this] { find_owner(); }),
      watch_(home.shard.watchers, *this) {}

hls_channel::~hls_channel() {
  if (finding_ != 0) shard_.control.cancel(finding_);
  for (auto& [name, f] : files_) {
    if (f.stop) f.stop();
    home_.note_bytes(f.body.bytes ? f.body.bytes->size() : 0, 0);
  }
}

void hls_channel::serve(std::shared_ptr<hls_ask> a) {
  const auto now = shard_.loop.now();
  last_used_ = now;
  if (owner_ && now - owner_at_ < home_.config.owner_kept) return dispatch(std::move(a));
  if (owner_ && owner_->is_sluice && !a->playlist && give_kept(*a)) return home_.from_cache.add();
  homeless_.push_back(std::move(a));
  if (finding_ == 0 && !retry_.armed()) find_owner();
}

std::optional<runtime::http_response> hls_channel::kept_segment(const runtime::http_request& request) {
  if (!owner_ || !owner_->is_sluice) return std::nullopt;
  const auto name = hls_file_of(request, key_, false);
  const auto found = name ? files_.find(*name) : files_.end();
  if (found == files_.end() || !found->second.body.bytes) return std::nullopt;
  last_used_ = shard_.loop.now();
  home_.from_cache.add();
  return servers::answer_with(request, found->second.body);
}

// -- owners

/// For how long there may be no owner, from when the request came.
base::duration hls_channel::wait_of(const hls_ask& a) const {
  if (a.otherwise && !is_listed(a)) return look_time;
  return known_ ? home_.config.wait : shard_.config.play_wait;
}

/// Where there is something to show nobody waits for long.
base::duration hls_channel::owner_wait() const {
  if (has_presentable()) return home_.config.patience;
  const auto wait = wait_of(*homeless_.front());
  return std::max<base::duration>(homeless_.front()->since + wait - shard_.loop.now(), base::duration(1));
}

void hls_channel::find_owner() {
  if (homeless_.empty() || finding_ != 0) return;
  finding_ =
      shard_.control.find(shard_.loop, key_, owner_wait(), [this, alive = std::weak_ptr<bool>(alive_)](auto found) {
        if (alive.expired()) return;
        finding_ = 0;
        on_owner(std::move(found));
      });
}

void hls_channel::on_owner(base::result<cluster::assignment> found) {
  auto asks = std::exchange(homeless_, {});
  if (found) {
    owner_ = std::move(*found);
    owner_at_ = shard_.loop.now();
    known_ = true;
    watch_.start(owner_->origin_id);
    for (auto& a : asks) {
      a->has_waited |= owner_at_ - a->since >= retry_delay;
      if (owner_) {
        dispatch(std::move(a));
      } else {
        try_again(std::move(a), {"origin_gone", "the origin server is gone"});
      }
    }
    return;
  }
  lose_owner(found.error().reason);
  for (auto& a : asks) try_again(std::move(a), found.error());
}

void hls_channel::dispatch(std::shared_ptr<hls_ask> a) {
  if (!a->respond) return;
  if (owner_->http.empty()) return a->refuse(502, "no_endpoint", "the origin server names no HTTP endpoint");
  if (owner_->is_sluice) {
    get(std::move(a));
  } else {
    pass(std::move(a));
  }
}

/// There is no owner that can be asked: what there is will do, or there is one before long.
void hls_channel::try_again(std::shared_ptr<hls_ask> a, const base::error& why) {
  if (give_kept(*a) || give_public(*a, true)) return home_.from_cache.add();
  if (!try_later(a, wait_of(*a)))
    a->refuse(why.reason == "stream_not_found" ? 404 : known_ ? 502 : 503, why.reason, why.text);
}

/// Once more, with whoever is the owner then. False: there is no time for that, of the `wait` since the request came.
bool hls_channel::try_later(const std::shared_ptr<hls_ask>& a, base::duration wait, base::duration delay) {
  if (shard_.loop.now() + delay >= a->since + wait) return false;
  homeless_.push_back(a);
  if (finding_ == 0 && !retry_.armed()) retry_.arm_after(delay);
  return true;
}

void hls_channel::lose_owner(std::string_view reason) {
  if (!owner_) return;
  shard_.log.warn("hls_origin_lost", {{"stream", name_}, {"origin", owner_->origin_id}, {"reason", reason}});
  owner_.reset();
  watch_.stop();
  for (auto& [name, f] : files_) {
    if (f.shown.text().empty()) continue;
    store(f, f.shown.alone([this](std::string_view uri) { return is_kept(uri); }), {});
  }
}

/// Its answers are not waited for.
void hls_channel::on_origin_lost(cluster::loss_reason) {
  lose_owner("origin_gone");
  std::vector<std::string> asked;
  for (auto& [name, f] : files_)
    if (f.stop) asked.push_back(name);
  for (const auto& name : asked) {
    const auto found = files_.find(name);
    if (found == files_.end() || !found->second.stop) continue;
    std::exchange(found->second.stop, nullptr)();
    on_fetched(name, base::fail("origin_gone", "the origin server is gone"));
  }
}

// -- files that all viewers share

bool hls_channel::is_presentable(const hls_file& f) const {
  return f.body.bytes && shard_.loop.now() - f.fetched_at < home_.config.stale;
}

bool hls_channel::has_presentable() const {
  return std::ranges::any_of(
      files_, [&](const auto& entry) { return is_playlist(entry.first) && is_presentable(entry.second); });
}

/// What there is of it, however old.
bool hls_channel::give_kept(hls_ask& a) {
  const auto name = hls_file_of(*a.request, key_, a.playlist);
  const auto found = name ? files_.find(*name) : files_.end();
  if (found == files_.end() || !found->second.body.bytes) return false;
  if (a.playlist && !is_presentable(found->second)) return false;
  give(a, *name, found->second);
  return true;
}

void hls_channel::get(std::shared_ptr<hls_ask> a) {
  const auto name = hls_file_of(*a->request, key_, a->playlist);
  if (!name && a->playlist) return a->refuse(400, "bad_request", servers::unknown_hls_format);
  if (!name) return a->refuse(404, "no_such_file", "the stream has no such file");
  hls_file* f = open_file(*name);
  if (!f) return a->refuse(503, "too_many_files", "more files of one stream are asked for than it can have");
  const auto now = shard_.loop.now();
  const bool fresh =
      f->body.bytes && (!a->playlist || now - std::max(f->fetched_at, f->tried_at) < home_.config.playlist_kept);
  if (fresh || (f->slow && is_presentable(*f))) {
    home_.from_cache.add();
    return give(*a, *name, *f);
  }
  (f->fetching ? home_.from_cache : home_.from_origin).add();
  f->waiting.push_back(std::move(a));
  if (!f->fetching) fetch(*name, *f);
}

hls_file* hls_channel::open_file(const std::string& name) {
  if (const auto found = files_.find(name); found != files_.end()) return &found->second;
  if (files_.size() >= home_.config.files_max) return nullptr;
  return &files_[name];
}

void hls_channel::give(hls_ask& a, const std::string& name, const hls_file& f) {
  if (!a.playlist) return a.answer(servers::answer_with(*a.request, f.body));
  const auto query = without_parameters(a.request->query, {"hls", "media", spbhid_parameter});
  const bool tag = !is_found_by_path(a, shard_.config.vhosts);
  const bool master = !is_media_playlist(name);
  if (!tag && (!master || query.empty())) return a.answer(servers::answer_with(*a.request, f.body));
  // His own: with what he said (tokens), and with the id where the files' paths alone would not do.
  auto own = hls::rewrite(*f.body.bytes, [&](std::string_view uri) -> std::optional<std::string> {
    std::string out = master ? with_parameters_of(uri, query) : std::string(uri);
    if (tag) out = uri_tagger{id_, {}}(out).value_or(out);
    return out;
  });
  if (!own) return a.refuse(502, own.error().reason, own.error().text);
  servers::http_body body = f.body;
  body.etag = fmt::format("\"{:016x}\"", media::content_hash(base::as_bytes(*own)));
  body.bytes = std::make_shared<const std::string>(std::move(*own));
  a.answer(servers::answer_with(*a.request, body));
}

void hls_channel::give_all(const std::string& name, hls_file& f) {
  for (const auto& a : std::exchange(f.waiting, {})) give(*a, name, f);
}

void hls_channel::fetch(const std::string& name, hls_file& f) {
  f.fetching = true;
  f.slow = false;
  f.origin = owner_->origin_id;
  if (f.body.bytes) {
    if (!f.patience)
      f.patience = std::make_unique<runtime::timer>(shard_.loop, [this, name, &f] {
        f.slow = true;
        if (is_presentable(f)) give_all(name, f);
      });
    f.patience->arm_after(home_.config.patience);
  }
  runtime::http_client_request request;
  request.url = fmt::format("http://{}{}", owner_->http.front().to_string(), hls_path(key_, name));
  request.headers = {{"Host", key_.vhost}};
  if (!is_playlist(name)) request.headers.emplace_back(servers::segment_header, "1");
  request.timeout = home_.config.wait;
  request.response_bytes_max = home_.config.response_bytes_max;
  f.stop = runtime::http_fetch(
      shard_.loop, std::move(request),
      [this, alive = std::weak_ptr<bool>(alive_), name](base::result<runtime::http_response> answer) {
        if (!alive.expired()) on_fetched(name, std::move(answer));
      },
      &home_.pool);
}

void hls_channel::on_fetched(const std::string& name, base::result<runtime::http_response> answer) {
  hls_file& f = files_.at(name);  // is not removed while it is fetched
  f.fetching = f.slow = false;
  f.stop = nullptr;
  f.patience.reset();
  if (!answer) return on_unreachable(name, answer.error());
  if (answer->status != 200) return on_refused(name, f, *answer);
  const bool media = is_media_playlist(name);
  if (media && !take_playlist(name, f, answer->body)) return;
  const runtime::http_response_head head{answer->status, std::move(answer->headers)};
  f.body.content_type = std::move(answer->content_type);
  f.body.cache_control = head.header("cache-control");
  f.fetched_at = shard_.loop.now();
  store(f, std::move(answer->body), media ? std::string() : std::string(head.header("etag")));
  give_all(name, f);
  if (media && owner_ && owner_->is_sluice) prefetch(f.shown);
}

/// False: it is not to be shown, and everybody has been told.
bool hls_channel::take_playlist(const std::string& name, hls_file& f, std::string& text) {
  const bool other = !f.shown_from.empty() && f.shown_from != f.origin;
  auto shown = f.shown.take(text, other, [this](std::string_view uri) { return is_kept(uri); });
  if (!shown && is_presentable(f)) {
    f.tried_at = shard_.loop.now();
    give_all(name, f);
    return false;
  }
  if (!shown) {
    // Nobody can be following what was shown so long ago.
    f.shown.forget();
    shown = f.shown.take(text, false, [](std::string_view) { return false; });
  }
  if (!shown) {
    for (const auto& a : std::exchange(f.waiting, {})) a->refuse(502, shown.error().reason, shown.error().text);
    return false;
  }
  if (other) shard_.log.info("hls_moved", {{"stream", name_}, {"from", f.shown_from}, {"origin", f.origin}});
  f.shown_from = f.origin;
  text = std::move(*shown);
  return true;
}

void hls_channel::store(hls_file& f, std::string bytes, std::string etag) {
  home_.note_bytes(f.body.bytes ? f.body.bytes->size() : 0, bytes.size());
  f.body.etag = etag.empty() ? fmt::format("\"{:016x}\"", media::content_hash(base::as_bytes(bytes))) : std::move(etag);
  f.body.bytes = std::make_shared<const std::string>(std::move(bytes));
}

void hls_channel::on_unreachable(const std::string& name, const base::error& why) {
  hls_file& f = files_.at(name);
  // A silent origin is found out by those who ask it every half second; whether one that hangs up lives, when it is
  // dialled again; and our own lack says nothing of it.
  if (owner_ && owner_->origin_id == f.origin && why.reason != "timeout" && why.reason != "no_descriptors") {
    if (why.reason != "bad_response") shard_.control.dial_failed(f.origin);
    lose_owner(why.reason);
  }
  auto asks = std::exchange(f.waiting, {});
  if (is_presentable(f)) {
    f.tried_at = shard_.loop.now();
    for (const auto& a : asks) give(*a, name, f);
    return;
  }
  if (!f.body.bytes) remove(name);
  for (auto& a : asks) {
    if (why.reason == "no_descriptors") {
      a->refuse(503, why.reason, "this server is full");
    } else if (why.reason == "timeout") {
      a->refuse(504, why.reason, "the origin server does not answer");
    } else {
      try_again(std::move(a), why);
    }
  }
}

/// A new owner may not have the stream yet: until then the old playlist is as true as it was, and who has none waits.
void hls_channel::on_refused(const std::string& name, hls_file& f, const runtime::http_response& answer) {
  const int status = answer.status;
  auto asks = std::exchange(f.waiting, {});
  if (is_presentable(f) && !f.shown.ended()) {
    f.tried_at = shard_.loop.now();
    for (const auto& a : asks) give(*a, name, f);
    return;
  }
  remove(name);
  const auto text = text_of_failure(answer);
  const auto reason = status == 404 ? "stream_not_found" : status == 415 ? "unsupported_codec" : "origin_refused";
  for (const auto& a : asks) {
    if (!a->respond || (status == 404 && a->playlist && try_later(a, shard_.config.play_wait))) continue;
    a->refuse(status >= 400 ? status : 502, reason, text);
  }
}

// -- what is kept

bool hls_channel::is_kept(std::string_view uri) const {
  const auto found = files_.find(std::string(uri));
  return found != files_.end() && found->second.body.bytes;
}

/// Whether a playlist that was shown names the segment.
bool hls_channel::is_listed(const hls_ask& a) const {
  const auto name = hls_file_of(*a.request, key_, false);
  return name && std::ranges::any_of(files_, [line = "\n" + *name](const auto& entry) {
           return entry.second.shown.text().find(line) != std::string::npos;
         });
}

void hls_channel::prefetch(const hls_shown& playlist) {
  const auto p = hls::parse_media(playlist.text());
  if (!p) return;
  const auto now = shard_.loop.now();
  const size_t first = p->segments.size() - std::min(p->segments.size(), prefetched_segments);
  const auto want = [&](std::string_view uri, bool soon) {
    const auto name = media::parse_hls_name(uri);
    if (!name || runtime::percent_decode(name->stream) != key_.stream) return;
    const std::string file(uri);
    if (const auto found = files_.find(file); found != files_.end()) {
      found->second.listed_at = now;
    } else if (hls_file* f = soon ? open_file(file) : nullptr) {
      home_.from_origin.add();
      f->listed_at = now;
      fetch(file, *f);
    }
  };
  for (size_t i = 0; i < p->segments.size(); ++i) {
    const auto& s = p->segments[i];
    if (const size_t map = s.lines.find(map_tag); map != std::string_view::npos) {
      const auto line = s.lines.substr(map, s.lines.find('\n', map) - map);
      const auto uri = line.find("URI=\"");
      if (uri != std::string_view::npos) want(line.substr(uri + 5, line.find('"', uri + 5) - uri - 5), true);
    }
    want(s.uri, i >= first && s.lines.find("#EXT-X-GAP") == std::string_view::npos);
  }
}

void hls_channel::remove(const std::string& name) {
  const auto found = files_.find(name);
  if (found == files_.end() || found->second.fetching || !found->second.waiting.empty()) return;
  home_.note_bytes(found->second.body.bytes ? found->second.body.bytes->size() : 0, 0);
  files_.erase(found);
}

bool hls_channel::prune(base::time_point now) {
  std::vector<std::string> old;
  for (const auto& [name, f] : files_) {
    const auto kept = is_playlist(name) ? home_.config.stale : home_.config.window;
    if (now - std::max(f.fetched_at, f.listed_at) >= kept) old.push_back(name);
  }
  for (const auto& name : old) remove(name);
  return files_.empty() && homeless_.empty() && finding_ == 0 && now - last_used_ >= home_.config.stale;
}

void hls_channel::list_removable(std::vector<removable>& all) {
  for (const auto& [name, f] : files_)
    if (!f.fetching && f.waiting.empty() && f.shown.text().empty())
      all.push_back({std::max(f.fetched_at, f.listed_at), this, name});
}

}  // namespace sluice::relay
