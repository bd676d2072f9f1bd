#include "runtime/socket_handover.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <mutex>
#include <thread>

#include "loop_test_tools.hpp"
#include "runtime/handover_socket.hpp"
#include "runtime/process.hpp"
#include "runtime/shard.hpp"

namespace sluice::runtime {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

/// Two processes in one: the giver lives on a thread of its own, the taker on the test's.
class socket_handover : public loop_test {
 protected:
  socket_handover() {
    fs::create_directory(folder_);
    other_.start();
  }
  ~socket_handover() override {
    there([this] { giver_.reset(); });
    other_.stop();
    fs::remove_all(folder_);
  }

  void there(const std::function<void()>& task) {
    std::promise<void> done;
    other_.loop().post([&] {
      task();
      done.set_value();
    });
    done.get_future().get();
  }

  /// What the giver's callbacks have said so far.
  std::vector<std::string> said() {
    const std::lock_guard lock(mutex_);
    return said_;
  }
  void say(std::string what) {
    const std::lock_guard lock(mutex_);
    said_.push_back(std::move(what));
    more_said_.notify_all();
  }
  void await_said(const std::string& what) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(more_said_.wait_for(lock, 10s, [&] { return !said_.empty() && said_.back() == what; }))
        << what << ", not " << (said_.empty() ? "nothing" : said_.back());
  }

  void give(handover_times times = {}) {
    handover_giver::callbacks on;
    on.offer = [this] { return offer_; };
    on.begun = [this](const handover_party& to) { say("begun " + to.version); };
    on.taken = [this](const handover_party& to) {
      say("taken " + to.version);
      giver_.reset();
    };
    on.failed = [this](const handover_party&, const base::error& e) { say("failed " + std::string(e.reason)); };
    there([&] {
      auto opened = handover_giver::open(other_.loop(), path_, "1.0", on, times);
      ASSERT_TRUE(opened) << opened.error().text;
      giver_ = std::move(*opened);
    });
  }

  std::unique_ptr<handover_taker> take(handover_times times = {}) {
    auto taker = handover_taker::connect(path_, "2.0", times);
    EXPECT_TRUE(taker) << taker.error().text;
    return taker ? std::move(*taker) : nullptr;
  }
  base::result<void> finish(handover_taker& taker) {
    base::result<void> outcome;
    taker.ready(loop_, [&](base::result<void> r) {
      outcome = std::move(r);
      loop_.stop();
    });
    run();
    return outcome;
  }
  /// As some program that connects there.
  descriptor visit() {
    auto fd = connect_to_path(path_);
    EXPECT_TRUE(fd && *fd);
    return std::move(**fd);
  }
  static base::result<handover_message> answer_to(const descriptor& fd, std::string_view packet) {
    EXPECT_EQ(send_packet(fd.fd(), packet, {}), packet_status::ok);
    EXPECT_TRUE(await_readable(fd.fd(), loop::monotonic_now() + 10s));
    return decode_handover(receive_packet(fd.fd()).bytes);
  }

  const fs::path folder_ = fs::temp_directory_path() / ("sluice-test-" + random_id(12));
  const std::string path_ = folder_ / "upgrade.sock";
  base::result<handover_offer> offer_ = handover_offer{{}, "state"};
  shard other_{0};
  std::unique_ptr<handover_giver> giver_;  // of the other thread
  std::mutex mutex_;
  std::condition_variable more_said_;
  std::vector<std::string> said_;  // guarded by mutex_
};

TEST_F(socket_handover, who_waits_in_a_queue_is_served_by_the_next_process) {
  auto listener = *tcp_listener::open(any_port(), {});
  const auto at = listener.local();
  const int old = listener.release();
  offer_->sockets = {{"rtmp", old}};
  give();
  // It has connected, as far as it knows, and nobody has accepted it.
  std::optional<tcp_stream> client;
  tcp_connector connector(loop_, at, 5s, [&](base::result<tcp_stream> s) {
    ASSERT_TRUE(s);
    client = std::move(*s);
    loop_.stop();
  });
  run();
  auto taker = take();
  ASSERT_TRUE(taker);
  EXPECT_EQ(taker->from().version, "1.0");
  EXPECT_EQ(taker->from().pid, ::getpid());
  EXPECT_EQ(taker->take_state(), "state");
  auto handed = taker->take_sockets();
  ASSERT_EQ(handed.size(), 1u);
  EXPECT_EQ(handed[0].name, "rtmp");
  auto adopted = tcp_listener::adopt(std::move(handed[0].fd));
  ASSERT_TRUE(adopted) << adopted.error().text;
  EXPECT_EQ(adopted->local(), at);
  EXPECT_EQ(said(), std::vector<std::string>{"begun 2.0"});
  ASSERT_TRUE(finish(*taker));
  await_said("taken 2.0");
  ::close(old);
  base::endpoint peer;
  auto acceptor = tcp_acceptor::open(loop_, std::move(*adopted), [&](tcp_stream, const base::endpoint& who) {
    peer = who;
    loop_.stop();
  });
  ASSERT_TRUE(acceptor);
  run();
  EXPECT_EQ(peer, client->local());
}

