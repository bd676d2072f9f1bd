#pragma once

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "cluster/store/memory_store.hpp"
#include "proto/srt/packet.hpp"
#include "relay/srt_door.hpp"
#include "unit/proto/srt/capture.hpp"
#include "unit/relay/context.hpp"
#include "unit/relay/plain_socket.hpp"
#include "unit/servers/support.hpp"

/// SRT through a proxy of one shard, between callers and listeners of the test; all on one loop, with sockets.
namespace sluice::relay::test {

using servers::test::run_turns;
using servers::test::run_until;
using std::chrono::milliseconds;
using std::chrono::seconds;

inline std::string text_of(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

inline uint32_t word_of(std::string_view datagram, size_t at) {
  base::byte_reader in(base::as_bytes(datagram));
  in.skip(at);
  return in.u32();
}
inline uint32_t destination_of(std::string_view datagram) { return word_of(datagram, 12); }

inline std::string data_packet(uint32_t sequence, uint32_t destination, std::string_view body) {
  std::vector<uint8_t> out;
  base::byte_writer w(out);
  for (const uint32_t v : {sequence, 0xc000'0001u, 4711u, destination}) w.u32(v);
  w.text(body);
  return text_of(out);
}
inline std::string control_packet(srt::control_type type, uint32_t destination) {
  const auto bytes = srt::plain_control(type, destination, 0);
  return {bytes.begin(), bytes.end()};
}
inline bool is_shutdown(std::string_view datagram) { return word_of(datagram, 0) == 0x8005'0000; }

/// A socket, and what came to it.
struct inbox {
  struct letter {
    std::string bytes;
    base::endpoint from;
  };
  plain_socket socket;
  std::vector<letter> got;
  /// Takes in what is there; how many there were before.
  size_t look() {
    const size_t before = got.size();
    base::endpoint from;
    for (auto bytes = socket.receive(&from, 0); !bytes.empty(); bytes = socket.receive(&from, 0))
      got.push_back({std::move(bytes), from});
    return before;
  }
};

/// Speaks as much SRT as a test wants. Several may share a socket, as libsrt's sockets do.
class srt_caller {
 public:
  srt_caller(std::shared_ptr<inbox> at, uint32_t id) : at_(std::move(at)), id_(id) {}

  srt::handshake induction() const {
    auto h = *srt::parse_handshake(recorded_.induction());
    h.socket_id = id_;
    return h;
  }
  std::string conclusion(std::string_view stream_id) const {
    auto h = *srt::parse_handshake(recorded_.conclusion());
    h.socket_id = id_;
    h.initial_sequence = sequence;
    h.cookie = cookie;
    std::vector<uint8_t> extensions(h.extensions.begin(), h.extensions.begin() + 16);  // the handshake's own
    if (!stream_id.empty()) {
      base::byte_writer w(extensions);
      std::string padded(stream_id);
      padded.resize((padded.size() + 3) / 4 * 4);
      w.u16(static_cast<uint16_t>(srt::extension_type::stream_id));
      w.u16(static_cast<uint16_t>(padded.size() / 4));
      for (size_t i = 0; i < padded.size(); i += 4)
        for (size_t k = 4; k-- > 0;) w.u8(static_cast<uint8_t>(padded[i + k]));
    }
    h.extensions = extensions;
    return text_of(srt::write_handshake(h));
  }
  void say(std::string_view datagram) { at_->socket.send(proxy, datagram); }
  void say(const srt::handshake& h) { say(text_of(srt::write_handshake(h))); }
  void conclude(std::string_view stream_id) { say(last_ = conclusion(stream_id)); }
  void repeat() { say(last_); }
  void leave() { say(control_packet(srt::control_type::shutdown, origin())); }

  void look() {
    at_->look();
    if (const auto h = heard(); h && h->is(srt::request_type::induction)) cookie = h->cookie;
  }
  std::vector<std::string> got() const {
    std::vector<std::string> mine;
    for (const auto& l : at_->got)
      if (destination_of(l.bytes) == id_) mine.push_back(l.bytes);
    return mine;
  }
  void forget() { at_->got.clear(); }
  size_t handshakes() const {
    size_t count = 0;
    for (const auto& d : got()) count += srt::parse_handshake(base::as_bytes(d)) ? 1 : 0;
    return count;
  }
  /// The last one, without its extensions.
  std::optional<srt::handshake> heard() const {
    const auto mine = got();
    for (auto d = mine.rbegin(); d != mine.rend(); ++d) {
      if (auto h = srt::parse_handshake(base::as_bytes(*d))) {
        h->extensions = {};
        return *h;
      }
    }
    return std::nullopt;
  }
  bool runs() const { return heard() && heard()->is(srt::request_type::conclusion); }
  /// Why it was refused; 0: it was not.
  uint32_t rejection() const {
    const auto h = heard();
    return h && h->request >= srt::reject_base && h->request < 0x8000'0000 ? h->request - srt::reject_base : 0;
  }
  uint32_t origin() const { return heard()->socket_id; }
  size_t shutdowns() const {
    size_t count = 0;
    for (const auto& d : got()) count += is_shutdown(d) ? 1 : 0;
    return count;
  }
  bool has(const std::string& datagram) const {
    const auto mine = got();
    return std::find(mine.begin(), mine.end(), datagram) != mine.end();
  }
  uint32_t id() const { return id_; }
  base::endpoint at() const { return at_->socket.at(); }

  base::endpoint proxy;
  uint32_t cookie = 0, sequence = 1000;

 private:
  const std::shared_ptr<inbox> at_;
  const uint32_t id_;
  const srt::capture recorded_{"plain.txt"};
  std::string last_;
};

/// An origin's listener: agrees to everything, unless it is told otherwise.
class srt_listener {
 public:
  base::endpoint at() const { return box_.socket.at(); }
  void look() {
    for (size_t i = box_.look(); i < box_.got.size(); ++i) {
      const auto letter = box_.got[i];
      const auto h = srt::parse_handshake(base::as_bytes(letter.bytes));
      if (!h) {
        got.push_back(letter);
      } else if (h->is(srt::request_type::induction)) {
        ++inductions;
        if (silent) continue;
        box_.socket.send(letter.from, text_of(srt::answer_induction(*h, cookie, letter.from.address)));
      } else {
        conclusions.push_back(letter);
        if (!silent) agree(*h, letter.from);
      }
    }
  }
  void say(const base::endpoint& to, std::string_view datagram) { box_.socket.send(to, datagram); }
  bool has(const std::string& datagram) const {
    return std::find_if(got.begin(), got.end(), [&](const auto& l) { return l.bytes == datagram; }) != got.end();
  }
  size_t shutdowns() const {
    return static_cast<size_t>(
        std::count_if(got.begin(), got.end(), [](const auto& l) { return is_shutdown(l.bytes); }));
  }
  /// Where the proxy's last conclusion came from.
  const base::endpoint& peer() const { return conclusions.back().from; }

  static constexpr uint32_t cookie = 0x1234'5678;
  uint32_t socket_id = 0x0abc'0001;  ///< of every connection
  uint32_t refusal = 0;              ///< 0: none
  size_t refusals = 1;               ///< so many times
  bool silent = false;
  size_t inductions = 0;
  std::vector<inbox::letter> conclusions, got;  ///< `got`: what is no handshake

 private:
  void agree(const srt::handshake& asked, const base::endpoint& to) {
    auto h = *srt::parse_handshake(recorded_.answer());
    h.destination = asked.socket_id;
    h.cookie = asked.cookie;
    h.initial_sequence = asked.initial_sequence;
    h.socket_id = socket_id;
    if (refusal != 0) h.request = srt::reject_base + refusal;
    for (size_t n = 0; n < (refusal != 0 ? refusals : 1); ++n) box_.socket.send(to, text_of(srt::write_handshake(h)));
  }

  const srt::capture recorded_{"plain.txt"};
  inbox box_;
};

class srt_test : public ::testing::Test {
 protected:
  /// Answers probes by RTMP, and serves SRT.
  struct origin {
    origin(runtime::loop& l, const servers::server_limits& limits, const servers::directory_limits& streams,
           base::log_sink& log)
        : rtmp(l, limits, streams, log) {}
    void die() {
      rtmp.server.stop_listening();
      rtmp.server.close_all("died");
    }
    std::string server;
    servers::test::origin_parts rtmp;
    srt_listener srt;
  };

  srt_test() {
    server_limits_.trusted = {*base::network::parse("127.0.0.0/8")};
    cluster.proxy_id = "p1";
    cluster.seed = 3;
    cluster.move_interval = base::duration::zero();
    relays.upstream.descriptors = &descriptors;
  }
  ~srt_test() override {
    if (proxy_) {
      proxy_->door.shut("shutdown");
      run_turns(loop);
      proxy_.reset();
    }
    EXPECT_EQ(descriptors.left(), descriptors_max);
  }

  // -- who takes part
  /// `first`: endpoints of its registration that come before its own, if that is in it (`own`).
  origin& add_origin(const std::string& server, std::vector<base::endpoint> first = {}, bool own = true) {
    auto& o = *origins_.emplace_back(std::make_unique<origin>(loop, server_limits_, stream_limits_, origin_log_));
    o.server = server;
    if (own) first.push_back(o.srt.at());
    cluster::origin_registration r;
    r.server = server;
    r.service = "s";
    r.pid = "1";
    r.address = o.rtmp.at.address;
    r.ip = r.address.to_string();
    r.rtmp = {o.rtmp.at};
    r.srt = std::move(first);
    r.sluice.emplace().version = "test";
    EXPECT_TRUE(control().registration(r));
    return o;
  }
  srt_caller& add_caller() {
    return add_caller(std::make_shared<inbox>(), 70 + static_cast<uint32_t>(callers_.size()));
  }
  srt_caller& add_caller(std::shared_ptr<inbox> at, uint32_t id) {
    auto& c = *callers_.emplace_back(std::make_unique<srt_caller>(std::move(at), id));
    c.proxy = at_proxy();
    return c;
  }
  /// A port where nobody listens.
  static base::endpoint closed_port() { return plain_socket().at(); }

  // -- what they do
  bool run(const std::function<bool()>& done) {
    return run_until(loop, [&] {
      for (const auto& o : origins_) o->srt.look();
      for (const auto& c : callers_) c->look();
      return done();
    });
  }
  /// Asks for a cookie, and tells what it wants.
  srt_caller& call(srt_caller& c, std::string_view stream_id) {
    c.say(c.induction());
    run([&] { return c.cookie != 0; });
    c.conclude(stream_id);
    return c;
  }
  srt_caller& call(std::string_view stream_id) { return call(add_caller(), stream_id); }
  /// The same, until it runs.
  srt_caller& running(std::string_view stream_id) {
    auto& c = call(stream_id);
    run([&] { return c.runs(); });
    return c;
  }
  srt_caller& publisher() { return running("#!::r=live/a,m=publish"); }
  srt_caller& player() { return running("#!::r=live/a,m=request"); }
  /// The refusal of one who asks for that.
  uint32_t rejection_of(std::string_view stream_id) { return rejection_of(call(stream_id)); }
  uint32_t rejection_of(srt_caller& c) {
    run([&] { return c.rejection() != 0; });
    return c.rejection();
  }
  /// A datagram each way arrives as it is.
  void exchange(srt_caller& c, origin& o) {
    const auto there = data_packet(++c.sequence, c.origin(), "there"), back = data_packet(5000, c.id(), "back");
    const auto way = way_of(c, o);
    c.say(there);
    EXPECT_TRUE(run([&] { return o.srt.has(there); }));
    o.srt.say(way, back);
    EXPECT_TRUE(run([&] { return c.has(back); }));
  }
  /// The proxy's address towards that origin, of the session of that caller.
  static base::endpoint way_of(const srt_caller& c, const origin& o) {
    for (auto l = o.srt.conclusions.rbegin(); l != o.srt.conclusions.rend(); ++l)
      if (srt::parse_handshake(base::as_bytes(l->bytes))->socket_id == c.id()) return l->from;
    ADD_FAILURE() << "that caller did not come to this origin";
    return {};
  }

  // -- what is to be seen
  int64_t dropped(const std::string& reason) {
    return metrics
        .counter("sluice_srt_dropped_total", "SRT datagrams that went no further, by what was wrong with them.",
                 {{"reason", reason}})
        .value();
  }
  int64_t refused(const std::string& reason) {
    return metrics
        .counter("sluice_refused_total", "Clients and requests refused, by reason.",
                 {{"proto", "srt"}, {"reason", reason}})
        .value();
  }
  int64_t shown_sessions() {
    return metrics.gauge("sluice_sessions", "", {{"role", "proxy"}, {"proto", "srt"}}).value();
  }
  size_t sessions() { return door().sessions(); }
  bool ended(const std::string& reason) {
    const auto lines = log.of("session_end");
    return !lines.empty() && lines.back().field("reason") == reason;
  }
  /// The session that publishes live/a, and where.
  cluster::stream_status status() {
    for (const auto& s : control().streams())
      if (s.key == key) return s;
    return {};
  }

  struct proxy_parts {
    explicit proxy_parts(srt_test& t)
        : control(t.loop, t.cluster, t.store_, t.log, t.metrics),
          flusher(t.loop, base::duration::zero()),
          context(make_context(0, t.loop, t.log, t.metrics, t.relays, control, flusher, flusher, t.feeds_)),
          common({1, 2, 3}, t.limits, t.sessions_per_address),
          io(t.loop, t.metrics),
          door(context, common, io) {
      control.on_origin_lost = [this](const std::string& id, cluster::loss_reason reason) {
        context.loop.post([this, id, reason] { context.origin_lost(id, reason); });
      };
      control.on_owner_changed = [this](const cluster::stream_key& of, const cluster::assignment& to) {
        context.loop.post([this, of, to] { context.owner_changed(of, to); });
      };
      control.on_move = [this](const cluster::action::move& what) {
        context.loop.post([this, what] { context.move(what); });
      };
    }
    director control;
    servers::hub_flusher flusher;
    shard_context context;
    srt_common common;
    runtime::udp_io io;
    srt_door door;
  };
  proxy_parts& proxy() {
    if (!proxy_) {
      proxy_ = std::make_unique<proxy_parts>(*this);
      const auto at = proxy_->door.listen(loopback, {});
      EXPECT_TRUE(at);
      at_ = at.value_or(base::endpoint{});
    }
    return *proxy_;
  }
  director& control() { return proxy().control; }
  srt_door& door() { return proxy().door; }
  base::endpoint at_proxy() {
    proxy();
    return at_;
  }

  static constexpr long descriptors_max = 100;
  const cluster::stream_key key{"__defaultVhost__", "live", "a"};
  runtime::loop loop;
  servers::test::memory_log log;
  base::metrics metrics;
  runtime::descriptor_budget descriptors{descriptors_max};
  // To be set before the first use of the proxy.
  relay_config relays;
  cluster::coordinator_config cluster;
  srt_limits limits;
  size_t sessions_per_address = 0;

 private:
  servers::test::memory_log origin_log_;
  servers::server_limits server_limits_;
  servers::directory_limits stream_limits_;
  cluster::memory_store store_{[] { return runtime::loop::monotonic_now(); }};
  std::vector<feed_set*> feeds_;
  std::vector<std::unique_ptr<origin>> origins_;
  std::vector<std::unique_ptr<srt_caller>> callers_;
  std::unique_ptr<proxy_parts> proxy_;
  base::endpoint at_;
};

}  // namespace sluice::relay::test
