#include "relay/srt_door.hpp"

#include <fmt/format.h>

#include <cstring>

#include "relay/srt_session.hpp"
#include "runtime/process.hpp"

namespace sluice::relay {
namespace {

constexpr base::duration refusal_log_interval = std::chrono::milliseconds(100);

uint64_t random_seed() {
  uint64_t seed;
  runtime::random_bytes({reinterpret_cast<uint8_t*>(&seed), sizeof seed});
  return seed;
}

uint64_t mixed(uint64_t h, uint64_t v) {
  const auto wide = static_cast<unsigned __int128>(h ^ v) * 0x9e3779b97f4a7c15u;
  return static_cast<uint64_t>(wide) ^ static_cast<uint64_t>(wide >> 64);
}

uint32_t word(base::bytes_view datagram, size_t at) {
  return uint32_t{datagram[at]} << 24 | uint32_t{datagram[at + 1]} << 16 | uint32_t{datagram[at + 2]} << 8 |
         datagram[at + 3];
}

}  // namespace

size_t srt_door::name_hash::operator()(const name& n) const noexcept {
  uint64_t high, low;
  std::memcpy(&high, n.peer.address.bytes().data(), 8);
  std::memcpy(&low, n.peer.address.bytes().data() + 8, 8);
  return mixed(mixed(mixed(seed, high), low), uint64_t{n.peer.port} << 32 | n.id);
}

srt_door::srt_door(shard_context& shard, srt_common& common, runtime::udp_io& io)
    : shard_(shard),
      common_(common),
      io_(io),
      id_prefix_(runtime::random_id(8)),
      inductions_(common.limits.inductions_per_second, random_seed()),
      conclusions_(common.limits.conclusions_per_second, random_seed()),
      sessions_(0, name_hash{random_seed()}),
      routes_(0, name_hash{random_seed()}),
      sessions_cell_(shard.metrics.gauge("sluice_sessions", "Client connections open now.",
                                         {{"role", "proxy"}, {"proto", "srt"}})),
      bytes_in_(
          shard.metrics.counter("sluice_bytes_total", "Bytes from and to clients.", {{"dir", "in"}, {"proto", "srt"}})),
      bytes_out_(shard.metrics.counter("sluice_bytes_total", "Bytes from and to clients.",
                                       {{"dir", "out"}, {"proto", "srt"}})),
      upstream_cells_(shard.metrics, "srt") {}

srt_door::~srt_door() { close_all("shutdown"); }

base::result<base::endpoint> srt_door::listen(const base::endpoint& at, runtime::udp_options options) {
  auto opened = runtime::udp_socket::bind(io_, at, options, *this);
  if (!opened) return tl::unexpected(opened.error());
  socket_ = std::move(*opened);
  return socket_->local();
}

void srt_door::close_all(std::string_view reason) {
  const auto all = std::exchange(
      sessions_, std::unordered_map<name, std::unique_ptr<srt_session>, name_hash>(0, sessions_.hash_function()));
  for (const auto& [n, s] : all) s->end(reason);
  routes_.clear();
}

void srt_door::shut(std::string_view reason) {
  close_all(reason);
  socket_.reset();
}

void srt_door::for_each_session(
    const std::function<void(std::string_view kind, const std::string& stream)>& visit) const {
  for (const auto& [n, s] : sessions_)
    if (s->running()) visit(s->kind(), s->stream());
}

void srt_door::drop(std::string_view fault) {
  auto& cell = dropped_[fault];
  if (cell == nullptr)
    cell = &shard_.metrics.counter("sluice_srt_dropped_total",
                                   "SRT datagrams that went no further, by what was wrong with them.",
                                   {{"reason", std::string(fault)}});
  cell->add();
}

void srt_door::count_refusal(std::string_view reason) {
  shard_.metrics
      .counter("sluice_refused_total", "Clients and requests refused, by reason.",
               {{"proto", "srt"}, {"reason", std::string(reason)}})
      .add();
}

// ---- datagrams

void srt_door::on_datagrams(runtime::udp_socket&, std::span<const runtime::datagram> batch) {
  name last{};
  srt_session* session = nullptr;  // of that name; one caller's datagrams often come together
  for (const auto& d : batch) {
    if (d.bytes.size() < srt::header_bytes) {
      drop("too_short");
      continue;
    }
    bytes_in_.add(static_cast<int64_t>(d.bytes.size()));
    if ((word(d.bytes, 0) >> 16) == 0x8000) {  // a control packet of type 0
      on_handshake(d);
      session = nullptr;
      continue;
    }
    const name n{d.path.peer, word(d.bytes, 12)};
    if (session == nullptr || !(n == last)) {
      const auto found = routes_.find(n);
      session = found == routes_.end() ? nullptr : found->second;
      last = n;
    }
    if (session == nullptr) {
      drop("no_session");
    } else {
      session->from_client(d);
    }
  }
}

void srt_door::on_handshake(const runtime::datagram& d) {
  const auto h = srt::parse_handshake(d.bytes);
  if (!h) return drop(h.error().reason);
  const auto& from = d.path.peer;
  if (h->is(srt::request_type::induction)) {
    if (h->destination != 0 || h->socket_id == 0) return drop("bad_induction");
    // Who is flooded by the answers to a forged address at least gets no more than its forger sends, and not fast.
    if (!inductions_.allow(from.address, shard_.loop.now())) return drop("too_many_inductions");
    const auto cookie = common_.cookies.make(from, shard_.loop.now());
    const auto answer = srt::answer_induction(*h, cookie, from.address, common_.limits.key_bytes);
    socket_->send_now(d.path, answer);
    return;
  }
  if (h->is(srt::request_type::conclusion)) return on_conclusion(d, *h);
  drop("bad_handshake");
}

void srt_door::on_conclusion(const runtime::datagram& d, const srt::handshake& h) {
  const auto& from = d.path.peer;
  const auto found = sessions_.find({from, h.socket_id});
  if (found != sessions_.end() && !found->second->is_another(h)) return found->second->from_client(d);
  // Nothing is kept, asked or logged for one who has not shown that he receives at this address.
  if (!common_.cookies.accepts(h.cookie, from, shard_.loop.now())) return drop("bad_cookie");
  if (!conclusions_.allow(from.address, shard_.loop.now())) return drop("too_many_conclusions");
  if (found != sessions_.end()) {
    // The same port and socket id again: that program has begun anew.
    const name n = found->first;
    found->second->end("replaced");
    if (const auto left = sessions_.find(n); left != sessions_.end()) retire(*left->second);
  }
  const auto stream_id = srt::check_conclusion(h);
  if (!stream_id) return refuse(d, h, srt::reject_of(stream_id.error()), stream_id.error(), {});
  open(d, h, *stream_id);
}

/// Why no session can be taken in now; empty: one can, has its place, and is counted for its address.
std::string_view srt_door::lack(const base::ip_address& from, runtime::session_place& place) {
  if (!accepting_) return "stopping";
  auto* budget = common_.limits.sessions;
  place = runtime::session_place::take(budget);
  if (!place.held() || (budget && sessions_.size() / 2 >= budget->max())) return "too_many_sessions";
  if (handshakes_ >= common_.limits.handshakes_max) return "too_many_handshakes";
  if (!common_.addresses.enter(from)) return "too_many_of_address";
  return {};
}

void srt_door::open(const runtime::datagram& d, const srt::handshake& h, const std::string& stream_id) {
  const std::string id = fmt::format("{}-{:x}", id_prefix_, ++ids_);
  auto request = cluster::parse_srt(stream_id, shard_.config.vhosts);
  if (!request) {
    const bool mode = request.error().reason == "bad_mode";
    return refuse(d, h, mode ? srt::reject::bad_mode : srt::reject::bad_request, request.error(), id);
  }
  runtime::session_place place;
  if (const auto missing = lack(d.path.peer.address, place); !missing.empty()) {
    const auto why = missing == "stopping" ? srt::reject::down : srt::reject::overload;
    return refuse(d, h, why, {missing, "this server takes no more"}, id);
  }
  ++handshakes_;
  auto session = std::make_unique<srt_session>(*this, d.path, d.bytes, std::move(*request), id);
  session->place_ = std::move(place);
  srt_session& s = *session;
  sessions_.emplace(name{d.path.peer, h.socket_id}, std::move(session));
  ++live_;
  sessions_cell_.set(static_cast<int64_t>(sessions()));
  s.start();
}

void srt_door::refuse(const runtime::datagram& d, const srt::handshake& h, srt::reject why, const base::error& e,
                      const std::string& session) {
  count_refusal(e.reason);
  socket_->send_now(d.path, srt::refuse_conclusion(h, why, d.path.peer.address));
  if (refusal_logged_ && shard_.loop.now() - *refusal_logged_ < refusal_log_interval) {
    ++refusals_unlogged_;
    return;
  }
  refusal_logged_ = shard_.loop.now();
  shard_.log.warn("session_refused", {{"session", session},
                                      {"proto", "srt"},
                                      {"peer", d.path.peer.to_string()},
                                      {"status", static_cast<int>(why)},
                                      {"reason", e.reason},
                                      {"text", e.text},
                                      {"unlogged", std::exchange(refusals_unlogged_, 0)}});
}

// ---- sessions

bool srt_door::route(srt_session& s) {
  if (!routes_.emplace(name{s.path().peer, s.origin_socket()}, &s).second) return false;
  --handshakes_;
  return true;
}

void srt_door::on_ended(srt_session& s) {
  if (!s.routed()) --handshakes_;
  --live_;
  s.place_.give_back();
  common_.addresses.leave(s.path().peer.address);
  sessions_cell_.set(static_cast<int64_t>(sessions()));
}

void srt_door::retire(srt_session& s) {
  if (s.routed()) routes_.erase({s.path().peer, s.origin_socket()});
  s.release();
  auto node = sessions_.extract(name{s.path().peer, s.client_socket()});
  // It may be on the stack.
  if (node) shard_.loop.defer([gone = std::shared_ptr<srt_session>(std::move(node.mapped()))] {});
}

}  // namespace sluice::relay