TEST_F(socket_handover, many_sockets_and_much_state) {
  std::vector<descriptor> held;
  for (int i = 0; i < 150; ++i) {
    held.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    offer_->sockets.push_back({"s" + std::to_string(i), held.back().fd()});
  }
  for (int i = 0; i < 300'000; ++i) offer_->state += std::to_string(i);
  give();
  const auto before = descriptors_in_use();
  auto taker = take();
  ASSERT_TRUE(taker);
  EXPECT_EQ(taker->take_state(), offer_->state);
  auto handed = taker->take_sockets();
  ASSERT_EQ(handed.size(), 150u);
  for (size_t i = 0; i < handed.size(); ++i) {
    EXPECT_EQ(handed[i].name, "s" + std::to_string(i));
    struct stat a{}, b{};
    ASSERT_EQ(::fstat(handed[i].fd.fd(), &a), 0);
    ASSERT_EQ(::fstat(held[i].fd(), &b), 0);
    EXPECT_EQ(a.st_ino, b.st_ino) << "the same socket";
  }
  handed.clear();
  EXPECT_TRUE(finish(*taker));
  await_said("taken 2.0");
  taker.reset();
  EXPECT_LT(descriptors_in_use(), before) << "no copy is left, and the listener is closed";
}

TEST_F(socket_handover, a_taker_that_dies_leaves_the_giver_as_it_was) {
  give();
  for (int i = 0; i < 3; ++i) {
    auto taker = take();
    ASSERT_TRUE(taker);
    taker.reset();
    await_said("failed gone");
  }
  auto taker = take();
  ASSERT_TRUE(taker);
  EXPECT_TRUE(finish(*taker));
  await_said("taken 2.0");
}

TEST_F(socket_handover, one_at_a_time) {
  give();
  auto first = take();
  ASSERT_TRUE(first);
  const auto second = handover_taker::connect(path_, "3.0");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().reason, "refused");
  EXPECT_TRUE(second.error().text.starts_with("busy: ")) << second.error().text;
  EXPECT_TRUE(finish(*first));
}

TEST_F(socket_handover, an_owner_who_has_nothing_to_give_says_so) {
  offer_ = base::fail("stopping", "not now");
  give();
  const auto taker = handover_taker::connect(path_, "2.0");
  ASSERT_FALSE(taker);
  EXPECT_EQ(taker.error().text, "stopping: not now");
  await_said("failed stopping");
}

TEST_F(socket_handover, who_takes_too_long_to_serve_is_told_to_end) {
  give({.ready = 30ms});
  auto taker = take();
  ASSERT_TRUE(taker);
  await_said("failed timeout");
  const auto outcome = finish(*taker);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().reason, "refused");
}

TEST_F(socket_handover, who_says_nothing_more_after_go_has_not_taken) {
  give({.step = 30ms});
  const auto fd = visit();
  ASSERT_EQ(answer_to(fd, encode({"hello", {{"version", "9"}}, {}}))->kind, "sockets");
  ASSERT_TRUE(await_readable(fd.fd(), loop::monotonic_now() + 10s));
  EXPECT_EQ(decode_handover(receive_packet(fd.fd()).bytes)->kind, "state");
  ASSERT_TRUE(await_readable(fd.fd(), loop::monotonic_now() + 10s));
  EXPECT_EQ(decode_handover(receive_packet(fd.fd()).bytes)->kind, "end");
  EXPECT_EQ(answer_to(fd, encode({"ready", {}, {}}))->kind, "go");
  await_said("failed timeout");
  EXPECT_EQ(send_packet(fd.fd(), encode({"taken", {}, {}}), {}), packet_status::closed) << "too late";
}

TEST_F(socket_handover, a_giver_that_dies_is_replaced_all_the_same) {
  give();
  auto taker = take();
  ASSERT_TRUE(taker);
  there([this] { giver_.reset(); });
  EXPECT_TRUE(finish(*taker)) << "this process has the sockets, and is the only one";
}

TEST_F(socket_handover, a_giver_that_hangs_is_not_replaced) {
  give();
  auto taker = take({.step = 30ms});
  ASSERT_TRUE(taker);
  std::promise<void> hangs, go_on;
  other_.loop().post([&] {
    hangs.set_value();
    go_on.get_future().get();
  });
  hangs.get_future().get();
  const auto outcome = finish(*taker);
  taker.reset();
  go_on.set_value();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().reason, "timeout");
  await_said("failed gone");
}

