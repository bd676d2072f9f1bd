#include "roles/run.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>
#include <utility>

#include "roles/child.hpp"
#include "roles/demo.hpp"
#include "roles/run_plan.hpp"

namespace sluice::roles {
namespace {

using testing::HasSubstr;
using testing::Not;
using namespace std::chrono_literals;

std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const auto& part : parts) out += part + " ";
  return out;
}

run_config two_origins() {
  run_config config;
  config.origins = 2;
  config.proxy.rtmp.at = *base::endpoint::parse("[::]:0");
  config.proxy.http_api.at = *base::endpoint::parse("127.0.0.1:1985");
  config.proxy.system_api.at = *base::endpoint::parse("[::]:0");
  config.proxy.grace_quit = 5s;
  config.proxy.force_quit = 10s;
  return config;
}

TEST(RunPlan, ReadyLines) {
  const auto line = parse_ready_line(
      R"({"phase":"ready","rtmp":"[::]:40001","http":"[::]:40004","http_api":"127.0.0.1:40002","system_api":"127.0.0.1:40003"})");
  ASSERT_TRUE(line);
  EXPECT_EQ(line->rtmp->port, 40001);
  EXPECT_EQ(line->http->port, 40004);
  EXPECT_EQ(line->http_api->port, 40002);
  EXPECT_EQ(line->system_api->port, 40003);
  EXPECT_TRUE(parse_ready_line(R"({"phase":"api","system_api":"127.0.0.1:1"})"));
  for (const char* text : {"", "x", "[]", "{}", R"({"phase":"other"})", R"({"phase":"api"})", R"({"phase":1})"}) {
    EXPECT_FALSE(parse_ready_line(text)) << text;
  }
}

TEST(RunPlan, CommandLinesKeepRealPorts) {
  const auto config = two_origins();
  proxy_addresses at(config.proxy);
  EXPECT_THAT(joined(proxy_command(config, at, 2, 9)), HasSubstr("sluice proxy --rtmp-server [::]:0 "));
  at.learn(*parse_ready_line(R"({"phase":"ready","rtmp":"[::]:40001","http":"[::]:40004","system_api":"[::]:40003"})"));
  const auto again = joined(proxy_command(config, at, 2, 9));
  EXPECT_THAT(again, HasSubstr("--rtmp-server [::]:40001 "));
  EXPECT_THAT(again, HasSubstr("--http-api 127.0.0.1:1985 "));
  EXPECT_THAT(again, HasSubstr("--http-server [::]:40004 "));
  EXPECT_THAT(again, HasSubstr("--system-api [::]:40003 "));
  EXPECT_THAT(again, HasSubstr("--wait-origins 2 --ready-fd 9 "));
  const auto origin = joined(origin_command(config, at, "host", 2));
  EXPECT_THAT(origin, HasSubstr("sluice origin --rtmp 127.0.0.1:0 --http 127.0.0.1:0 --api 127.0.0.1:0 "));
  EXPECT_THAT(origin, HasSubstr("--register http://127.0.0.1:40003/api/v1/srs/register --server-id host-run-2 "));
}

TEST(RunPlan, WelcomeHasRealAddresses) {
  auto config = two_origins();
  proxy_addresses at(config.proxy);
  at.learn(*parse_ready_line(R"({"phase":"ready","rtmp":"[::]:40001","http":"[::]:40004","system_api":"[::]:40003"})"));
  const auto text = welcome(config, at, 2);
  EXPECT_THAT(text, HasSubstr("ffmpeg -re -i in.mp4 -c copy -f flv rtmp://127.0.0.1:40001/live/livestream"));
  EXPECT_THAT(text, HasSubstr("ffplay rtmp://127.0.0.1:40001/live/livestream"));
  EXPECT_THAT(text, HasSubstr("http://127.0.0.1:40003/metrics"));
  EXPECT_THAT(text, HasSubstr("http://127.0.0.1:40004/?stream=live/livestream\n"));
  EXPECT_THAT(text, HasSubstr("From other machines"));
  config.proxy.advertise = {*base::ip_address::parse("192.0.2.1")};
  EXPECT_THAT(welcome(config, at, 2), HasSubstr("rtmp://192.0.2.1:40001/live"));
  config.demo = true;
  EXPECT_THAT(welcome(config, at, 2), HasSubstr("http://192.0.2.1:40004/?stream=live/demo&autoplay=1\n"));
  at.rtmp = *base::endpoint::parse("[::1]:5");
  EXPECT_THAT(welcome(config, at, 2), HasSubstr("rtmp://[::1]:5/live/livestream"));
  EXPECT_THAT(welcome(config, at, 2), Not(HasSubstr("From other machines")));
}

