#include "load/wire.hpp"

#include <bit>
#include <cstring>

namespace sluice::bench {

void put_u24(std::vector<uint8_t>& out, uint32_t v) {
  out.insert(out.end(), {static_cast<uint8_t>(v >> 16), static_cast<uint8_t>(v >> 8), static_cast<uint8_t>(v)});
}

void put_u32(std::vector<uint8_t>& out, uint32_t v) {
  out.push_back(static_cast<uint8_t>(v >> 24));
  put_u24(out, v);
}

amf_writer& amf_writer::number(double v) {
  out_.push_back(0);
  const auto bits = std::bit_cast<uint64_t>(v);
  put_u32(out_, static_cast<uint32_t>(bits >> 32));
  put_u32(out_, static_cast<uint32_t>(bits));
  return *this;
}

amf_writer& amf_writer::text(std::string_view v) {
  out_.push_back(2);
  raw_text(v);
  return *this;
}

amf_writer& amf_writer::boolean(bool v) {
  out_.insert(out_.end(), {uint8_t{1}, static_cast<uint8_t>(v)});
  return *this;
}

amf_writer& amf_writer::null() {
  out_.push_back(5);
  return *this;
}

amf_writer& amf_writer::begin_object() {
  out_.push_back(3);
  return *this;
}

amf_writer& amf_writer::begin_ecma_array(uint32_t count) {
  out_.push_back(8);
  put_u32(out_, count);
  return *this;
}

amf_writer& amf_writer::key(std::string_view name) {
  raw_text(name);
  return *this;
}

amf_writer& amf_writer::end() {
  put_u24(out_, 9);
  return *this;
}

void amf_writer::raw_text(std::string_view v) {
  out_.insert(out_.end(), {static_cast<uint8_t>(v.size() >> 8), static_cast<uint8_t>(v.size())});
  out_.insert(out_.end(), v.begin(), v.end());
}

void append_message(std::vector<uint8_t>& out, uint8_t chunk_stream, uint8_t type, uint32_t timestamp,
                    uint32_t stream_id, bytes payload, size_t chunk_size) {
  out.push_back(chunk_stream);
  put_u24(out, timestamp);
  put_u24(out, static_cast<uint32_t>(payload.size()));
  out.push_back(type);
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<uint8_t>(stream_id >> shift));
  for (size_t at = 0; at < payload.size(); at += chunk_size) {
    if (at > 0) out.push_back(0xC0 | chunk_stream);
    const bytes part = payload.subspan(at, std::min(chunk_size, payload.size() - at));
    out.insert(out.end(), part.begin(), part.end());
  }
}

command_head read_command(bytes p) {
  if (p.size() < 3 || p[0] != 2) return {};
  const size_t length = static_cast<size_t>(p[1] << 8 | p[2]);
  if (p.size() < 3 + length + 9 || p[3 + length] != 0) return {};
  uint64_t bits = 0;
  for (size_t i = 0; i < 8; ++i) bits = bits << 8 | p[3 + length + 1 + i];
  return {.name = {reinterpret_cast<const char*>(p.data()) + 3, length}, .transaction = std::bit_cast<double>(bits)};
}

}  // namespace sluice::bench
