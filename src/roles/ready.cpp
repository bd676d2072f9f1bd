#include "roles/ready.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <vector>

namespace sluice::roles {

void report_phase(int ready_fd, std::string_view phase, named_endpoints addresses) {
  if (ready_fd < 0) return;
  std::string line = fmt::format("{{\"phase\":\"{}\"", phase);
  for (const auto& [name, at] : addresses) line += fmt::format(",\"{}\":\"{}\"", name, at.to_string());
  line += "}\n";
  // A supervisor that is gone takes us with it; there is nobody to tell.
  [[maybe_unused]] const auto written = ::write(ready_fd, line.data(), line.size());
}

void log_ready(base::log_sink& log, named_endpoints addresses) {
  std::vector<base::log_field> fields;
  for (const auto& [name, at] : addresses) fields.emplace_back(name, at.to_string());
  if (log.enabled(base::log_level::info)) log.write(base::log_level::info, "ready", fields);
}

int cannot_listen(base::log_sink& log, std::string_view key, const base::endpoint& at, std::string_view reason,
                  std::string_view text) {
  log.log(base::log_level::error, "cannot_listen",
          {{"key", key}, {"address", at.to_string()}, {"reason", reason}, {"text", text}});
  return 1;
}

}  // namespace sluice::roles
