#include <cstdlib>

#include "codec/aac.hpp"
#include "codec/ac3.hpp"
#include "codec/av1.hpp"
#include "codec/avc.hpp"
#include "codec/flac.hpp"
#include "codec/hevc.hpp"
#include "codec/opus.hpp"
#include "codec/vpx.hpp"

namespace {

using namespace sluice;
using namespace sluice::codec;

void check(bool ok) {
  if (!ok) std::abort();
}

void run_avc(base::bytes_view bytes) {
  if (const auto c = avc::parse_config(bytes)) {
    check(avc::serialise(*avc::parse_config(avc::serialise(*c))) == avc::serialise(*c));
    for (const auto& unit : c->sps) (void)avc::parse_sps(unit);
    (void)avc::codec_string(*c);
  }
  (void)avc::parse_sps(bytes);
}

void run_hevc(base::bytes_view bytes) {
  if (const auto c = hevc::parse_config(bytes)) {
    for (const auto& array : c->arrays) {
      for (const auto& unit : array.units) (void)hevc::parse_sps(unit);
    }
    (void)hevc::codec_string(*c);
  }
  (void)hevc::parse_sps(bytes);
}

void run_audio(base::bytes_view bytes) {
  if (const auto c = aac::parse_config(bytes)) {
    (void)aac::codec_string(*c);
    const bool plain = c->object_type <= 4 && c->channel_configuration != 0;
    if (plain) check(aac::serialise(*aac::parse_config(aac::serialise(*c))) == aac::serialise(*c));
  }
  if (const auto c = opus::parse_config(bytes)) check(c->channels > 0);
  (void)flac::parse_config(bytes);
  if (const auto f = ac3::parse_frame(bytes)) check(f->sample_rate_hz > 0 && f->frame_bytes > 0);
}

}  // namespace

// Every parser gets every input: what is a record for one is noise for the others.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const base::bytes_view bytes(data, size);
  run_avc(bytes);
  run_hevc(bytes);
  run_audio(bytes);
  if (const auto c = av1::parse_config(bytes)) (void)av1::codec_string(*c);
  if (const auto c = vpx::parse_config(bytes)) (void)vpx::codec_string(*c);
  (void)av1::is_keyframe(bytes);
  for (const unsigned length_size : {1u, 2u, 4u}) {
    (void)avc::is_keyframe(bytes, length_size);
    (void)hevc::is_keyframe(bytes, length_size);
  }
  return 0;
}
