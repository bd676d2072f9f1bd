#include "roles/child.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

namespace sluice::roles {

void die_with(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(0);  // the parent went before the line above took effect
}

namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const auto& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

/// The child's side of the fork: only async-signal-safe calls.
[[noreturn]] void become(const char* program, char* const* arguments, char* const* environment, int pass_fd,
                         pid_t parent) {
  die_with(parent);
  ::setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  if (const int null = ::open("/dev/null", O_RDONLY); null > 0) {
    ::dup2(null, 0);
    ::close(null);
  }
  if (pass_fd >= 0) ::fcntl(pass_fd, F_SETFD, 0);
  ::execve(program, arguments, environment);
  ::_exit(127);
}

}  // namespace

std::string child_exit::text() const {
  return signal ? fmt::format("killed by signal {}", signal) : fmt::format("exit code {}", code);
}

base::result<child> child::start(const std::string& program, const std::vector<std::string>& arguments,
                                 const std::vector<std::string>& environment, int pass_fd) {
  const auto argument_pointers = pointers(arguments);
  const auto environment_pointers = pointers(environment);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) become(program.c_str(), argument_pointers.data(), environment_pointers.data(), pass_fd, parent);
  if (pid < 0) return base::fail("cannot_start", fmt::format("fork: {}", std::strerror(errno)));
  // By number, since the header of glibc 2.36 declares the function with C++ linkage.
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) {
    const int error = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return base::fail("cannot_start", fmt::format("pidfd_open: {}", std::strerror(error)));
  }
  return child(pid, pidfd);
}

child::child(child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::exchange(other.pidfd_, -1)), exit_(other.exit_) {}

child& child::operator=(child&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(pidfd_, other.pidfd_);
  std::swap(exit_, other.exit_);
  return *this;
}

child::~child() {
  if (pid_ > 0 && !exit_) {
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (pidfd_ >= 0) ::close(pidfd_);
}

void child::signal(int signo) const {
  if (pid_ > 0 && !exit_) ::kill(pid_, signo);
}

std::optional<child_exit> child::ended() {
  if (exit_ || pid_ <= 0) return exit_;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  exit_ = WIFSIGNALED(status) ? child_exit{0, WTERMSIG(status)} : child_exit{WEXITSTATUS(status), 0};
  return exit_;
}

}  // namespace sluice::roles
