#include "proto/flv/script.hpp"

namespace sluice::flv {
namespace {

constexpr uint8_t amf0_string_marker = 2;

// The AMF0 string that `bytes` begin with, which are moved behind it; empty, and nothing moved, if there is none.
std::string_view take_string(base::bytes_view& bytes) {
  base::byte_reader in(bytes);
  if (in.u8() != amf0_string_marker) return {};
  const auto text = in.text(in.u16());
  if (in.failed()) return {};
  bytes = in.rest();
  return text;
}

}  // namespace

script parse_script(base::bytes_view body) {
  script s;
  s.message = s.value = body;
  s.name = take_string(s.value);
  if (s.name == "@setDataFrame") {
    s.set_data_frame = true;
    s.message = s.value;
    s.name = take_string(s.value);
  }
  return s;
}

}  // namespace sluice::flv
