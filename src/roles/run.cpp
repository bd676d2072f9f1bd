#include "roles/run.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "roles/child.hpp"
#include "roles/demo.hpp"
#include "roles/run_plan.hpp"
#include "runtime/loop.hpp"
#include "runtime/process.hpp"

namespace sluice::roles {
namespace {

using base::duration;
using base::time_point;

constexpr duration second_signal_after = std::chrono::milliseconds(300);

time_point now() { return runtime::loop::monotonic_now(); }

/// A descriptor that is closed with its owner.
class owned_fd {
 public:
  explicit owned_fd(int fd = -1) : fd_(fd) {}
  owned_fd(const owned_fd&) = delete;
  owned_fd& operator=(const owned_fd&) = delete;
  ~owned_fd() { reset(); }
  int get() const { return fd_; }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_;
};

/// Blocks the signals that stop a cluster, and delivers them through a descriptor; undone when destroyed.
class stop_signals {
 public:
  stop_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signo : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signo);
    ::sigprocmask(SIG_BLOCK, &set, &before_);
    ::signal(SIGPIPE, SIG_IGN);  // `sluice run | head` must not end the cluster
    fd_.reset(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    if (fd_.get() < 0) throw std::runtime_error(fmt::format("signalfd: {}", std::strerror(errno)));
  }
  ~stop_signals() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  int fd() const { return fd_.get(); }
  /// Whether one has come since it was last asked.
  bool take() {
    bool any = false;
    for (signalfd_siginfo info; ::read(fd_.get(), &info, sizeof info) == sizeof info;) any = true;
    return any;
  }

 private:
  sigset_t before_;
  owned_fd fd_;
};

/// One place in the cluster: a process, or the wait for its next start.
struct slot {
  enum class kind : uint8_t { proxy, origin, demo };
  kind what = kind::proxy;
  unsigned index = 0;  ///< the origin's number, from 1
  std::optional<child> process = std::nullopt;
  time_point started{};
  time_point restart_at = base::never;
  unsigned starts = 0;
  bool was_ready = false;
  restart_backoff backoff{};

  std::string name() const {
    return what == kind::proxy ? "proxy" : what == kind::demo ? "demo" : fmt::format("origin-{}", index);
  }
};

class supervisor {
 public:
  supervisor(const run_config& config, base::log_sink& log)
      : config_(config),
        log_(log),
        origins_(config.origins ? config.origins : runtime::usable_cpus()),
        at_(config.proxy),
        slots_(1 + origins_) {
    for (unsigned i = 1; i < slots_.size(); ++i) {
      slots_[i].what = slot::kind::origin;
      slots_[i].index = i;
    }
    if (config.demo) slots_.emplace_back().what = slot::kind::demo;
    char name[HOST_NAME_MAX + 1] = {};
    ::gethostname(name, HOST_NAME_MAX);
    host_name_ = name;
  }

  int run() {
    start(slots_[0]);
    while (!finished()) {
      wait_for_events();
      for (auto& s : slots_) reap(s);
      if (signals_.take()) on_signals();
      if (stop_asked_at_ == base::never) {
        for (auto& s : slots_) {
          if (s.restart_at <= now()) start(s);
        }
      } else {
        advance_stop();
      }
    }
    log_.info("stopped", {{"reason", failed_ ? "child_failed" : "asked"}});
    return failed_ ? 1 : 0;
  }

 private:
  bool stopping() const { return stop_asked_at_ != base::never; }
  bool finished() const {
    return stopping() &&
           std::none_of(slots_.begin(), slots_.end(), [](const slot& s) { return s.process.has_value(); });
  }

  void start(slot& s) {
    s.restart_at = base::never;
    s.started = now();
    ++s.starts;
    if (s.what == slot::kind::demo) return start_demo(s);
    int pipe_ends[2] = {-1, -1};
    if (s.what == slot::kind::proxy) {
      if (::pipe2(pipe_ends, O_CLOEXEC) < 0) return restart_later(s, fmt::format("pipe: {}", std::strerror(errno)));
      ::fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK);
      ready_pipe_.reset(pipe_ends[0]);
      ready_text_.clear();
    }
    const owned_fd passed(pipe_ends[1]);
    auto command = s.what == slot::kind::proxy ? proxy_command(config_, at_, origins_, passed.get())
                                               : origin_command(config_, at_, host_name_, s.index);
    command.insert(command.end(), {"--parent-pid", std::to_string(::getpid())});
    auto made = child::start(config_.program, command,
                             s.what == slot::kind::proxy ? config_.proxy_environment : config_.origin_environment,
                             passed.get());
    if (!made) return restart_later(s, made.error().text);
    started_as(s, std::move(*made));
  }

  void started_as(slot& s, child made) {
    s.process = std::move(made);
    log_.info("child_started", {{"child", s.name()}, {"child_pid", s.process->pid()}});
  }

  /// The cluster needs no test picture: without ffmpeg it goes on.
  void start_demo(slot& s) {
    const auto program = find_program("ffmpeg", config_.foreign_environment);
    if (program.empty()) {
      log_.warn("no_demo", {{"text",
                             "--demo needs ffmpeg, which is not on the PATH: apt-get install ffmpeg "
                             "fonts-dejavu-core, then start again"}});
      return;
    }
    const auto command = demo_command(reachable(at_.rtmp), demo_clock_ ? demo_font() : std::string());
    auto made = child::start(program, command, config_.foreign_environment, -1);
    if (!made) return restart_later(s, made.error().text);
    started_as(s, std::move(*made));
  }

