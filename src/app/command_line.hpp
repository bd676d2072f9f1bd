#pragma once

#include <functional>
#include <string>
#include <vector>

#include "app/load.hpp"
#include "base/result.hpp"
#include "roles/config.hpp"
#include "roles/operate.hpp"

namespace sluice::app {

enum class command { proxy, origin, run, operate, version, none };

/// What the process was asked to do.
struct invocation {
  command what = command::none;  ///< none: print and leave
  int exit_code = 0;
  std::string out;  ///< for standard output (help)
  std::string err;  ///< for standard error (what is wrong)
  roles::proxy_config proxy;
  roles::origin_config origin;
  roles::run_config run;
  roles::operate_config operation;
  std::vector<std::string> warnings;
};

/// What parse_command_line() sees of the world, so that a test can make one up.
struct surroundings {
  variables environment;
  std::function<base::result<std::string>(const std::string& path)> read_file;  ///< as read_settings_file()
};

/// `arguments` are those behind the program's name. Never throws for what the user wrote: errors are in the result,
/// with exit_code 1.
invocation parse_command_line(const std::vector<std::string>& arguments, const surroundings& around);

}  // namespace sluice::app
