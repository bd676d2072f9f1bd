#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "proto/rtmp/client_session.hpp"
#include "runtime/loop.hpp"
#include "runtime/socket_address.hpp"
#include "runtime/tcp.hpp"
#include "servers/live/directory.hpp"
#include "servers/rtmp/origin_handler.hpp"
#include "servers/rtmp/server.hpp"
#include "unit/media/support.hpp"

/// Real sockets on loopback, in one process: an origin's parts, and RTMP clients that a test steers.
namespace sluice::servers::test {

using media::test::bytes;
using media::test::packet;
using packets = std::vector<packet>;
using std::chrono::milliseconds;
using std::chrono::seconds;

inline base::endpoint any_port() { return {base::ip_address::v4({127, 0, 0, 1}), 0}; }

/// Runs the loop until `done` holds; false, and a failure, if that takes longer than `limit`.
inline bool run_until(runtime::loop& l, const std::function<bool()>& done, base::duration limit = seconds(10)) {
  const auto deadline = runtime::loop::monotonic_now() + limit;
  bool held = false;
  std::function<void()> look;
  runtime::timer again(l, [&] { look(); });
  look = [&] {
    held = done();
    if (held || runtime::loop::monotonic_now() >= deadline) return l.stop();
    again.arm_after(std::chrono::microseconds(200));
  };
  again.arm_after(base::duration(1));
  l.run();
  EXPECT_TRUE(held) << "did not happen in time";
  return held;
}

/// Runs the loop for as long as it takes that `count` timers of no delay fire: all that is under way now has its turn.
inline void run_turns(runtime::loop& l, int count = 5) {
  run_until(l, [&] { return count-- == 0; });
}

/// Keeps the lines. Any thread.
class memory_log final : public base::log_sink {
 public:
  struct line {
    std::string event;
    std::vector<std::pair<std::string, std::string>> fields;
    std::string field(std::string_view key) const {
      for (const auto& [k, v] : fields)
        if (k == key) return v;
      return {};
    }
  };
  bool enabled(base::log_level) const override { return true; }
  void write(base::log_level, std::string_view event, std::span<const base::log_field> fields) override {
    line l{std::string(event), {}};
    for (const auto& f : fields) l.fields.emplace_back(std::string(f.key), f.value);
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(l));
    if (on_line) on_line(lines_.back());
  }
  std::function<void(const line&)> on_line;  ///< is told of each; by any thread, one at a time
  std::vector<line> of(std::string_view event) const {
    const std::lock_guard lock(mutex_);
    std::vector<line> found;
    for (const auto& l : lines_)
      if (l.event == event) found.push_back(l);
    return found;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<line> lines_;
};

/// One RTMP client: connects at once, says what its session wants to say, and keeps what it hears.
class rtmp_client final : public runtime::io_handler {
 public:
  struct options {
    bytes preamble;          ///< before the session's first byte
    int receive_buffer = 0;  ///< SO_RCVBUF, bytes; 0: the kernel's choice
    bool drip = false;       ///< send nothing by itself: the test calls drip()
  };
  rtmp_client(runtime::loop& l, const base::endpoint& to, rtmp::client_request request, options o)
      : loop_(l), session_(config_, std::move(request), runtime::loop::monotonic_now(), 42), drips_(o.drip) {
    const runtime::socket_address address(to);
    const int fd = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (o.receive_buffer > 0) ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &o.receive_buffer, sizeof o.receive_buffer);
    EXPECT_EQ(::connect(fd, address.get(), address.size), 0) << to.to_string();
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    const int flags = ::fcntl(fd, F_GETFL);
    ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    stream_ = runtime::tcp_stream(fd);
    auto& out = session_.output().sink();
    out.insert(out.begin(), o.preamble.begin(), o.preamble.end());
    loop_.watch(fd, *this);
    if (!drips_) flush();
  }
  ~rtmp_client() { close(); }

  void on_io(runtime::io_ready ready) override {
    if (ready.readable || ready.hangup) read();
    if (ready.writable && !drips_) flush();
  }

  void publish(const packet& p) {
    session_.send_message(p.type, media::chunk_stream_of(p.type), p.timestamp, p.body);
    flush();
  }
  void publish(const packets& all) {
    for (const auto& p : all) publish(p);
  }
  void command(std::string_view name, const std::vector<amf0::value>& arguments) {
    session_.send_command(name, arguments);
    flush();
  }
  /// Sends the next byte of what waits.
  void drip() {
    ASSERT_EQ(stream_.write(session_.output().pending().first(1)).bytes, 1u);
    session_.output().consume(1);
  }
  void stop_dripping() {
    drips_ = false;
    flush();
  }
  void stop_reading() { reads_ = false; }
  void go_on_reading() {
    reads_ = true;
    read();
  }
  void leave() {
    session_.close_stream();
    flush();
    close();
  }
  void close() {
    if (!stream_.is_open()) return;
    loop_.unwatch(stream_.fd(), *this);
    stream_.close();
  }
  size_t unsent() { return session_.output().size(); }

  bool started = false;
  bool ended = false;              ///< the server has closed the connection
  bool reset = false;              ///< by RST
  std::vector<std::string> codes;  ///< of all status messages that are no start
  packets got;
  std::function<void()> on_stream_created;

