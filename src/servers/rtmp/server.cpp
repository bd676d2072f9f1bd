#include "servers/rtmp/server.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/process.hpp"

namespace sluice::servers {
namespace {
constexpr base::duration full_log_interval = std::chrono::seconds(1);
// A full server lets in so many more at a time: a proxy that asks whether it lives, others to be told that it is full.
constexpr size_t over_limit_max = 32;
}  // namespace

rtmp_server::rtmp_server(runtime::loop& l, std::string_view role, const server_limits& limits, base::duration merge,
                         base::log_sink& log, base::metrics& metrics, handler_factory make_handler)
    : loop_(l),
      role_(role),
      limits_(limits),
      log_(log),
      metrics_(metrics),
      flusher_(l, merge),
      make_handler_(std::move(make_handler)),
      sessions_cell_(metrics.gauge("sluice_sessions", "Client connections open now.",
                                   {{"role", std::string(role)}, {"proto", "rtmp"}})),
      bytes_in_cell_(
          metrics.counter("sluice_bytes_total", "Bytes from and to clients.", {{"dir", "in"}, {"proto", "rtmp"}})),
      bytes_out_cell_(
          metrics.counter("sluice_bytes_total", "Bytes from and to clients.", {{"dir", "out"}, {"proto", "rtmp"}})),
      dropped_cell_(
          metrics.counter("sluice_dropped_frames_total", "Frames that slow players did not get.", {{"proto", "rtmp"}})),
      id_prefix_(runtime::random_id(8)) {}

rtmp_server::~rtmp_server() { close_all("shutdown"); }

base::result<base::endpoint> rtmp_server::listen(const base::endpoint& at, runtime::listen_options options) {
  auto from = runtime::listen_on(at, options);
  if (!from) return tl::unexpected(from.error());
  return listen(std::move(*from));
}

base::result<base::endpoint> rtmp_server::listen(runtime::tcp_listeners from) {
  for (auto& socket : from)
    if (const auto listening = listen_on(std::move(socket)); !listening) return tl::unexpected(listening.error());
  return acceptors_.front()->local();
}

base::result<void> rtmp_server::listen_on(runtime::tcp_listener from) {
  auto acceptor = runtime::tcp_acceptor::open(
      loop_, std::move(from),
      [this](runtime::tcp_stream stream, const base::endpoint& peer) { on_accept(std::move(stream), peer); });
  if (!acceptor) return tl::unexpected(acceptor.error());
  (*acceptor)->on_resource_error = [this](int error) {
    refused("no_descriptors").add();
    if (loop_.now() - full_logged_ < full_log_interval) return;
    full_logged_ = loop_.now();
    log_.warn("accept_paused", {{"proto", "rtmp"}, {"reason", "no_descriptors"}, {"errno", error}});
  };
  acceptors_.push_back(std::move(*acceptor));
  return {};
}

std::vector<int> rtmp_server::listening() const {
  std::vector<int> fds;
  for (const auto& a : acceptors_) fds.push_back(a->fd());
  return fds;
}

void rtmp_server::stop_listening() { acceptors_.clear(); }

void rtmp_server::close_all(std::string_view reason) {
  while (!connections_.empty()) connections_.back()->close(reason);
  retired_.clear();
}

void rtmp_server::drain(std::string_view reason, bool players) {
  // From the back: a connection that goes at once gives its slot to the last one, which has had its turn.
  for (size_t i = connections_.size(); i-- > 0;)
    if (i < connections_.size() && (players || !connections_[i]->player())) connections_[i]->drain(reason);
}

size_t rtmp_server::request_reconnect(std::string_view description) {
  size_t asked = 0;
  // From the back, as in drain(): one that breaks while it is written to leaves its slot to the last.
  for (size_t i = connections_.size(); i-- > 0;) {
    if (i >= connections_.size() || !connections_[i]->session().request_reconnect("", description)) continue;
    ++asked;
    connections_[i]->flush();
  }
  return asked;
}

void rtmp_server::for_each_session(
    const std::function<void(std::string_view kind, const std::string& stream)>& visit) const {
  for (const auto& c : connections_)
    if (c->session_running()) visit(c->kind_, c->stream_name_);
}

base::metric_cell& rtmp_server::refused(std::string_view reason) {
  return metrics_.counter("sluice_refused_total", "Clients and requests refused, by reason.",
                          {{"proto", "rtmp"}, {"reason", std::string(reason)}});
}

std::string rtmp_server::next_id() { return fmt::format("{}-{:x}", id_prefix_, ++ids_); }

void rtmp_server::on_accept(runtime::tcp_stream stream, const base::endpoint& peer) {
  // New work is refused before the descriptors run out, so that the work under way can go on.
  auto place = runtime::session_place::take(limits_.sessions);
  const bool full = !place.held();
  if (full && over_limit_ >= over_limit_max) return refuse(peer, "too_many_sessions");
  if (limits_.descriptors && !limits_.descriptors->take()) return refuse(peer, "no_descriptors");
  auto c = std::make_unique<connection>(*this, std::move(stream), peer, next_id());
  c->handler_ = make_handler_(*c);
  c->slot_ = connections_.size();
  c->place_ = std::move(place);
  connections_.push_back(std::move(c));
  if (full) set_standing(*connections_.back(), connection::standing::over_limit);
  show_sessions();
  connections_.back()->start();
}

void rtmp_server::set_standing(connection& c, connection::standing s) {
  if (c.standing_ != connection::standing::session) --count_of(c.standing_);
  c.standing_ = s;
  if (s != connection::standing::session) {
    ++count_of(s);
    c.place_.give_back();
  }
  show_sessions();
}

void rtmp_server::refuse(const base::endpoint& peer, std::string_view reason) {
  refused(reason).add();
  if (loop_.now() - full_logged_ < full_log_interval) return;
  full_logged_ = loop_.now();
  log_.warn("session_refused",
            {{"proto", "rtmp"}, {"peer", peer.to_string()}, {"reason", reason}, {"sessions", connections_.size()}});
}

void rtmp_server::retire(connection& c) {
  if (limits_.descriptors) limits_.descriptors->give();
  c.place_.give_back();
  std::erase(read_again_, &c);
  const size_t slot = c.slot_;
  if (retired_.empty()) loop_.defer([this] { retired_.clear(); });
  retired_.push_back(std::move(connections_[slot]));
  if (slot + 1 < connections_.size()) {
    connections_[slot] = std::move(connections_.back());
    connections_[slot]->slot_ = slot;
  }
  connections_.pop_back();
  if (c.standing_ != connection::standing::session) --count_of(c.standing_);
  show_sessions();
}

void rtmp_server::read_later(connection& c) {
  if (read_again_.empty()) {
    loop_.defer([this] {
      auto batch = std::exchange(read_again_, {});
      // A connection may be retired by another's turn: retired ones stay alive until after this task and do nothing.
      for (connection* waiting : batch)
        if (waiting->phase_ != connection::phase::closed) waiting->read_some();
    });
  }
  if (std::find(read_again_.begin(), read_again_.end(), &c) == read_again_.end()) read_again_.push_back(&c);
}

}  // namespace sluice::servers
