#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace sluice::amf0 {

class value;
/// Members in the order of the wire; names may repeat there, find() takes the first.
using object = std::vector<std::pair<std::string, value>>;

struct undefined {};
struct null {};
struct unsupported {};
struct ecma_array {
  object members;
};
struct strict_array {
  std::vector<value> items;
};
struct date {
  double ms_since_epoch;
  int16_t zone;
};
struct xml_document {
  std::string text;
};
struct typed_object {
  std::string class_name;
  object members;
};
/// Bytes of an AMF3 value behind an avmplus marker (0x11), kept as they are; they reach to the end of the message.
struct amf3_bytes {
  std::vector<uint8_t> bytes;
};
/// Reference marker (0x07): an index that we do not resolve.
struct reference {
  uint16_t index;
};

/// One AMF0 value (Adobe AMF0 specification, every marker of §2.1). Strings longer than 65,535 bytes are written as
/// long strings.
class value {
 public:
  using storage = std::variant<null, undefined, double, bool, std::string, object, ecma_array, strict_array, date,
                               xml_document, typed_object, amf3_bytes, reference, unsupported>;
  value() = default;  ///< null
  value(double v) : v_(v) {}
  value(int v) : v_(static_cast<double>(v)) {}
  value(bool v) : v_(v) {}
  value(const char* v) : v_(std::string(v)) {}
  value(std::string v) : v_(std::move(v)) {}
  value(std::string_view v) : v_(std::string(v)) {}
  value(object v) : v_(std::move(v)) {}
  value(storage v) : v_(std::move(v)) {}

  const storage& get() const { return v_; }
  storage& get() { return v_; }
  bool is_null() const { return std::holds_alternative<null>(v_) || std::holds_alternative<undefined>(v_); }
  double number_or(double fallback) const;
  bool boolean_or(bool fallback) const;
  /// The string, or `fallback`.
  std::string_view string_or(std::string_view fallback) const;
  /// Members of an object, ECMA array or typed object; empty for others.
  const object& members() const;
  /// The first member of that name, or nullptr.
  const value* find(std::string_view name) const;

 private:
  storage v_;
};

/// What decode() accepts: deeper, longer or more is refused with reasons amf_too_deep, amf_too_large, amf_truncated,
/// amf_bad_marker.
struct limits {
  unsigned depth_max = 16;
  size_t values_max = 4096;  ///< of one call, containers and members counted
};

/// Reads one value and moves the reader behind it. Memory is bounded by the bytes present, whatever counts they claim.
base::result<value> decode(base::byte_reader& in, const limits& lim = {});
/// Reads values to the end of the bytes (a command message). A message that begins with AMF3's format byte 0 (types 15,
/// 17) is the caller's to strip.
base::result<std::vector<value>> decode_all(base::bytes_view bytes, const limits& lim = {});
void encode(const value& v, std::vector<uint8_t>& out);
void encode_all(const std::vector<value>& values, std::vector<uint8_t>& out);

}  // namespace sluice::amf0
