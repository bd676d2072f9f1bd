#include "relay/rtc/relay.hpp"

#include <algorithm>
#include <cstring>

#include "relay/rtc/upstream.hpp"

namespace sluice::relay {
namespace {

// From an address that is its client's: agents check each pair every 20 ms at most (RFC 8445 §14.2).
constexpr double checks_per_second = 100, checks_burst = 200;
// From addresses that are not its client's yet, for one session. After the first check they are.
constexpr double newcomers_per_second = 20, newcomers_burst = 40;
constexpr base::duration miss_life = std::chrono::seconds(2);
// Datagrams on their way to other shards. It is few who come there: those who just move, or have several addresses.
constexpr size_t foreign_max = 512;
constexpr unsigned hops_max = 4;

int64_t ns(base::time_point t) { return t.time_since_epoch().count(); }

/// The session's home is the only one who writes it.
void add_to(std::atomic<uint64_t>& counter, uint64_t n) {
  counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

bool is_stun_answer(base::bytes_view bytes) {
  // Class success or error: C1 is set (RFC 8489 §5).
  return bytes.size() >= stun::header_bytes && bytes[0] == 0x01;
}

base::bytes_view transaction_of(base::bytes_view bytes) { return bytes.subspan(8, stun::transaction_bytes); }

base::metric_cell& bytes_cell(base::metrics& m, const char* dir) {
  return m.counter("sluice_bytes_total", "Bytes from and to clients.", {{"dir", dir}, {"proto", "rtc"}});
}

}  // namespace

base::metric_cell& rtc_dropped(base::metrics& metrics, std::string_view reason) {
  return metrics.counter("sluice_rtc_dropped_total", "Datagrams of WebRTC clients that went nowhere.",
                         {{"reason", std::string(reason)}});
}

size_t rtc_relay::endpoint_hash::operator()(const base::endpoint& e) const {
  uint64_t a, b;
  std::memcpy(&a, e.address.bytes().data(), 8);
  std::memcpy(&b, e.address.bytes().data() + 8, 8);
  uint64_t h = (a ^ e.port * 0x9E3779B97F4A7C15) * 0xFF51AFD7ED558CCD;
  h = ((h ^ h >> 32) ^ b) * 0xC4CEB9FE1A85EC53;
  return h ^ h >> 29;
}

rtc_relay::rtc_relay(const surroundings& around)
    : here_(around),
      sources_(around.seed, around.config.checks_per_second, around.config.checks_burst),
      misses_(around.seed, miss_life),
      bytes_in_(bytes_cell(around.metrics, "in")),
      bytes_out_(bytes_cell(around.metrics, "out")) {}

rtc_relay::~rtc_relay() = default;

base::result<void> rtc_relay::listen(const base::endpoint& at) {
  auto opened = runtime::udp_socket::bind(here_.io, at, {.share_port = true, .receive_bytes = 4 << 20}, *this);
  if (!opened) return tl::unexpected(opened.error());
  socket_ = std::move(*opened);
  return {};
}

void rtc_relay::stop() {
  stopped_ = true;
  peers_.clear();
  sessions_.clear();
  names_.clear();
  socket_.reset();
}

// ---- from clients

void rtc_relay::on_datagrams(runtime::udp_socket&, std::span<const runtime::datagram> batch) {
  peer* last = nullptr;  // packets of a frame come one after another
  base::endpoint last_at;
  for (const auto& d : batch) {
    if (d.bytes.empty()) continue;
    if (stun::kind_of(d.bytes) == stun::packet_kind::stun) {
      last = nullptr;  // it may have been another's since
      on_stun(d);
      continue;
    }
    if (last == nullptr || last_at != d.path.peer) {
      const auto at = peers_.find(d.path.peer);
      if (at == peers_.end()) {
        drop("unknown_address");
        continue;
      }
      last = &at->second;
      last_at = d.path.peer;
    }
    if (!to_origin(*last->of, d.path, d.bytes)) last = nullptr;
  }
}

void rtc_relay::on_stun(const runtime::datagram& d) {
  const auto m = stun::parse(d.bytes);
  if (!m) return drop("bad_stun");
  if (m->cls == stun::message_class::request && !m->username.empty()) {
    if (m->method != stun::binding) return drop("bad_stun");
    const auto name = names_.find(m->username);
    if (name == names_.end()) return on_unknown_name(m->username, d);
    return on_check(name->second, *m, d);
  }
  // An answer to what the origin asked, or a sign of life.
  const auto known = peers_.find(d.path.peer);
  if (known == peers_.end()) return drop("unknown_address");
  to_origin(*known->second.of, d.path, d.bytes);
}

/// Nothing of the session changes before the check has proved to be its client's, and to be no copy of another: forged
/// ones cost it nothing of what its own checks may.
void rtc_relay::on_check(known_name& name, const stun::message& m, const runtime::datagram& d) {
  if (name.session->over.load(std::memory_order_acquire)) return drop("over");
  const auto now = here_.loop.now();
  const auto there = peers_.find(d.path.peer);
  const bool known = there != peers_.end() && there->second.of->session == name.session &&
                     now - there->second.checked_at <= rtc_paths::consent_time;
  // Its home alone can tell a copy: until then it does not take the address of another.
  const bool is_anothers = !known && there != peers_.end() && there->second.of->session != name.session &&
                           now - there->second.checked_at <= rtc_paths::consent_time;
  if (!known && !sources_.take(d.path.peer.address, now)) return drop("rate");
  if (!is_genuine(name, m, d.bytes)) return;
  local_session& s = local(name.session);
  if (s.up && s.paths.is_replayed(d.path.peer, m.transaction)) return drop("replayed");
  const bool in_time = known ? there->second.checks.take(checks_per_second, checks_burst, now)
                             : name.newcomers.take(newcomers_per_second, newcomers_burst, now);
  if (!in_time) return drop("rate");
  if (!settle(s)) return;
  if (s.up) checked(s, {d.path, here_.index}, m.transaction, m.use_candidate);
  if (s.up || !is_anothers) enter(s, d.path.peer).checked_at = now;
  if (!s.up)
    return hand_over({name.session, {d.path, here_.index}, std::string(base::as_text(d.bytes)), true, m.use_candidate});
  forward(s, d.bytes);
}

/// Every check is verified (RFC 8445 §7.3, RFC 7675 §5.1), also those from its client's address: that may be forged.
bool rtc_relay::is_genuine(const known_name& name, const stun::message& m, base::bytes_view bytes) {
  if (name.password.empty()) return true;
  if (!verifications_.take(here_.config.verifications_per_second, here_.config.verifications_burst, here_.loop.now())) {
    drop("rate");
    return false;
  }
  if (stun::integrity_holds(bytes, m, name.password)) return true;
  drop("bad_integrity");
  return false;
}

/// A check of its client, at its home.
void rtc_relay::checked(local_session& s, const rtc_paths::path& from, base::bytes_view transaction, bool nominates) {
  const auto now = here_.loop.now();
  s.session->client_at.store(ns(now), std::memory_order_relaxed);
  s.paths.check(from, transaction, nominates, now);
}

void rtc_relay::on_unknown_name(std::string_view username, const runtime::datagram& d) {
  const auto now = here_.loop.now();
  if (!stun::parse_username(username)) return drop("bad_username");
  if (misses_.has(username, now)) return drop("unknown_name");
  if (!sources_.take(d.path.peer.address, now) ||
      !lookups_.take(here_.config.lookups_per_second, here_.config.lookups_burst, now))
    return drop("rate");
  here_.reports.look_up({std::string(username), d.path, here_.index, std::string(base::as_text(d.bytes))});
}

/// False if the address is nobody's any more: its peer is gone.
bool rtc_relay::to_origin(local_session& s, const runtime::udp_path& from, base::bytes_view bytes) {
  if (!s.up) {
    hand_over({s.session, {from, here_.index}, std::string(base::as_text(bytes))});
    return true;
  }
  if (!s.paths.data(from, here_.loop.now())) {
    drop("no_consent");
    erase_peer(from.peer);
    return false;
  }
  forward(s, bytes);
  return true;
}

void rtc_relay::forward(local_session& s, base::bytes_view bytes) {
  s.up->socket->send(bytes);
  add_to(s.session->bytes_in, bytes.size());
  bytes_in_.add(static_cast<int64_t>(bytes.size()));
}

// ---- from origins

void rtc_relay::to_client(local_session& s, std::span<const runtime::datagram> batch) {
  const auto now = here_.loop.now();
  s.session->origin_at.store(ns(now), std::memory_order_relaxed);
  if (s.session->line) note_heard(*s.session->line, now);
  if (!socket_) return;
  uint64_t bytes = 0;
  for (const auto& d : batch) {
    const auto* to = is_stun_answer(d.bytes) ? s.paths.answer_to(transaction_of(d.bytes)) : s.paths.selected();
    if (to == nullptr) continue;
    socket_->send(to->at, d.bytes);
    bytes += d.bytes.size();
  }
  add_to(s.session->bytes_out, bytes);
  bytes_out_.add(static_cast<int64_t>(bytes));
}

// ---- sessions

void rtc_relay::add(std::shared_ptr<rtc_session> s, rtc_credentials with) {
  if (s->over.load(std::memory_order_acquire)) return;
  misses_.remove(with.username);
  names_.insert_or_assign(std::move(with.username), known_name{std::move(s), std::move(with.password), {}});
}

void rtc_relay::retry(rtc_lookup check) {
  const auto m = stun::parse(base::as_bytes(check.bytes));
  const auto name = names_.find(check.username);
  if (!m || name == names_.end()) return drop("unknown_name");  // its session has ended meanwhile
  on_check(name->second, *m, {check.from, {reinterpret_cast<uint8_t*>(check.bytes.data()), check.bytes.size()}});
}

void rtc_relay::miss(const std::string& username, size_t checks) {
  misses_.add(username, here_.loop.now());
  for (size_t n = 0; n < checks; ++n) drop("unknown_name");
}

void rtc_relay::forget(const std::shared_ptr<rtc_session>& s, const std::string& username) {
  if (const auto at = names_.find(username); at != names_.end() && at->second.session == s) names_.erase(at);
}

void rtc_relay::remove(const std::shared_ptr<rtc_session>& s, const std::vector<std::string>& usernames) {
  for (const auto& name : usernames) forget(s, name);
  const auto node = sessions_.extract(s.get());
  if (node.empty()) return;
  for (const auto& at : node.mapped()->peers) peers_.erase(at);
}

rtc_relay::local_session& rtc_relay::local(const std::shared_ptr<rtc_session>& s) {
  auto& at = sessions_[s.get()];
  if (!at) at = std::make_unique<local_session>(s);
  return *at;
}

/// The address is the session's now; it may have been another's before.
rtc_relay::peer& rtc_relay::enter(local_session& s, const base::endpoint& from) {
  auto [at, is_new] = peers_.try_emplace(from);
  peer& p = at->second;
  if (p.of == &s) return p;
  if (!is_new) std::erase(p.of->peers, from);
  p = {.of = &s};
  if (s.peers.size() >= rtc_paths::paths_max) {
    // The one that has made way in `paths`, too, which has taken `from` in already; elsewhere than at home, the oldest.
    auto out = std::find_if(s.peers.begin(), s.peers.end(), [&](const auto& e) { return !s.paths.has(e); });
    if (out == s.peers.end()) out = s.peers.begin();
    peers_.erase(*out);
    s.peers.erase(out);
  }
  s.peers.push_back(from);
  return p;
}

void rtc_relay::erase_peer(const base::endpoint& at) {
  const auto node = peers_.extract(at);
  if (!node.empty()) std::erase(node.mapped().of->peers, at);
}

/// A session that has no home finds it here. False if that fails, or the session is over.
bool rtc_relay::settle(local_session& s) {
  if (s.session->over.load(std::memory_order_acquire)) return false;
  int nobody = rtc_session::homeless;
  if (!s.session->home.compare_exchange_strong(nobody, own(), std::memory_order_acq_rel)) return true;
  auto opened = upstream::open(*this, s);
  if (opened) return true;
  here_.reports.failed(s.session, opened.error().reason);
  return false;
}

// ---- between shards

void rtc_relay::hand_over(foreign what) {
  if (stopped_) return;
  const int home = what.session->home.load(std::memory_order_acquire);
  if (home == own() || home == rtc_session::homeless) return drop("moving");
  if (foreign_under_way_->load(std::memory_order_relaxed) >= foreign_max) return drop("busy");
  foreign_under_way_->fetch_add(1, std::memory_order_relaxed);
  rtc_relay* there = here_.all[static_cast<size_t>(home)];
  there->loop().post([there, count = foreign_under_way_, what = std::move(what)]() mutable {
    count->fetch_sub(1, std::memory_order_relaxed);
    there->take(std::move(what));
  });
}

void rtc_relay::take(foreign what) {
  const auto at = sessions_.find(what.session.get());
  if (at == sessions_.end() || !at->second->up) {
    if (++what.hops < hops_max) hand_over(std::move(what));  // it has just left
    return;
  }
  local_session& s = *at->second;
  const auto now = here_.loop.now();
  if (what.is_check) {
    const auto transaction = transaction_of(base::as_bytes(what.bytes));
    if (s.paths.is_replayed(what.from.at.peer, transaction)) return drop("replayed");
    checked(s, what.from, transaction, what.nominates);
  } else if (!s.paths.data(what.from.at, now)) {
    return drop("no_consent");
  }
  forward(s, base::as_bytes(what.bytes));
  follow_client(s);
}

/// A session goes to where what its client sends comes in.
void rtc_relay::follow_client(local_session& s) {
  const auto* selected = s.paths.selected();
  if (selected == nullptr || selected->shard == here_.index) return;
  rtc_relay* there = here_.all[selected->shard];
  moving m{s.session, s.up->release(), std::exchange(s.paths, {})};
  s.up.reset();
  m.session->home.store(there->own(), std::memory_order_release);
  there->loop().post([there, m = std::make_shared<moving>(std::move(m))] { there->adopt(std::move(*m)); });
}

void rtc_relay::adopt(moving what) {
  if (stopped_ || what.session->over.load(std::memory_order_acquire)) return;
  local_session& s = local(what.session);
  s.paths = std::move(what.paths);
  if (auto adopted = upstream::adopt(*this, s, what.descriptor); !adopted)
    here_.reports.failed(s.session, adopted.error().reason);
}

void rtc_relay::drop(std::string_view reason) {
  auto& cell = dropped_[reason];
  if (cell == nullptr) cell = &rtc_dropped(here_.metrics, reason);
  cell->add();
}

}  // namespace sluice::relay