  void restart_later(slot& s, const std::string& why) {
    const auto delay = s.backoff.after(now() - s.started);
    s.restart_at = now() + delay;
    log_.warn("child_restarts", {{"child", s.name()},
                                 {"reason", why},
                                 {"delay_ms", std::chrono::duration_cast<std::chrono::milliseconds>(delay).count()}});
  }

  /// What a child that ended means: the end of all if it could never start, else a restart.
  void reap(slot& s) {
    if (!s.process) return;
    const auto exit = s.process->ended();
    if (!exit) return;
    if (s.what == slot::kind::proxy) read_ready_pipe();  // what it said last
    s.process.reset();
    if (stopping()) {
      log_.info("child_stopped", {{"child", s.name()}, {"reason", exit->text()}});
      return;
    }
    if (s.what == slot::kind::demo) {
      // An ffmpeg may have been built without drawtext; if that was not the reason, it is drawn again next time.
      if (now() - s.started < restart_backoff::healthy_after) demo_clock_ = !demo_clock_;
      return restart_later(s, exit->text());
    }
    // The proxy opens its media ports late, when origins have registered; an origin opens its own at once.
    const bool starting =
        s.what == slot::kind::proxy ? !s.was_ready : now() - s.started < restart_backoff::healthy_after;
    const bool hopeless = s.starts == 1 && starting && (exit->code == 1 || exit->code == 127);
    if (!hopeless) return restart_later(s, exit->text());
    log_.log(base::log_level::error, "child_failed",
             {{"child", s.name()}, {"reason", exit->text()}, {"text", "it said why above; stopping the cluster"}});
    failed_ = true;
    stop();
  }

  void wait_for_events() {
    std::vector<pollfd> fds{{signals_.fd(), POLLIN, 0}};
    if (ready_pipe_.get() >= 0) fds.push_back({ready_pipe_.get(), POLLIN, 0});
    auto deadline = next_stop_step_;
    for (const auto& s : slots_) {
      if (s.process) fds.push_back({s.process->exit_fd(), POLLIN, 0});
      if (!stopping()) deadline = std::min(deadline, s.restart_at);
    }
    int timeout_ms = -1;
    if (deadline != base::never) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now()).count();
      timeout_ms = static_cast<int>(std::clamp<int64_t>(left, 0, INT_MAX));
    }
    ::poll(fds.data(), fds.size(), timeout_ms);
    if (ready_pipe_.get() >= 0) read_ready_pipe();
  }

  void read_ready_pipe() {
    char part[4096];
    ssize_t got = 0;
    while ((got = ::read(ready_pipe_.get(), part, sizeof part)) > 0) ready_text_.append(part, static_cast<size_t>(got));
    if (got == 0) ready_pipe_.reset();
    for (size_t end; (end = ready_text_.find('\n')) != std::string::npos;) {
      const auto line = parse_ready_line(std::string_view(ready_text_).substr(0, end));
      if (line) {
        on_ready_line(*line);
      } else {
        log_.warn("bad_ready_line", {{"text", line.error().text}});
      }
      ready_text_.erase(0, end + 1);
    }
  }

  void on_ready_line(const ready_line& line) {
    at_.learn(line);
    if (line.phase == "api") {
      for (auto& s : slots_) {
        if (s.what == slot::kind::origin && s.starts == 0 && !stopping()) start(s);
      }
      return;
    }
    if (!slots_[0].was_ready) {
      std::fputs(welcome(config_, at_, origins_).c_str(), stdout);
      std::fflush(stdout);
    }
    slots_[0].was_ready = true;
    if (auto& last = slots_.back(); last.what == slot::kind::demo && last.starts == 0 && !stopping()) start(last);
  }

  void on_signals() {
    if (!stopping()) {
      log_.info("stopping", {{"reason", "signal"}});
      stop();
      return;
    }
    // timeout(1) and terminals signal a process and its group: only a later signal is a second one.
    if (now() - stop_asked_at_ < second_signal_after) return;
    log_.warn("killing", {{"reason", "second_signal"}});
    signal_all(SIGKILL);
  }

  /// The test picture and the proxy first: its clients may end in peace while the origins still serve it.
  void stop() {
    stop_asked_at_ = now();
    next_stop_step_ = stop_asked_at_ + config_.proxy.grace_quit;
    if (slots_[0].process) slots_[0].process->signal(SIGTERM);
    if (auto& last = slots_.back(); last.what == slot::kind::demo && last.process) last.process->signal(SIGTERM);
  }

  void advance_stop() {
    if (!origins_asked_ && (!slots_[0].process || now() >= next_stop_step_)) {
      origins_asked_ = true;
      next_stop_step_ = stop_asked_at_ + config_.proxy.forced_end();
      signal_all(SIGTERM);
    } else if (origins_asked_ && now() >= next_stop_step_) {
      log_.warn("killing", {{"reason", "force_quit_timeout"}});
      next_stop_step_ = base::never;
      signal_all(SIGKILL);
    }
  }

  void signal_all(int signo) {
    for (const auto& s : slots_) {
      if (s.process) s.process->signal(signo);
    }
  }

  const run_config& config_;
  base::log_sink& log_;
  const unsigned origins_;
  proxy_addresses at_;
  std::string host_name_;
  stop_signals signals_;
  owned_fd ready_pipe_;
  std::string ready_text_;
  std::vector<slot> slots_;  // the proxy, then the origins, then the demonstration
  bool demo_clock_ = true;   // draw one
  bool failed_ = false;
  bool origins_asked_ = false;
  time_point stop_asked_at_ = base::never;
  time_point next_stop_step_ = base::never;
};

}  // namespace

int run_cluster(const run_config& config, base::log_sink& log) { return supervisor(config, log).run(); }

}  // namespace sluice::roles
