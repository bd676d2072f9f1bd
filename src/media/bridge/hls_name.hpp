#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "media/bridge/segment_muxer.hpp"

// Names of the files of an HLS stream: a pure function of the stream's name and of what is in the file, so that every
// server uses the same ones.
namespace sluice::media {

/// 64-bit FNV-1a, for names and entity tags; it protects against nothing but chance.
uint64_t content_hash(base::bytes_view bytes);

/// `{stream}-{number}.ts` or `.m4s`, percent-encoded.
std::string segment_name(std::string_view stream, uint64_t number, container c);
/// `{stream}-{hash of its bytes, 16 hexadecimal digits}-init.mp4`, percent-encoded.
std::string init_name(std::string_view stream, uint64_t hash);

struct hls_name {
  std::string_view stream;  ///< as it stands in the file's name: encoded or not
  bool init = false;
  uint64_t value = 0;  ///< segment: its number; init: its hash
  container format = container::fmp4;
};
/// The other way round; nothing for any other name. A stream's name may hold dashes.
std::optional<hls_name> parse_hls_name(std::string_view file);

}  // namespace sluice::media
