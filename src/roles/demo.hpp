#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/endpoint.hpp"

/// The test picture of `sluice run --demo`: ffmpeg publishes it to the proxy as an encoder would.
namespace sluice::roles {

/// `app/stream` that it is published as.
inline constexpr std::string_view demo_stream = "live/demo";

/// The file that `name` stands for by the PATH of `environment` (`NAME=value`); empty if there is none.
std::string find_program(std::string_view name, const std::vector<std::string>& environment);

/// A font of Debian's fonts-dejavu-core for the clock; empty if it is not installed.
std::string demo_font();

/// The arguments of ffmpeg, with its own name first: a moving picture of 640x360 at 25 frames a second, a keyframe
/// every second, about 600 kb/s, and a quiet beep every second. `font` is the file of one, for a clock in UTC with
/// milliseconds; if it is empty there is the counter that the picture itself has.
std::vector<std::string> demo_command(const base::endpoint& rtmp, std::string_view font);

}  // namespace sluice::roles