TEST_F(socket_handover, garbage_is_refused) {
  give();
  const std::string cases[] = {"GET / HTTP/1.1\r\n\r\n", encode({"ready", {}, {}}), encode({"taken", {}, {}}),
                               encode({"hullo", {}, {}})};
  for (const auto& packet : cases) {
    const auto answer = answer_to(visit(), packet);
    ASSERT_TRUE(answer) << packet;
    EXPECT_EQ(answer->kind, "refused");
    EXPECT_EQ(answer->field("reason"), "bad_message");
    await_said("failed bad_message");
  }
  const auto other = answer_to(visit(), "sluice-handover 2 hello\n\n");
  ASSERT_TRUE(other);
  EXPECT_EQ(other->field("reason"), "other_version");
  await_said("failed other_version");
  // Descriptors that nobody asked for are closed.
  there([] {});
  const auto before = descriptors_in_use();
  {
    const auto fd = visit();
    const int some[] = {fd.fd(), fd.fd()};
    EXPECT_EQ(send_packet(fd.fd(), encode({"hullo", {}, {}}), some), packet_status::ok);
    ASSERT_TRUE(await_readable(fd.fd(), loop::monotonic_now() + 10s));
  }
  await_said("failed bad_message");
  there([] {});  // it has returned from what said so
  EXPECT_EQ(descriptors_in_use(), before);
  EXPECT_TRUE(take()) << "a proper one is still served";
}

TEST_F(socket_handover, who_connects_and_says_nothing_does_not_stay) {
  give({.step = 30ms});
  const auto fd = visit();
  await_said("failed timeout");
  EXPECT_TRUE(take());
}

TEST_F(socket_handover, nobody_there) {
  EXPECT_FALSE(take()) << "no such file";
  give();
  struct stat at{};
  ASSERT_EQ(::stat(path_.c_str(), &at), 0);
  EXPECT_EQ(at.st_mode & 0777, 0600u);
  there([this] { giver_.reset(); });
  EXPECT_FALSE(fs::exists(path_)) << "it takes its path along";
  {
    const auto stale = listen_at_path(path_);
  }  // as somebody who was killed
  ASSERT_TRUE(fs::exists(path_));
  EXPECT_FALSE(take()) << "a socket that nobody has";
  give();
  EXPECT_TRUE(take());
}

TEST_F(socket_handover, a_file_of_somebodys_is_left_alone) {
  std::ofstream(path_) << "precious";
  const auto taker = handover_taker::connect(path_, "2.0");
  ASSERT_FALSE(taker);
  EXPECT_EQ(taker.error().reason, "bad_path");
  const auto giver = listen_at_path(path_);
  ASSERT_FALSE(giver);
  EXPECT_EQ(giver.error().reason, "bad_path");
  EXPECT_EQ(fs::file_size(path_), 8u);
  EXPECT_EQ(listen_at_path(std::string(200, 'x')).error().reason, "bad_path");
  EXPECT_EQ(handover_taker::connect(std::string(200, 'x'), "").error().reason, "bad_path");
}

TEST_F(socket_handover, the_path_of_the_next_one_is_not_removed) {
  give();
  const auto next = listen_at_path(path_);
  ASSERT_TRUE(next);
  there([this] { giver_.reset(); });
  EXPECT_TRUE(fs::exists(path_));
}

TEST_F(socket_handover, another_users_process_is_refused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be another user";
  give();
  fs::permissions(folder_, fs::perms::all);
  fs::permissions(path_, fs::perms::all);  // else the kernel does not even let it connect
  base::error why;
  std::thread([&] {
    ASSERT_EQ(::syscall(SYS_setresuid, -1, 65534, -1), 0);  // of this thread alone
    const auto taker = handover_taker::connect(path_, "2.0");
    ASSERT_FALSE(taker);
    why = taker.error();
  }).join();
  EXPECT_EQ(why.reason, "refused");
  EXPECT_TRUE(why.text.starts_with("wrong_owner: ")) << why.text;
  await_said("failed wrong_owner");
}

TEST_F(socket_handover, only_a_socket_that_listens_is_adopted) {
  EXPECT_EQ(tcp_listener::adopt(descriptor(::socket(AF_INET, SOCK_STREAM, 0))).error().reason, "not_listening");
  EXPECT_EQ(tcp_listener::adopt(descriptor(::socket(AF_INET, SOCK_DGRAM, 0))).error().reason, "not_listening");
  EXPECT_EQ(tcp_listener::adopt(descriptor(::open("/dev/null", 0))).error().reason, "not_listening");
  EXPECT_EQ(tcp_listener::adopt(std::move(*listen_at_path(path_))).error().reason, "not_listening");
}

}  // namespace
}  // namespace sluice::runtime
