// ts_mux_tool AUDIO_PES_MS SEGMENT: an FLV file from standard input, as MPEG-TS to standard output. SEGMENT 1: each
// keyframe of video begins a segment. What was left out and broken goes to standard error.

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "media/bridge/ts.hpp"
#include "proto/flv/file.hpp"

using namespace sluice;

namespace {

bool emit(std::vector<uint8_t>& out) {
  const bool ok = std::fwrite(out.data(), 1, out.size(), stdout) == out.size();
  out.clear();
  return ok;
}

media::frame frame_of(flv::tag tag) {
  rtmp::message m{tag.timestamp, tag.type, 1, 4, std::move(tag.body)};
  return media::make_frame(std::move(m), tag.timestamp, {}, true);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  media::ts_bridge bridge({.audio_pes_ms = static_cast<uint32_t>(std::strtoul(argv[1], nullptr, 10))});
  const bool segments = std::strcmp(argv[2], "1") == 0;
  flv::reader in(8u << 20, rtmp::message_headroom);
  std::vector<uint8_t> piece(1 << 16), out;
  for (size_t got; (got = std::fread(piece.data(), 1, piece.size(), stdin)) > 0;) {
    base::bytes_view rest = base::bytes_view(piece).first(got);
    for (;;) {
      auto tag = in.next(rest);
      if (!tag) return 1;
      if (!*tag) break;
      const media::frame f = frame_of(std::move(**tag));
      if (segments && f.keyframe) {
        bridge.flush(out);
        bridge.begin_segment();
      }
      bridge.write(f, out);
      if (!emit(out)) return 1;
    }
  }
  bridge.flush(out);
  for (const auto& name : bridge.left_out()) std::fprintf(stderr, "left out: %s\n", name.c_str());
  std::fprintf(stderr, "broken: %llu\n", static_cast<unsigned long long>(bridge.broken()));
  return emit(out) ? 0 : 1;
}
