#include "proto/flv/file.hpp"

#include <algorithm>
#include <cstring>

namespace sluice::flv {
namespace {

constexpr size_t file_header_part = 9;       // without previous tag size 0
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

/// True if the first `count` bytes of the present part are in head_.
bool reader::gather(base::bytes_view& from, size_t count) {
  const size_t some = std::min(count - have_, from.size());
  std::copy_n(from.begin(), some, head_.begin() + static_cast<std::ptrdiff_t>(have_));
  from = from.subspan(some);
  have_ += some;
  return have_ == count;
}

void reader::enter(part p, size_t skip) {
  part_ = p;
  skip_ = skip;
  have_ = 0;
}

base::result<void> reader::read_file_header() {
  base::byte_reader in(head_);
  const uint32_t signature_and_version = in.u32();
  in.u8();  // flags: what there is shows in the tags
  const uint32_t offset = in.u32();
  if (signature_and_version >> 8 != 0x464C56) return base::fail("flv_bad_signature", "not an FLV file");
  if (offset < file_header_part || offset > header_bytes_max)
    return base::fail("flv_bad_header", "FLV header of an odd length");
  enter(part::tag_header, offset - file_header_part + tag_trailer_size);
  return {};
}

base::result<void> reader::read_tag_header() {
  base::byte_reader in(head_);
  const uint8_t type = in.u8();
  body_size_ = in.u24();
  timestamp_ = in.u24();
  timestamp_ |= static_cast<uint32_t>(in.u8()) << 24;  // what follows is the stream id, always 0
  if (type & filter_flag) return base::fail("flv_encrypted", "FLV tag with a filter (encryption)");
  if (body_size_ > body_bytes_max_) return base::fail("flv_tag_too_large", "FLV tag larger than the limit");
  type_ = type & type_mask;
  body_ = base::block_ref::allocate(headroom_ + body_size_);
  enter(part::body, 0);
  return {};
}

base::result<std::optional<tag>> reader::next(base::bytes_view& from) {
  for (;;) {
    const size_t skipped = std::min(skip_, from.size());
    from = from.subspan(skipped);
    skip_ -= skipped;
    if (skip_ > 0) return std::nullopt;
    if (part_ == part::file_header) {
      if (!gather(from, file_header_part)) return std::nullopt;
      if (const auto ok = read_file_header(); !ok) return tl::unexpected(ok.error());
    } else if (part_ == part::tag_header) {
      if (!gather(from, tag_header_size)) return std::nullopt;
      if (const auto ok = read_tag_header(); !ok) return tl::unexpected(ok.error());
    } else {
      const size_t some = std::min(body_size_ - have_, from.size());
      if (some > 0) std::memcpy(body_.data() + headroom_ + have_, from.data(), some);
      from = from.subspan(some);
      have_ += some;
      if (have_ < body_size_) return std::nullopt;
      enter(part::tag_header, tag_trailer_size);
      return tag{type_, timestamp_, {std::move(body_), static_cast<uint32_t>(headroom_), body_size_}};
    }
  }
}

}  // namespace sluice::flv
