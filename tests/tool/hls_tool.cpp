// An FLV file as HLS, for tests of the segmenter without a server.
//
//   hls_tool FILE.flv DIRECTORY [--format ts|fmp4] [--target MS] [--window MS] [--resume K]
//
// DIRECTORY gets all segments and initialisation segments, every version of the playlist (v0000.m3u8 …), the last one
// (index.m3u8), master.m3u8 and states.txt (the state at each segment's begin). With --resume the first K segments are
// left to another server: this one begins with the state and the headers at the begin of segment K (counted from 0).
// Exit code 3: no muxer for that format.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "media/bridge/hls_stream.hpp"
#include "proto/flv/file.hpp"

namespace {

using namespace sluice;
namespace fs = std::filesystem;

struct options {
  std::string input;
  fs::path directory;
  media::hls_settings settings;
  uint32_t target_ms = 2000;
  size_t resume = 0;
};

std::optional<options> parse(int argc, char** argv) {
  if (argc < 3) return std::nullopt;
  options o;
  o.input = argv[1];
  o.directory = argv[2];
  for (int i = 3; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--format") {
      o.settings.format = value == "ts" ? media::container::mpegts : media::container::fmp4;
    } else if (name == "--target") {
      o.target_ms = static_cast<uint32_t>(std::stoul(value));
    } else if (name == "--window") {
      o.settings.window_ms = static_cast<uint32_t>(std::stoul(value));
    } else if (name == "--resume") {
      o.resume = std::stoul(value);
    } else {
      return std::nullopt;
    }
  }
  return o;
}

void write(const fs::path& path, base::bytes_view bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

// Writes what a window has got anew.
class recorder {
 public:
  recorder(const options& o, const media::hls_window& window) : options_(o), window_(window) {}

  void record() {
    if (window_.revision() == seen_) return;
    seen_ = window_.revision();
    const auto& text = window_.media_playlist();
    write(options_.directory / fmt::format("v{:04}.m3u8", versions_++), base::as_bytes(text));
    write(options_.directory / "index.m3u8", base::as_bytes(text));
    write(options_.directory / "master.m3u8", base::as_bytes(window_.master_playlist("index.m3u8")));
    size_t at = 0;
    while (at < text.size()) {
      const size_t end = text.find('\n', at);
      const std::string line = text.substr(at, end - at);
      at = end == std::string::npos ? text.size() : end + 1;
      const size_t quote = line.find("URI=\"");
      if (quote != std::string::npos) {
        save(line.substr(quote + 5, line.size() - quote - 6));
      } else if (!line.empty() && line[0] != '#') {
        save(line);
      }
    }
  }

 private:
  void save(const std::string& name) {
    if (!saved_.insert(name).second) return;
    if (const auto file = window_.find(name)) write(options_.directory / name, base::as_bytes(*file->bytes));
  }
  const options& options_;
  const media::hls_window& window_;
  uint64_t seen_ = 0;
  unsigned versions_ = 0;
  std::set<std::string> saved_;
};

std::string line_of(const media::segment_state& s) {
  return fmt::format("{} {} {} {} {} {} {}\n", s.number, s.begin_ms, s.zero_wall_ms, s.discontinuities, s.target_ms,
                     s.advertised_s, s.discontinuity ? 1 : 0);
}

std::vector<media::frame> read_frames(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  flv::reader reader(8u << 20, rtmp::message_headroom);
  base::bytes_view rest = base::as_bytes(bytes);
  std::vector<media::frame> frames;
  for (;;) {
    auto tag = reader.next(rest);
    if (!tag || !*tag) return frames;
    rtmp::message m;
    m.type = (*tag)->type;
    m.payload = std::move((*tag)->body);
    frames.push_back(media::make_frame(std::move(m), (*tag)->timestamp, {}, true));
  }
}

int run(const options& o) {
  constexpr uint64_t first_number = 1767225600;  // 2026-01-01, as a wall clock would say
  media::hls_window all("a-b c", o.settings, media::make_segment_muxer),
      later("a-b c", o.settings, media::make_segment_muxer);
  all.begin_publication(first_number, static_cast<int64_t>(first_number) * 1000, o.target_ms);
  auto& window = o.resume > 0 ? later : all;
  recorder to(o, window);
  std::string states;
  size_t begun = 0;
  for (const auto& f : read_frames(o.input)) {
    const bool begins = all.add(f);
    if (begins && begun++ == o.resume && o.resume > 0) later.resume(all.state(), all.headers());
    if (begins) states += line_of(all.state());
    if (o.resume > 0) later.add(f);
    to.record();
  }
  window.end(true);
  to.record();
  write(o.directory / "states.txt", base::as_bytes(states));
  return window.revision() > 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const auto o = parse(argc, argv);
  if (!o) {
    std::fputs("usage: hls_tool FILE.flv DIRECTORY [--format ts|fmp4] [--target MS] [--window MS] [--resume K]\n",
               stderr);
    return 2;
  }
  if (o->settings.format && !media::make_segment_muxer(*o->settings.format)) return 3;
  fs::create_directories(o->directory);
  return run(*o);
}
