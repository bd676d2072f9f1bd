#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <deque>

#include "runtime/handover_socket.hpp"
#include "runtime/socket_handover.hpp"

namespace sluice::runtime {
namespace {

// Of the state, in one packet: what is left of it is for the header.
constexpr size_t chunk_bytes = handover_packet_bytes_max - 1024;

/// A handler that calls a member.
template <typename Owner>
class io_member final : public io_handler {
 public:
  io_member(Owner& owner, void (Owner::*member)(io_ready)) : owner_(owner), member_(member) {}
  void on_io(io_ready ready) override { (owner_.*member_)(ready); }

 private:
  Owner& owner_;
  void (Owner::*member_)(io_ready);
};

struct outgoing {
  std::string bytes;
  std::vector<descriptor> descriptors;
};

class giver final : public handover_giver {
 public:
  giver(loop& l, std::string path, std::string version, callbacks on, handover_times times, descriptor listener)
      : loop_(l),
        path_(std::move(path)),
        version_(std::move(version)),
        on_(std::move(on)),
        times_(times),
        listener_(std::move(listener)),
        deadline_(l, [this] { on_deadline(); }) {
    struct stat at{};
    if (::stat(path_.c_str(), &at) == 0) device_ = at.st_dev, inode_ = at.st_ino;
  }
  ~giver() override {
    end_visit();
    if (!listener_.is_open()) return;
    close_listener();
    // Another process may have taken the path.
    struct stat at{};
    if (::lstat(path_.c_str(), &at) == 0 && at.st_dev == device_ && at.st_ino == inode_) ::unlink(path_.c_str());
  }

  bool watch() { return loop_.watch(listener_.fd(), on_listener_); }

 private:
  enum class step : uint8_t { hello, ready, taken };

  std::string_view step_name() const {
    return step_ == step::hello ? "the connect" : step_ == step::ready ? "the sockets" : "go";
  }

  void close_listener() {
    loop_.unwatch(listener_.fd(), on_listener_);
    listener_.reset();
  }

  void accept_all(io_ready) {
    for (;;) {
      descriptor fd(::accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd.is_open()) return;
      const auto peer = peer_of(fd.fd());
      if (!peer || !is_ours(*peer)) {
        const base::error why{"wrong_owner", "the process belongs to another user"};
        refuse(fd.fd(), why);
        on_.failed({peer ? peer->pid : 0, {}}, why);
        continue;
      }
      if (visitor_.is_open()) {
        refuse(fd.fd(), {"busy", "another process is taking over already"});
        continue;
      }
      visit(std::move(fd), peer->pid);
    }
  }

  void visit(descriptor fd, pid_t pid) {
    visitor_ = std::move(fd);
    who_ = {pid, {}};
    expect(step::hello, times_.step);
    if (!loop_.watch(visitor_.fd(), on_visitor_)) visitor_.reset();
  }

  void expect(step next, base::duration time) {
    step_ = next;
    deadline_.arm_after(time);
  }

  static void refuse(int fd, const base::error& why) {
    send_packet(fd, encode({"refused", {{"reason", std::string(why.reason)}, {"text", why.text}}, {}}), {});
  }

  void end_visit() {
    deadline_.cancel();
    queue_.clear();
    if (!visitor_.is_open()) return;
    loop_.unwatch(visitor_.fd(), on_visitor_);
    visitor_.reset();
  }

  void fail(const base::error& why) {
    refuse(visitor_.fd(), why);
    end_visit();
    on_.failed(who_, why);
  }

  /// From here on the other one can send nothing, so either its `taken` is here already, or it never will be.
  void on_deadline() {
    ::shutdown(visitor_.fd(), SHUT_RD);
    if (step_ == step::taken) {
      const auto got = receive_packet(visitor_.fd());
      const auto message = decode_handover(got.bytes);
      if (message && !take(*message)) return;
    }
    fail({"timeout", fmt::format("no word after {}", step_name())});
  }

