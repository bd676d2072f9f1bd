#include "relay/rtc/relay.hpp"

#include <algorithm>
#include <cstring>

#include "relay/rtc/upstream.hpp"

namespace sluice::relay {
namespace {

// From an address that is its client's: agents check each pair every 20 ms at most (RFC 8445 §14.2).
constexpr double checks_per_second = 100, checks_burst = 200;
// From other addresses, for one session. Each costs a verification.
constexpr double strangers_per_second = 20, strangers_burst = 40;
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
    to_origin(*last->of, d.path, d.bytes);
  }
}

void rtc_relay::on_stun(const runtime::datagram& d) {
  const auto m = stun::parse(d.bytes);
  if (!m) return drop("bad_stun");
  if (m->cls == stun::message_class::request && !m->username.empty()) {
    if (m->method != stun::binding) return drop("bad_stun");
    const auto name = names_.find(m->username);
    if (name == names_.end()) return on_unknown_name(m->username, d.path.peer);
    return on_check(name->second, *m, d);
  }
  // An answer to what the origin asked, or a sign of life.
  const auto known = peers_.find(d.path.peer);
  if (known == peers_.end()) return drop("unknown_address");
  to_origin(*known->second.of, d.path, d.bytes);
}

void rtc_relay::on_check(known_name& name, const stun::message& m, const runtime::datagram& d) {
  const auto now = here_.loop.now();
  const auto there = peers_.find(d.path.peer);
  const bool known = there != peers_.end() && there->second.of->session == name.session &&
                     now - there->second.checked_at <= rtc_paths::consent_time;
  if (known && !there->second.checks.take(checks_per_second, checks_burst, now)) return drop("rate");
  if (!known && !may_come(name, m, d)) return;
  local_session& s = local(name.session);
  enter(s, d.path.peer).checked_at = now;
  if (!settle(s)) return;
  s.session->client_at.store(ns(now), std::memory_order_relaxed);
  if (!s.up)
    return hand_over({name.session, {d.path, here_.index}, std::string(base::as_text(d.bytes)), true, m.use_candidate});
  s.paths.check({d.path, here_.index}, m.transaction, m.use_candidate, now);
  forward(s, d.bytes);
}

/// Whether a check from an address that is not yet its client's is one of the client.
bool rtc_relay::may_come(known_name& name, const stun::message& m, const runtime::datagram& d) {
  const auto now = here_.loop.now();
  if (!sources_.take(d.path.peer.address, now) || !name.strangers.take(strangers_per_second, strangers_burst, now)) {
    drop("rate");
    return false;
  }
  if (name.password.empty() || stun::integrity_holds(d.bytes, m, name.password)) return true;
  drop("bad_integrity");
  return false;
}

void rtc_relay::on_unknown_name(std::string_view username, const base::endpoint& from) {
  const auto now = here_.loop.now();
  if (!stun::parse_username(username)) return drop("bad_username");
  if (misses_.has(username, now)) return drop("unknown_name");
  if (!sources_.take(from.address, now) ||
      !lookups_.take(here_.config.lookups_per_second, here_.config.lookups_burst, now))
    return drop("rate");
  misses_.add(username, now);  // until the answer is there
  drop("unknown_name");
  here_.reports.look_up(std::string(username), from, here_.index);
}

void rtc_relay::to_origin(local_session& s, const runtime::udp_path& from, base::bytes_view bytes) {
  if (!s.up) return hand_over({s.session, {from, here_.index}, std::string(base::as_text(bytes))});
  if (!s.paths.data(from, here_.loop.now())) {
    drop("no_consent");
    return erase_peer(from.peer);
  }
  forward(s, bytes);
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

void rtc_relay::miss(const std::string& username) { misses_.add(username, here_.loop.now()); }

void rtc_relay::remove(const std::shared_ptr<rtc_session>& s, const std::vector<std::string>& usernames) {
  for (const auto& name : usernames)
    if (const auto at = names_.find(name); at != names_.end() && at->second.session == s) names_.erase(at);
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
  s.peers.push_back(from);
  if (s.peers.size() > rtc_paths::paths_max) {
    peers_.erase(s.peers.front());
    s.peers.erase(s.peers.begin());
  }
  return p;
}

void rtc_relay::erase_peer(const base::endpoint& at) {
  const auto node = peers_.extract(at);
  if (!node.empty()) std::erase(node.mapped().of->peers, at);
}

/// A session that has no home finds it here. False if that fails.
bool rtc_relay::settle(local_session& s) {
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
    s.paths.check(what.from, transaction_of(base::as_bytes(what.bytes)), what.nominates, now);
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
  if (cell == nullptr)
    cell = &here_.metrics.counter("sluice_rtc_dropped_total", "Datagrams of WebRTC clients that went nowhere.",
                                  {{"reason", std::string(reason)}});
  cell->add();
}

}  // namespace sluice::relay
