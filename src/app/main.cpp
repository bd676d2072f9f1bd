#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <initializer_list>

#include "app/command_line.hpp"
#include "app/files.hpp"
#include "roles/child.hpp"
#include "roles/operate.hpp"
#include "roles/origin.hpp"
#include "roles/proxy.hpp"
#include "roles/run.hpp"
#include "runtime/process.hpp"

extern char** environ;

namespace {

using namespace sluice;

app::surroundings the_world() {
  app::surroundings around;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    if (const auto equals = text.find('='); equals != text.npos) {
      around.environment.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  around.read_file = app::read_settings_file;
  return around;
}

/// Where the kernel has no IPv6 (ipv6.disable=1), "every address" is 0.0.0.0.
void fit_address_family(std::initializer_list<roles::listen_address*> all) {
  const int probe = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe >= 0) {
    ::close(probe);
    return;
  }
  for (auto* listen : all) {
    if (listen->at.address == base::ip_address()) listen->at.address = base::ip_address::v4({0, 0, 0, 0});
  }
}

void fit_address_family(roles::proxy_config& c) {
  fit_address_family({&c.rtmp, &c.http, &c.http_api, &c.webrtc, &c.srt, &c.system_api});
}

std::unique_ptr<base::log_sink> open_log(const roles::common_config& config, const char* role,
                                         const std::vector<std::string>& warnings) {
  auto log = runtime::make_log(config.log_format, config.log_level, {{"role", role}, {"pid", ::getpid()}});
  for (const auto& text : warnings) log->warn("configuration", {{"text", text}});
  return log;
}

int start_proxy(app::invocation& asked) {
  if (asked.proxy.parent_pid > 0) roles::die_with(asked.proxy.parent_pid);
  fit_address_family(asked.proxy);
  const auto log = open_log(asked.proxy, "proxy", asked.warnings);
  return roles::run_proxy(asked.proxy, *log);
}

int start_origin(app::invocation& asked) {
  if (asked.origin.parent_pid > 0) roles::die_with(asked.origin.parent_pid);
  fit_address_family({&asked.origin.rtmp, &asked.origin.http, &asked.origin.api});
  const auto log = open_log(asked.origin, "origin", asked.warnings);
  return roles::run_origin(asked.origin, *log);
}

int start_cluster(app::invocation& asked) {
  fit_address_family(asked.run.proxy);
  asked.run.program = "/proc/self/exe";
  const auto log = open_log(asked.run, "run", asked.warnings);
  return roles::run_cluster(asked.run, *log);
}

int operate(const app::invocation& asked) {
  const auto outcome = roles::run_operation(asked.operation);
  if (outcome) {
    std::fputs(outcome->c_str(), stdout);
  } else {
    std::fprintf(stderr, "sluice: %s\n", outcome.error().text.c_str());
  }
  return outcome ? 0 : 1;
}

}  // namespace

/// The composition root: what was asked is parsed once into a const configuration, and the role is handed that and a
/// log.
int main(int argc, char** argv) try {
  ::prctl(PR_SET_NAME, "sluice");  // a child of `run` is executed as /proc/self/exe, and would be called "exe"
  auto asked = app::parse_command_line({argv + 1, argv + argc}, the_world());
  std::fputs(asked.out.c_str(), stdout);
  std::fputs(asked.err.c_str(), stderr);
  switch (asked.what) {
    case app::command::proxy:
      return start_proxy(asked);
    case app::command::origin:
      return start_origin(asked);
    case app::command::run:
      return start_cluster(asked);
    case app::command::operate:
      return operate(asked);
    case app::command::version:
      std::puts("sluice " SLUICE_VERSION);
      return 0;
    case app::command::none:
      return asked.exit_code;
  }
} catch (const std::exception& e) {
  std::fprintf(stderr, "sluice: %s\n", e.what());
  return 1;
}