TEST(Demo, CommandPublishesThroughTheProxy) {
  const auto at = *base::endpoint::parse("[::1]:40001");
  const auto plain = joined(demo_command(at, ""));
  EXPECT_THAT(plain, HasSubstr("-f flv rtmp://[::1]:40001/live/demo "));
  EXPECT_THAT(plain, HasSubstr("-i testsrc2=size=640x360:rate=25 "));
  const auto clock = joined(demo_command(at, "/fonts/a.ttf"));
  EXPECT_THAT(clock, HasSubstr(",drawtext=fontfile=/fonts/a.ttf:"));
  EXPECT_THAT(clock, HasSubstr(R"(%{gmtime\:%H\\\:%M\\\:%S}.%{eif\:floor(1000*mod(time(0)\,1))\:d\:3} UTC)"));
}

TEST(Demo, ProgramsAreFoundByThePathOfTheEnvironment) {
  EXPECT_EQ(find_program("sh", {"HOME=/", "PATH=/no/such:/bin:/usr/bin"}), "/bin/sh");
  EXPECT_EQ(find_program("sh", {"PATH=:/no/such"}), "");
  EXPECT_EQ(find_program("sh", {}), "");
  EXPECT_EQ(find_program("bin", {"PATH=/usr"}), "") << "a folder is no program";
  EXPECT_EQ(find_program("passwd", {"PATH=/etc"}), "") << "nor is what cannot be executed";
}

TEST(RestartBackoff, DoublesUpToFiveSecondsAndForgetsAfterHealth) {
  restart_backoff backoff;
  const base::duration expected[] = {100ms, 200ms, 400ms, 800ms, 1600ms, 3200ms, 5s, 5s};
  for (const auto delay : expected) EXPECT_EQ(backoff.after(1s), delay);
  EXPECT_EQ(backoff.after(10s), 100ms);
  EXPECT_EQ(backoff.after(0s), 200ms);
}

class silent_log final : public base::log_sink {
 public:
  bool enabled(base::log_level) const override { return false; }
  void write(base::log_level, std::string_view, std::span<const base::log_field>) override {}
};

