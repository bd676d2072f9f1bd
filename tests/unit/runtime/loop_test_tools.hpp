#pragma once

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <cstdint>
#include <functional>
#include <iterator>

#include "runtime/loop.hpp"
#include "runtime/tcp.hpp"

namespace sluice::runtime {

/// The loopback address with a port of the kernel's choice.
inline base::endpoint any_port() { return {base::ip_address::v4({127, 0, 0, 1}), 0}; }

/// Makes the system call of that number fail with `error` on this thread and those it starts from now on: for a process
/// of the test's own.
inline bool forbid_call(long number, int error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),  // seccomp_data::nr
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{std::size(program), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

/// A loop for one test: run() ends by stop(), or fails the test after ten seconds.
class loop_test : public ::testing::Test {
 protected:
  void run() {
    timer guard(loop_, [this] {
      ADD_FAILURE() << "the loop was not stopped in time";
      loop_.stop();
    });
    guard.arm_after(std::chrono::seconds(10));
    loop_.run();
  }
  /// Runs until all that is posted now has been done.
  void run_posted() {
    loop_.post([this] { loop_.stop(); });
    run();
  }

  loop loop_;
};

/// A handler made of a function.
class io_function final : public io_handler {
 public:
  explicit io_function(std::function<void(io_ready)> f) : f_(std::move(f)) {}
  void on_io(io_ready ready) override { f_(ready); }

 private:
  std::function<void(io_ready)> f_;
};

}  // namespace sluice::runtime
