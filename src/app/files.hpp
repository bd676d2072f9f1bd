#pragma once

#include <string>

#include "base/result.hpp"

namespace sluice::app {

/// The text of a file of settings: a regular file, a pipe (waits for its writer) or a device, of 1 MiB at most. Error
/// reasons: no_such_file, cannot_read; the text says why, for people, without the path.
base::result<std::string> read_settings_file(const std::string& path);

}  // namespace sluice::app