/// A supervisor in a process of its own, over fake children (a shell script) that report through a pipe which they and
/// the supervisor hold: a line for each start, and the end of the pipe when all are gone.
class supervised_cluster {
 public:
  explicit supervised_cluster(const std::string& mode, const std::string& path_of_ffmpeg = {}) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("pipe");
    report_ = ends[0];
    ::fcntl(report_, F_SETFD, FD_CLOEXEC);
    auto config = two_origins();
    config.program = SLUICE_GOLDEN_DIR "/../unit/app/fake_child.sh";
    config.proxy_environment = {"PATH=/usr/bin:/bin", "REPORT=" + std::to_string(ends[1]), "MODE=" + mode};
    config.origin_environment = config.proxy_environment;
    config.demo = !path_of_ffmpeg.empty();
    config.foreign_environment = {"PATH=" + path_of_ffmpeg, config.proxy_environment[1], config.proxy_environment[2]};
    supervisor_ = ::fork();
    if (supervisor_ == 0) {
      ::close(STDOUT_FILENO);
      ::open("/dev/null", O_WRONLY);
      silent_log log;
      ::_exit(run_cluster(config, log));
    }
    ::close(ends[1]);
  }
  ~supervised_cluster() {
    if (supervisor_ > 0) {
      ::kill(supervisor_, SIGKILL);
      ::waitpid(supervisor_, nullptr, 0);
    }
    ::close(report_);
  }

  pid_t pid() const { return supervisor_; }
  void signal(int signo) const { ::kill(supervisor_, signo); }
  int exit_code() {
    int status = 0;
    ::waitpid(std::exchange(supervisor_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  /// Goes on sending SIGTERM, as someone impatient does, until the supervisor ends.
  int exit_code_when_signalled_again() {
    int status = 0;
    while (::waitpid(supervisor_, &status, WNOHANG) == 0) {
      ::kill(supervisor_, SIGTERM);
      ::poll(nullptr, 0, 20);
    }
    supervisor_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  /// The next line of a child; empty when all processes are gone.
  std::string line() {
    std::string out;
    for (char c; ::read(report_, &c, 1) == 1 && c != '\n';) out += c;
    return out;
  }

 private:
  pid_t supervisor_ = -1;
  int report_ = -1;
};

TEST(Supervisor, StartsProxyThenOriginsAndStopsThemInOrder) {
  supervised_cluster cluster("good");
  EXPECT_THAT(cluster.line(), HasSubstr("proxy --rtmp-server [::]:0"));
  std::vector<std::string> origins{cluster.line(), cluster.line()};
  EXPECT_THAT(origins, testing::UnorderedElementsAre(HasSubstr("-run-1 "), HasSubstr("-run-2 ")));
  for (const auto& line : origins) EXPECT_THAT(line, HasSubstr("--register http://127.0.0.1:4243/api/v1/srs/register"));
  cluster.signal(SIGTERM);
  EXPECT_EQ(cluster.line(), "proxy stopped");
  EXPECT_EQ(cluster.line(), "origin stopped");
  EXPECT_EQ(cluster.line(), "origin stopped");
  EXPECT_EQ(cluster.exit_code(), 0);
  EXPECT_EQ(cluster.line(), "");
}

TEST(Supervisor, ProxyThatCrashesComesBackOnItsRealPorts) {
  supervised_cluster cluster("crash-proxy");
  EXPECT_THAT(cluster.line(), HasSubstr("proxy --rtmp-server [::]:0"));
  std::vector<std::string> lines{cluster.line(), cluster.line(), cluster.line()};
  EXPECT_THAT(lines, testing::Contains(testing::AllOf(HasSubstr("proxy --rtmp-server 127.0.0.1:4242"),
                                                      HasSubstr("--system-api 127.0.0.1:4243"))));
  cluster.signal(SIGINT);
  EXPECT_EQ(cluster.exit_code(), 0);
}

TEST(Supervisor, ChildThatCannotStartEndsTheCluster) {
  supervised_cluster proxy("fail-proxy");
  EXPECT_EQ(proxy.exit_code(), 1);
  supervised_cluster origin("fail-origin");
  EXPECT_EQ(origin.exit_code(), 1);
}

TEST(Supervisor, TellsChildrenWhomToDieWith) {
  supervised_cluster cluster("good");
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(cluster.line(), HasSubstr("--parent-pid " + std::to_string(cluster.pid()) + " "));
  }
  cluster.signal(SIGTERM);
  EXPECT_EQ(cluster.exit_code(), 0);
}

TEST(DieWith, KillsWhenTheParentEnds) {
  int held[2], told[2];
  ASSERT_EQ(::pipe(held), 0);
  ASSERT_EQ(::pipe(told), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    if (::fork() == 0) {
      die_with(::getppid());
      ::close(told[0]);
      if (::write(told[1], "x", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    for (;;) ::pause();
  }
  ::close(held[1]);
  ::close(told[1]);
  char byte = 0;
  ASSERT_EQ(::read(told[0], &byte, 1), 1);
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  EXPECT_EQ(::read(held[0], &byte, 1), 0) << "blocks until the child, which holds the other end, is gone";
  ::close(held[0]);
  ::close(told[0]);
}

TEST(DieWith, LeavesWhenTheParentIsAnotherAlready) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(die_with(::getpid()), testing::ExitedWithCode(0), "");
}

/// A folder in which the fake child is called ffmpeg.
struct fake_ffmpeg {
  fake_ffmpeg() {
    ::mkdtemp(folder.data());
    if (::symlink(SLUICE_GOLDEN_DIR "/../unit/app/fake_child.sh", (folder + "/ffmpeg").c_str()) != 0)
      ADD_FAILURE() << "cannot make a link in " << folder;
  }
  ~fake_ffmpeg() {
    ::unlink((folder + "/ffmpeg").c_str());
    ::rmdir(folder.c_str());
  }
  std::string folder = testing::TempDir() + "sluice-ffmpeg-XXXXXX";
  std::string path() const { return folder + ":/usr/bin:/bin"; }
};

TEST(Supervisor, DemoIsPublishedAndStoppedWithTheRest) {
  const fake_ffmpeg ffmpeg;
  supervised_cluster cluster("good", ffmpeg.path());
  std::vector<std::string> lines;
  for (int i = 0; i < 4; ++i) lines.push_back(cluster.line());
  EXPECT_THAT(lines, testing::Contains(HasSubstr("rtmp://127.0.0.1:4242/live/demo")));
  cluster.signal(SIGTERM);
  lines.clear();
  for (int i = 0; i < 4; ++i) lines.push_back(cluster.line());
  EXPECT_THAT(lines, testing::Contains("-nostdin stopped"));
  EXPECT_EQ(cluster.exit_code(), 0);
}

TEST(Supervisor, DemoThatFailsIsTriedAgainAndTheClusterGoesOn) {
  const fake_ffmpeg ffmpeg;
  supervised_cluster cluster("fail--nostdin", ffmpeg.path());
  size_t with_clock = 0, without = 0;
  for (int i = 0; i < 6; ++i) {  // the proxy, two origins, three attempts
    const auto line = cluster.line();
    if (line.find("-nostdin") != line.npos) ++(line.find("drawtext") != line.npos ? with_clock : without);
  }
  EXPECT_EQ(with_clock + without, 3u);
  EXPECT_GE(without, 1u) << "the clock may have been the reason";
  cluster.signal(SIGTERM);
  EXPECT_EQ(cluster.exit_code(), 0);
}

TEST(Supervisor, DemoWithoutFfmpegLeavesTheClusterAlone) {
  supervised_cluster cluster("good", "/no/such/folder");
  for (int i = 0; i < 3; ++i) EXPECT_THAT(cluster.line(), Not(HasSubstr("-nostdin")));
  cluster.signal(SIGTERM);
  EXPECT_EQ(cluster.line(), "proxy stopped");
  EXPECT_EQ(cluster.line(), "origin stopped");
  EXPECT_EQ(cluster.line(), "origin stopped");
  EXPECT_EQ(cluster.exit_code(), 0);
}

TEST(Supervisor, ChildrenDieWithAKilledSupervisor) {
  supervised_cluster cluster("good");
  for (int i = 0; i < 3; ++i) EXPECT_THAT(cluster.line(), HasSubstr("--"));
  cluster.signal(SIGKILL);
  EXPECT_EQ(cluster.line(), "");  // blocks until every holder of the pipe is gone
}

TEST(Supervisor, SecondSignalKillsAtOnce) {
  supervised_cluster cluster("stubborn");
  for (int i = 0; i < 3; ++i) EXPECT_THAT(cluster.line(), HasSubstr("--"));
  cluster.signal(SIGTERM);
  EXPECT_EQ(cluster.line(), "proxy asked");
  EXPECT_EQ(cluster.exit_code_when_signalled_again(), 0);
}

}  // namespace
}  // namespace sluice::roles