  void on_visitor(io_ready ready) {
    if (ready.writable && !flush()) return;
    while (visitor_.is_open()) {
      const auto got = receive_packet(visitor_.fd());
      if (got.status == packet_status::would_block) return;
      if (got.status == packet_status::closed) return fail({"gone", "it ended before it served"});
      auto message = decode_handover(got.bytes);
      if (got.status == packet_status::bad) message = base::fail("bad_message", "the packet is too long");
      if (!message) return fail(message.error());
      if (!take(*message)) return;
    }
  }

  /// False if this may be gone, or the visit is over.
  bool take(const handover_message& m) {
    if (step_ == step::hello && m.kind == "hello") return greet(m);
    if (step_ == step::ready && m.kind == "ready" && queue_.empty()) {
      expect(step::taken, times_.step);
      queue_.push_back({encode({"go", {}, {}}), {}});
      return flush();
    }
    if (step_ == step::taken && m.kind == "taken") {
      end_visit();
      close_listener();
      const auto taken = on_.taken;
      taken(who_);
      return false;
    }
    fail({"bad_message", fmt::format("\"{}\" was not expected", m.kind.substr(0, 32))});
    return false;
  }

  bool greet(const handover_message& hello) {
    who_.version = hello.field("version");
    if (on_.begun) on_.begun(who_);
    const auto offer = on_.offer();
    if (!offer) {
      fail(offer.error());
      return false;
    }
    if (!enqueue(*offer)) {
      fail({"resources", "the sockets cannot be copied"});
      return false;
    }
    expect(step::ready, times_.ready);
    return flush();
  }

  bool enqueue(const handover_offer& offer) {
    if (offer.sockets.size() > handover_sockets_max || offer.state.size() > handover_state_bytes_max) return false;
    for (size_t at = 0; at < offer.sockets.size() || at == 0; at += handover_descriptors_max) {
      handover_message m{"sockets", {{"pid", std::to_string(::getpid())}, {"version", version_}}, {}};
      outgoing packet;
      for (size_t i = at; i < std::min(at + handover_descriptors_max, offer.sockets.size()); ++i) {
        m.fields.emplace_back("name", offer.sockets[i].name);
        packet.descriptors.emplace_back(::fcntl(offer.sockets[i].fd, F_DUPFD_CLOEXEC, 0));
        if (!packet.descriptors.back().is_open()) return false;
      }
      packet.bytes = encode(m);
      queue_.push_back(std::move(packet));
    }
    for (size_t at = 0; at < offer.state.size(); at += chunk_bytes)
      queue_.push_back({encode({"state", {}, offer.state.substr(at, chunk_bytes)}), {}});
    queue_.push_back({encode({"end", {}, {}}), {}});
    return true;
  }

  /// False if the visit is over.
  bool flush() {
    while (!queue_.empty()) {
      std::vector<int> fds;
      for (const auto& d : queue_.front().descriptors) fds.push_back(d.fd());
      const auto status = send_packet(visitor_.fd(), queue_.front().bytes, fds);
      if (status == packet_status::would_block) return true;
      if (status != packet_status::ok) {
        fail({"gone", "it ended before it served"});
        return false;
      }
      queue_.pop_front();
    }
    return true;
  }

  loop& loop_;
  const std::string path_, version_;
  const callbacks on_;
  const handover_times times_;
  descriptor listener_, visitor_;
  io_member<giver> on_listener_{*this, &giver::accept_all}, on_visitor_{*this, &giver::on_visitor};
  dev_t device_ = 0;
  ino_t inode_ = 0;
  handover_party who_;
  step step_ = step::hello;
  std::deque<outgoing> queue_;
  timer deadline_;
};

}  // namespace

base::result<std::unique_ptr<handover_giver>> handover_giver::open(loop& l, const std::string& path,
                                                                   std::string version, callbacks on,
                                                                   handover_times times) {
  auto listener = listen_at_path(path);
  if (!listener) return tl::unexpected(listener.error());
  auto made = std::make_unique<giver>(l, path, std::move(version), std::move(on), times, std::move(*listener));
  if (!made->watch()) return base::fail("cannot_bind", path + ": the kernel cannot watch the socket");
  return made;
}

}  // namespace sluice::runtime
