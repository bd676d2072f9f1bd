#include <fmt/format.h>

#include <algorithm>

#include "runtime/handover_socket.hpp"
#include "runtime/socket_handover.hpp"

namespace sluice::runtime {
namespace {

base::error refusal_of(const handover_message& m) {
  return {"refused", fmt::format("{}: {}", m.field("reason"), m.field("text"))};
}

class taker final : public handover_taker, io_handler {
 public:
  taker(descriptor fd, handover_times times) : fd_(std::move(fd)), times_(times) {}
  ~taker() override {
    if (loop_) loop_->unwatch(fd_.fd(), *this);
  }

  const handover_party& from() const override { return from_; }
  std::vector<handed_socket> take_sockets() override { return std::move(sockets_); }
  std::string take_state() override { return std::move(state_); }

  base::result<void> ask(const std::string& version) {
    if (const auto peer = peer_of(fd_.fd())) from_.pid = peer->pid;
    const auto hello = encode({"hello", {{"pid", std::to_string(::getpid())}, {"version", version}}, {}});
    // The answer to what cannot be sent is a refusal that waits to be read.
    send_packet(fd_.fd(), hello, {});
    const auto all_until = loop::monotonic_now() + times_.ready;
    for (;;) {
      if (!await_readable(fd_.fd(), std::min(all_until, loop::monotonic_now() + times_.step)))
        return base::fail("timeout", "the process that listens there does not answer");
      auto got = receive_packet(fd_.fd());
      if (got.status == packet_status::would_block) continue;
      if (got.status == packet_status::closed)
        return base::fail("gone", "the process that listens there ended in the middle of the handover");
      auto message = decode_handover(got.bytes);
      if (got.status == packet_status::bad) message = base::fail("bad_message", "the packet is cut");
      if (!message) return tl::unexpected(message.error());
      if (message->kind == "end") return {};
      if (const auto taken = take(*message, std::move(got.descriptors)); !taken) return taken;
    }
  }

  void ready(loop& l, std::function<void(base::result<void>)> done) override {
    done_ = std::move(done);
    deadline_ = std::make_unique<timer>(
        l, [this] { finish(base::fail("timeout", "the process before does not answer, and may still serve")); });
    deadline_->arm_after(times_.step);
    send_packet(fd_.fd(), encode({"ready", {}, {}}), {});  // if it is gone, or has refused, that is read below
    loop_ = &l;
    if (!l.watch(fd_.fd(), *this)) {
      loop_ = nullptr;
      l.post([this, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired()) finish(base::fail("resources", "the kernel cannot watch the socket"));
      });
    }
  }

 private:
  base::result<void> take(const handover_message& m, std::vector<descriptor> descriptors) {
    if (m.kind == "refused") return tl::unexpected(refusal_of(m));
    if (m.kind == "state") {
      if (state_.size() + m.body.size() > handover_state_bytes_max) return base::fail("bad_message", "too much state");
      state_ += m.body;
      return {};
    }
    if (m.kind != "sockets") return base::fail("bad_message", "an unknown kind of message: " + m.kind);
    from_.version = m.field("version");
    size_t next = 0;
    for (const auto& [key, value] : m.fields) {
      if (key != "name") continue;
      if (next == descriptors.size() || sockets_.size() == handover_sockets_max)
        return base::fail("bad_message", "names and descriptors do not fit");
      sockets_.push_back({value, std::move(descriptors[next++])});
    }
    if (next != descriptors.size()) return base::fail("bad_message", "names and descriptors do not fit");
    return {};
  }

  void on_io(io_ready) override {
    for (;;) {
      const auto got = receive_packet(fd_.fd());
      if (got.status == packet_status::would_block) return;
      if (got.status == packet_status::closed) return finish({});  // gone, without a refusal
      const auto message = decode_handover(got.bytes);
      if (!message) return finish(tl::unexpected(message.error()));
      if (message->kind == "refused") return finish(tl::unexpected(refusal_of(*message)));
      if (message->kind != "go")
        return finish(base::fail("bad_message", "an unknown kind of message: " + message->kind));
      // Should it have given up just now its refusal is there to be read.
      if (send_packet(fd_.fd(), encode({"taken", {}, {}}), {}) == packet_status::ok) return finish({});
    }
  }

  /// The last thing that a caller does.
  void finish(base::result<void> outcome) {
    deadline_->cancel();
    if (loop_) std::exchange(loop_, nullptr)->unwatch(fd_.fd(), *this);
    if (const auto done = std::exchange(done_, nullptr)) done(std::move(outcome));
  }

  descriptor fd_;
  const handover_times times_;
  handover_party from_;
  std::vector<handed_socket> sockets_;
  std::string state_;
  loop* loop_ = nullptr;  // while it watches
  std::function<void(base::result<void>)> done_;
  std::unique_ptr<timer> deadline_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

base::result<std::unique_ptr<handover_taker>> handover_taker::connect(const std::string& path,
                                                                      const std::string& version,
                                                                      handover_times times) {
  auto fd = connect_to_path(path);
  if (!fd) return tl::unexpected(fd.error());
  if (!*fd) return std::unique_ptr<handover_taker>();
  auto made = std::make_unique<taker>(std::move(**fd), times);
  if (const auto asked = made->ask(version); !asked) return tl::unexpected(asked.error());
  return made;
}

}  // namespace sluice::runtime
