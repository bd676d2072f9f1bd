#include "proto/flv/file.hpp"

namespace sluice::flv {
namespace {

constexpr uint32_t header_bytes_max = 1024;  // of a file header that is longer than we know
constexpr uint8_t type_mask = 0x1F, filter_flag = 0x20;

void put_be(uint8_t* to, uint32_t v, int count) {
  while (count--) *to++ = static_cast<uint8_t>(v >> (8 * count));
}

}  // namespace

std::array<uint8_t, file_header_size> file_header(bool has_audio, bool has_video) {
  const auto flags = static_cast<uint8_t>((has_audio ? 4 : 0) | (has_video ? 1 : 0));
  return {'F', 'L', 'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0};
}

std::array<uint8_t, tag_header_size> tag_header(uint8_t type, uint32_t body_size, uint32_t timestamp) {
  std::array<uint8_t, tag_header_size> h{};
  h[0] = type;
  put_be(&h[1], body_size, 3);
  put_be(&h[4], timestamp, 3);
  h[7] = static_cast<uint8_t>(timestamp >> 24);
  return h;
}

std::array<uint8_t, tag_trailer_size> tag_trailer(uint32_t body_size) {
  std::array<uint8_t, tag_trailer_size> t{};
  put_be(t.data(), body_size + static_cast<uint32_t>(tag_header_size), 4);
  return t;
}

void write_tag(std::vector<uint8_t>& out, uint8_t type, uint32_t timestamp, base::bytes_view body) {
  const auto size = static_cast<uint32_t>(body.size());
  base::byte_writer w(out);
  w.bytes(tag_header(type, size, timestamp));
  w.bytes(body);
  w.bytes(tag_trailer(size));
}

base::result<bool> reader::read_file_header() {
  base::byte_reader in(buffer_.pending());
  const uint32_t signature_and_version = in.u32();
  in.u8();  // flags: what there is shows in the tags
  const uint32_t offset = in.u32();
  if (in.failed()) return false;
  if (signature_and_version >> 8 != 0x464C56) return base::fail("flv_bad_signature", "not an FLV file");
  if (offset < 9 || offset > header_bytes_max) return base::fail("flv_bad_header", "FLV header of an odd length");
  if (buffer_.size() < offset + tag_trailer_size) return false;
  buffer_.consume(offset + tag_trailer_size);
  return true;
}

base::result<std::optional<tag>> reader::next() {
  buffer_.consume(given_);
  given_ = 0;
  if (!header_read_) {
    const auto done = read_file_header();
    if (!done) return tl::unexpected(done.error());
    if (!*done) return std::nullopt;
    header_read_ = true;
  }
  base::byte_reader in(buffer_.pending());
  const uint8_t type = in.u8();
  const uint32_t size = in.u24();
  uint32_t timestamp = in.u24();
  timestamp |= static_cast<uint32_t>(in.u8()) << 24;
  in.skip(3);  // stream id, always 0
  if (in.failed()) return std::nullopt;
  if (type & filter_flag) return base::fail("flv_encrypted", "FLV tag with a filter (encryption)");
  if (size > body_bytes_max_) return base::fail("flv_tag_too_large", "FLV tag larger than the limit");
  const auto body = in.bytes(size);
  in.skip(tag_trailer_size);
  if (in.failed()) return std::nullopt;
  given_ = tag_header_size + size + tag_trailer_size;
  return tag{static_cast<uint8_t>(type & type_mask), timestamp, body};
}

}  // namespace sluice::flv
