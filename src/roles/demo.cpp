#include "roles/demo.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sluice::roles {

std::string find_program(std::string_view name, const std::vector<std::string>& environment) {
  constexpr std::string_view variable = "PATH=";
  std::string_view path;
  for (const std::string_view entry : environment)
    if (entry.starts_with(variable)) path = entry.substr(variable.size());
  while (!path.empty()) {
    const auto colon = path.find(':');
    const auto folder = path.substr(0, colon);
    path = colon == path.npos ? std::string_view() : path.substr(colon + 1);
    if (folder.empty()) continue;  // the working directory, to a shell; nothing is run from there unasked
    auto file = fmt::format("{}/{}", folder, name);
    struct stat info{};
    if (::stat(file.c_str(), &info) == 0 && S_ISREG(info.st_mode) && ::access(file.c_str(), X_OK) == 0) return file;
  }
  return {};
}

std::string demo_font() {
  const std::string file = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf";
  return ::access(file.c_str(), R_OK) == 0 ? file : std::string();
}

std::vector<std::string> demo_command(const base::endpoint& rtmp, std::string_view font) {
  std::string picture = "testsrc2=size=640x360:rate=25";
  if (!font.empty()) {
    // Two levels of escapes: of the filter's options, and of the text's functions. time(0) is the wall clock, with its
    // fraction; gmtime has whole seconds only.
    picture += fmt::format(
        ",drawtext=fontfile={}:fontsize=44:fontcolor=white:box=1:boxcolor=black@0.7:boxborderw=12:x=(w-text_w)/"
        "2:y=h-88:"
        "text='%{{gmtime\\:%H\\\\\\:%M\\\\\\:%S}}.%{{eif\\:floor(1000*mod(time(0)\\,1))\\:d\\:3}} UTC'",
        font);
  }
  return {"ffmpeg",
          "-nostdin",
          "-hide_banner",
          "-nostats",
          "-loglevel",
          "error",
          "-re",
          "-f",
          "lavfi",
          "-i",
          picture,
          "-re",
          "-f",
          "lavfi",
          "-i",
          "sine=frequency=330:beep_factor=2:sample_rate=44100,volume=0.06",
          "-c:v",
          "libx264",
          "-preset",
          "ultrafast",
          "-tune",
          "zerolatency",
          "-threads",
          "1",
          "-pix_fmt",
          "yuv420p",
          "-g",
          "25",
          "-keyint_min",
          "25",
          "-sc_threshold",
          "0",
          "-b:v",
          "600k",
          "-maxrate",
          "600k",
          "-bufsize",
          "300k",
          "-c:a",
          "aac",
          "-b:a",
          "64k",
          "-ac",
          "1",
          "-f",
          "flv",
          fmt::format("rtmp://{}/{}", rtmp.to_string(), demo_stream)};
}

}  // namespace sluice::roles