 private:
  void read() {
    while (reads_ && stream_.is_open()) {
      std::vector<uint8_t> buffer(64 * 1024);
      const auto in = stream_.read(buffer.data(), buffer.size());
      if (in.status == runtime::io_status::would_block) return;
      if (in.status != runtime::io_status::ok) {
        ended = true;
        reset = in.status == runtime::io_status::failed;
        return close();
      }
      const auto ok = session_.receive({buffer.data(), in.bytes}, loop_.now());
      EXPECT_TRUE(ok) << ok.error().reason;
      while (auto event = session_.next_event()) take(*event);
      if (!drips_) flush();
      if (session_.stream_id() != 0 && on_stream_created) std::exchange(on_stream_created, nullptr)();
    }
  }
  void take(rtmp::client_event& event) {
    if (std::holds_alternative<rtmp::client_started>(event)) started = true;
    if (auto* status = std::get_if<rtmp::client_status>(&event)) codes.push_back(status->code);
    if (auto* media = std::get_if<rtmp::media_message>(&event)) {
      auto p = media::test::packet_of(media->msg);
      const bool access = p.type == rtmp::data_amf0 && p.body.size() > 3 && p.body[3] == '|';
      if (!access) got.push_back(std::move(p));
    }
  }
  void flush() {
    auto& out = session_.output();
    while (stream_.is_open() && !out.empty()) {
      const auto sent = stream_.write(out.pending());
      if (sent.status != runtime::io_status::ok) return;
      out.consume(sent.bytes);
    }
  }

  inline static const rtmp::session_config config_{};
  runtime::loop& loop_;
  runtime::tcp_stream stream_;
  rtmp::client_session session_;
  bool drips_ = false, reads_ = true;
};

inline rtmp::client_request ask_for(rtmp::client_intent intent, const std::string& name) {
  rtmp::client_request r;
  r.intent = intent;
  r.app = "live";
  r.tc_url = "rtmp://127.0.0.1/live";
  r.name = name;
  return r;
}

/// An origin without its API and heartbeats. Made, used and destroyed on its loop's thread, or while that does not run.
struct origin_parts {
  origin_parts(runtime::loop& l, const server_limits& server_limits, const directory_limits& stream_limits,
               base::log_sink& log, base::duration merge = base::duration::zero())
      : server(l, "origin", server_limits, merge, log, metrics,
               [this](connection& c) { return make_origin_handler(c, streams, vhosts); }),
        fence(true, l.now()),
        streams(
            l, stream_limits, fence, server.flusher(), [this](media::hub& h) { server.flusher().forget(h); }, metrics) {
    const auto opened = server.listen(any_port(), {});
    EXPECT_TRUE(opened);
    if (opened) at = *opened;
  }
  ~origin_parts() { server.close_all("shutdown"); }

  int64_t refusals(std::string_view reason) { return server.refused(reason).value(); }
  int64_t dropped() { return metrics.counter("sluice_dropped_frames_total", "", {{"proto", "rtmp"}}).value(); }
  int64_t bytes_in() { return metrics.counter("sluice_bytes_total", "", {{"dir", "in"}, {"proto", "rtmp"}}).value(); }

  base::metrics metrics;
  cluster::vhost_rules vhosts;
  rtmp_server server;
  cluster::fence fence;
  directory streams;
  base::endpoint at;
};

/// An origin and its clients on one loop. Limits are to be set before the first use of origin().
class origin_test : public ::testing::Test {
 protected:
  ~origin_test() override {
    clients_.clear();
    origin_.reset();
  }
  origin_parts& origin() {
    if (!origin_) origin_ = std::make_unique<origin_parts>(loop, limits, stream_limits, log, merge);
    return *origin_;
  }
  rtmp_client& client(rtmp::client_request request, rtmp_client::options o = {}) {
    return *clients_.emplace_back(std::make_unique<rtmp_client>(loop, origin().at, std::move(request), std::move(o)));
  }
  rtmp_client& publisher(const std::string& name) {
    auto& c = client(ask_for(rtmp::client_intent::publish, name));
    run_until(loop, [&] { return c.started; });
    return c;
  }
  rtmp_client& player(const std::string& name, rtmp_client::options o = {}) {
    auto& c = client(ask_for(rtmp::client_intent::play, name), std::move(o));
    run_until(loop, [&] { return c.started; });
    return c;
  }
  /// Runs until that client has `count` packets.
  bool await(rtmp_client& c, size_t count) {
    return run_until(loop, [&] { return c.got.size() >= count; });
  }

  /// Says something, and runs until the origin has read it and done what follows.
  void heard(const std::function<void()>& say) {
    const auto before = origin().bytes_in();
    say();
    run_until(loop, [&] { return origin().bytes_in() > before; });
    run_turns(loop);
  }

  runtime::loop loop;
  runtime::descriptor_budget two_descriptors{2};
  runtime::session_budget one_session{1}, two_sessions{2};
  memory_log log;
  server_limits limits;
  directory_limits stream_limits;
  base::duration merge = base::duration::zero();

 private:
  std::unique_ptr<origin_parts> origin_;
  std::vector<std::unique_ptr<rtmp_client>> clients_;
};

/// A stream's beginning: headers, then `groups` groups of ten frames with audio between, 40 ms apart.
inline packets made_up_stream(uint32_t groups, size_t frame_bytes = 300) {
  using namespace media::test;
  packets all{metadata(), video_header(), audio_header()};
  for (uint32_t n = 0; n < groups * 10; ++n) {
    all.push_back(n % 10 == 0 ? key(n * 40, n, frame_bytes * 2) : inter(n * 40, n, frame_bytes));
    all.push_back(sound(n * 40 + 5, n));
  }
  return all;
}

}  // namespace sluice::servers::test
