#include "relay/rtc/sessions.hpp"

#include <algorithm>

#include "relay/source_rates.hpp"
#include "runtime/process.hpp"

namespace sluice::relay {
namespace {

constexpr base::duration sweep_interval = std::chrono::seconds(1);
constexpr size_t credentials_max = 4;  // of one session
constexpr std::string_view never_connected = "never_connected", consent_expired = "consent_expired",
                           shutdown = "shutdown", upgraded = "upgraded";

int64_t ns(base::time_point t) { return t.time_since_epoch().count(); }
base::time_point at(const std::atomic<int64_t>& stored) {
  return base::time_point(base::duration(stored.load(std::memory_order_relaxed)));
}

/// Whether the client may be another proxy's, or become it: then what that needs is left in the store. Who never came
/// here may have been there all the time.
bool may_go_on(std::string_view reason) {
  return reason == never_connected || reason == consent_expired || reason == shutdown || reason == upgraded;
}

}  // namespace

rtc_sessions::rtc_sessions(const surroundings& around)
    : here_(around),
      id_prefix_(runtime::random_id(8)),
      sessions_cell_(around.metrics.gauge("sluice_sessions", "Client connections open now.",
                                          {{"role", "proxy"}, {"proto", "rtc"}})),
      sweep_timer_(around.control, [this] { sweep(); }) {
  here_.store.on_ended = [this](const std::string& key) { ended_elsewhere(key); };
}

rtc_sessions::~rtc_sessions() { here_.store.on_ended = nullptr; }

base::result<void> rtc_sessions::admit(const base::ip_address& client) const {
  if (entries_.size() >= here_.config.sessions_max || (here_.config.sessions && here_.config.sessions->full()))
    return base::fail("too_many_sessions", "this server has as many WebRTC sessions as it may");
  const auto of_source = by_source_.find(counted_source(client));
  if (of_source != by_source_.end() && of_source->second >= here_.config.sessions_per_source_max)
    return base::fail("too_many_of_source", "too many WebRTC sessions from this address");
  return {};
}

rtc_entry& rtc_sessions::open(opening o) {
  if (const auto same = by_username_.find(o.credentials.username); same != by_username_.end())
    end(entries_.at(same->second).session, "replaced");
  if (by_location_.contains(o.location)) o.location.clear();

  const auto now = here_.control.now();
  auto session = std::make_shared<rtc_session>();
  session->id = o.id;
  session->kind = o.kind;
  session->key = std::move(o.key);
  session->origin_id = o.to.origin_id;
  session->origin = o.origin;
  session->line = here_.owners.line_of(o.to.origin_id);
  session->client_at = session->origin_at = ns(now);

  const auto* key = session.get();
  auto [node, added] = entries_.emplace(
      key, rtc_entry{session,
                     {o.credentials},
                     counted_source(o.client.address),
                     std::move(o.location),
                     std::move(o.resource),
                     std::move(o.to.api),
                     o.to.epoch,
                     servers::session_log(here_.log, o.id, "rtc", o.client, session->key.str(), name_of(o.kind)),
                     now,
                     {}});
  rtc_entry& e = node->second;
  by_username_.emplace(o.credentials.username, key);
  if (!e.location.empty()) by_location_.emplace(e.location, key);
  e.place = runtime::session_place::take_beyond(here_.config.sessions);
  ++by_source_[e.source];
  sessions_cell_.add(1);
  e.log.started(session->origin_id, now);
  if (session->kind == rtc_kind::publish) {
    here_.owners.publish_started(session->key, e.epoch);
    here_.owners.note(session->key, {0, "webrtc", session->origin_id, e.epoch, session->id});
  }
  tell(e, e.credentials.back());
  store(e);
  here_.store.put(rtc_stream_key(session->key), text_of({session->key.str(), o.credentials.username}),
                  here_.config.store_ttl);
  if (!sweep_timer_.armed()) sweep_timer_.arm_after(sweep_interval);
  return e;
}

void rtc_sessions::add_credentials(rtc_entry& e, rtc_credentials with) {
  if (by_username_.contains(with.username)) return;
  // The oldest is forgotten, but not the first: by that the session's Location may name it at other proxies.
  if (e.credentials.size() >= credentials_max) forget(e, e.credentials.begin() + 1);
  by_username_.emplace(with.username, e.session.get());
  e.credentials.push_back(std::move(with));
  tell(e, e.credentials.back());
  store(e);
}

void rtc_sessions::forget(rtc_entry& e, std::vector<rtc_credentials>::iterator which) {
  const auto name = std::move(which->username);
  e.credentials.erase(which);
  by_username_.erase(name);
  here_.store.drop(rtc_username_key(name));
  for (auto* relay : relays_) relay->loop().post([relay, s = e.session, name] { relay->forget(s, name); });
}

void rtc_sessions::tell(const rtc_entry& e, const rtc_credentials& with) {
  for (auto* relay : relays_) relay->loop().post([relay, s = e.session, with] { relay->add(s, with); });
}

void rtc_sessions::store(rtc_entry& e) {
  e.stored_at = here_.control.now();
  const auto& s = *e.session;
  rtc_record r{.stream_url = s.key.str(), .origin = s.origin_id, .rtc = s.origin.to_string(), .kind = s.kind};
  if (e.location != e.resource) {
    r.location = e.location;
    r.resource = e.resource;
  }
  // Each: the client may be asked for by the name that it began with.
  for (const auto& c : e.credentials) store_credentials(r, c);
}

void rtc_sessions::store_credentials(rtc_record r, rtc_credentials with) {
  r.ufrag = with.username;
  r.password = std::move(with.password);
  here_.store.put(rtc_username_key(r.ufrag), text_of(r), here_.config.store_ttl);
}

void rtc_sessions::end(const std::shared_ptr<rtc_session>& s, std::string_view reason) {
  auto node = entries_.extract(s.get());
  if (node.empty()) return;
  rtc_entry& e = node.mapped();
  s->over.store(true, std::memory_order_release);
  std::vector<std::string> usernames;
  for (const auto& c : e.credentials) {
    usernames.push_back(c.username);
    by_username_.erase(c.username);
    if (!may_go_on(reason)) here_.store.drop(rtc_username_key(c.username));
  }
  by_location_.erase(e.location);
  if (const auto of_source = by_source_.find(e.source); --of_source->second == 0) by_source_.erase(of_source);
  for (auto* relay : relays_) relay->loop().post([relay, s, usernames] { relay->remove(s, usernames); });
  sessions_cell_.add(-1);
  if (s->kind == rtc_kind::publish) here_.owners.publish_ended(s->key, e.epoch);
  e.log.ended(reason, here_.control.now(), s->bytes_in, s->bytes_out, 0);
}

void rtc_sessions::end_everywhere(const std::string& username) {
  if (const auto* e = find_username(username)) end(e->session, "deleted");
  here_.store.end(rtc_username_key(username));
}

void rtc_sessions::ended_elsewhere(const std::string& key) {
  if (const auto* e = find_username(std::string(rtc_username_of(key)))) end(e->session, "deleted");
}

rtc_entry* rtc_sessions::find_location(const std::string& location) {
  const auto at = by_location_.find(location);
  return at == by_location_.end() ? nullptr : &entries_.at(at->second);
}

rtc_entry* rtc_sessions::find_username(const std::string& username) {
  const auto at = by_username_.find(username);
  return at == by_username_.end() ? nullptr : &entries_.at(at->second);
}

rtc_entry* rtc_sessions::find(const std::shared_ptr<rtc_session>& s) {
  const auto at = entries_.find(s.get());
  return at == entries_.end() ? nullptr : &at->second;
}

void rtc_sessions::for_each(const std::function<void(const rtc_session& s)>& visit) const {
  for (const auto& [s, e] : entries_) visit(*s);
}

// ---- how sessions end

void rtc_sessions::sweep() {
  const auto now = here_.control.now();
  std::vector<std::pair<std::shared_ptr<rtc_session>, std::string_view>> over;
  for (auto& [s, e] : entries_) {
    if (const auto reason = overdue(e); !reason.empty()) {
      over.emplace_back(e.session, reason);
    } else if (now - e.stored_at >= here_.config.store_ttl / 3) {
      store(e);
    }
  }
  for (const auto& [s, reason] : over) end(s, reason);
  if (!entries_.empty()) sweep_timer_.arm_after(sweep_interval);
}

std::string_view rtc_sessions::overdue(const rtc_entry& e) const {
  const auto limit = here_.control.now() - here_.config.consent;
  const auto& s = *e.session;
  if (at(s.client_at) < limit) return s.home == rtc_session::homeless ? never_connected : consent_expired;
  if (s.home != rtc_session::homeless && at(s.origin_at) < limit) return "origin_silent";
  return {};
}

void rtc_sessions::end_where(std::string_view reason, const std::function<bool(const rtc_entry&)>& which) {
  std::vector<std::shared_ptr<rtc_session>> over;
  for (const auto& [s, e] : entries_)
    if (which(e)) over.push_back(e.session);
  for (const auto& s : over) end(s, reason);
}

void rtc_sessions::origin_lost(const std::string& origin_id, cluster::loss_reason) {
  end_where("origin_gone", [&](const rtc_entry& e) {
    if (e.session->origin_id != origin_id) return false;
    if (e.session->kind == rtc_kind::publish)
      here_.owners.note(e.session->key, {0, "lost", origin_id, e.epoch, "webrtc_session_ended"});
    return true;
  });
}

void rtc_sessions::owner_changed(const cluster::stream_key& key, const cluster::assignment& to) {
  // Nothing of these sessions can be carried over: their clients find the new owner when they come back.
  end_where("fenced", [&](const rtc_entry& e) {
    return e.session->kind == rtc_kind::publish && e.session->key == key && e.epoch != to.epoch;
  });
  end_where("stream_moved", [&](const rtc_entry& e) {
    return e.session->kind == rtc_kind::play && e.session->key == key && e.session->origin_id != to.origin_id;
  });
}

bool rtc_sessions::refuse_move(const cluster::action::move& what) {
  for (const auto& [s, e] : entries_) {
    if (s->kind != rtc_kind::publish || s->key != what.key || e.epoch != what.from) continue;
    here_.owners.move_refused(what.key, what.from, what.to.origin_id, "a WebRTC session cannot move");
    return true;
  }
  return false;
}

void rtc_sessions::close(std::string_view reason) {
  // First: what ends here may well stay in the store, where nobody of this process may find it again.
  alive_.reset();
  stop_resuming();
  relays_.clear();
  end_where(reason, [](const rtc_entry&) { return true; });
}

void rtc_sessions::failed(const std::shared_ptr<rtc_session>& s, std::string_view reason) {
  post([s, reason](rtc_sessions& self) {
    const auto* e = self.find(s);
    if (!e) return;
    if (e->deleting) return self.end(s, "deleted");
    // A closed port is not a death (an origin may have one for each session); but whoever is behind it is asked at
    // once.
    if (reason == "origin_unreachable")
      self.here_.owners.origin_closed(self.here_.control, s->origin_id, [](cluster::origin_verdict) {});
    self.end(s, reason);
  });
}

void rtc_sessions::post(std::function<void(rtc_sessions&)> task) {
  here_.control.post([this, alive = std::weak_ptr<bool>(alive_), task = std::move(task)] {
    if (!alive.expired()) task(*this);
  });
}

}  // namespace sluice::relay
