#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/process.hpp"

// Real servers for tests: each on a port that was free a moment ago, in a directory of its own, killed by its pid.
namespace sluice::runtime {

using namespace std::chrono_literals;

inline uint16_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&at), size), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size), 0);
  close(fd);
  return ntohs(at.sin_port);
}

/// A directory that goes with its owner.
class test_folder {
 public:
  test_folder() : path_(std::filesystem::temp_directory_path() / ("sluice-redis-" + random_id(12))) {
    std::filesystem::create_directories(path_);
  }
  ~test_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ / name; }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name) << text;
    return path_ / name;
  }
  std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A child process whose output is watched for a line that says it is ready. Killed when destroyed.
class child_process {
 public:
  child_process(const std::vector<std::string>& command, const std::string& folder) {
    int out[2];
    EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(out[1], 1);
      dup2(out[1], 2);
      if (chdir(folder.c_str()) != 0) _exit(126);
      std::vector<char*> arguments;
      for (const auto& a : command) arguments.push_back(const_cast<char*>(a.c_str()));
      arguments.push_back(nullptr);
      execvp(arguments[0], arguments.data());
      _exit(127);
    }
    close(out[1]);
    out_ = out[0];
  }
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;
  ~child_process() {
    kill();
    close(out_);
  }

  /// Reads what it says until `text` comes, its end, or the deadline.
  bool says(const std::string& text, std::chrono::milliseconds within = 20s) {
    const auto end = std::chrono::steady_clock::now() + within;
    while (output_.find(text) == std::string::npos) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
      pollfd p{out_, POLLIN, 0};
      char buffer[4096];
      if (left <= 0ms || poll(&p, 1, static_cast<int>(left.count())) <= 0) return false;
      const auto got = read(out_, buffer, sizeof buffer);
      if (got <= 0) return false;
      output_.append(buffer, static_cast<size_t>(got));
    }
    return true;
  }
  /// Its exit status once it has ended by itself.
  int wait() {
    (void)says(std::string(1, '\0'));  // which it does not: until its end
    int status = -1;
    if (pid_ > 0) waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }
  void signal(int number) const {
    if (pid_ > 0) ::kill(pid_, number);
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, -1), nullptr, 0);
  }
  const std::string& output() const { return output_; }

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  std::string output_;
};

/// Runs a program to its end; what it said, or a failure of the test.
inline std::string run_program(const std::vector<std::string>& command, const std::string& folder = "/") {
  child_process p(command, folder);
  EXPECT_EQ(p.wait(), 0) << p.output();
  return p.output();
}

class redis_server {
 public:
  explicit redis_server(std::vector<std::string> settings = {}, uint16_t port = free_port())
      : port_(port), settings_(std::move(settings)) {
    start();
  }
  void start() {
    std::vector<std::string> command{"redis-server", "--save",      "",  "--appendonly", "no", "--bind",
                                     "127.0.0.1",    "--daemonize", "no"};
    // With TLS the plain port is closed.
    if (std::ranges::find(settings_, "--tls-port") == settings_.end())
      command.insert(command.end(), {"--port", std::to_string(port_)});
    command.insert(command.end(), settings_.begin(), settings_.end());
    process_ = std::make_unique<child_process>(command, folder_.path());
    EXPECT_TRUE(process_->says("Ready to accept connections")) << process_->output();
  }
  void kill() { process_->kill(); }
  void signal(int number) { process_->signal(number); }
  uint16_t port() const { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  /// What redis-cli says to that.
  std::string ask(const std::vector<std::string>& command) const { return run_program(cli(command)); }
  /// Whether it says so of itself; not if it does not answer: one that changes its role closes its connections.
  bool has_role(std::string_view role) const {
    child_process p(cli({"ROLE"}), "/");
    (void)p.wait();
    return p.output().starts_with(role);
  }

 private:
  std::vector<std::string> cli(const std::vector<std::string>& command) const {
    std::vector<std::string> all{"redis-cli", "-p", std::to_string(port_)};
    all.insert(all.end(), command.begin(), command.end());
    return all;
  }
  test_folder folder_;
  uint16_t port_;
  std::vector<std::string> settings_;
  std::unique_ptr<child_process> process_;
};

/// A Sentinel that watches the master at `master`, needs `quorum` of its kind, and takes it for dead after a second.
class redis_sentinel_process {
 public:
  redis_sentinel_process(uint16_t master, int quorum, const std::string& more = {}) : port_(free_port()) {
    const auto file = folder_.write(
        "sentinel.conf",
        "port " + std::to_string(port_) + "\nbind 127.0.0.1\ndir " + folder_.path() +
            "\nsentinel monitor mymaster 127.0.0.1 " + std::to_string(master) + " " + std::to_string(quorum) +
            "\nsentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 3000\n"
            "sentinel parallel-syncs mymaster 1\n" +
            more);
    process_ = std::make_unique<child_process>(std::vector<std::string>{"redis-sentinel", file}, folder_.path());
    EXPECT_TRUE(process_->says("+monitor")) << process_->output();
  }
  child_process& process() { return *process_; }
  uint16_t port() const { return port_; }

 private:
  test_folder folder_;
  uint16_t port_;
  std::unique_ptr<child_process> process_;
};

}  // namespace sluice::runtime
