#include "proto/amf0/value.hpp"

#include <algorithm>
#include <optional>

namespace sluice::amf0 {
namespace {

// AMF0 specification §2.1. 0x04 (movie clip) and 0x0E (record set) are reserved and carry no defined payload.
enum marker : uint8_t {
  number_marker = 0x00,
  boolean_marker = 0x01,
  string_marker = 0x02,
  object_marker = 0x03,
  null_marker = 0x05,
  undefined_marker = 0x06,
  reference_marker = 0x07,
  ecma_array_marker = 0x08,
  object_end_marker = 0x09,
  strict_array_marker = 0x0A,
  date_marker = 0x0B,
  long_string_marker = 0x0C,
  unsupported_marker = 0x0D,
  xml_document_marker = 0x0F,
  typed_object_marker = 0x10,
  avmplus_marker = 0x11,
};

constexpr size_t short_string_max = 0xFFFF;

// One decode() or decode_all() call. Recursion is bounded by limits::depth_max, memory by the bytes present and
// limits::values_max: a claimed count never allocates.
class decoder {
 public:
  decoder(base::byte_reader& in, const limits& lim) : in_(in), lim_(lim) {}

  base::result<value> read(unsigned depth) {
    if (++values_ > lim_.values_max) return base::fail("amf_too_large", "more AMF0 values than the limit");
    const uint8_t marker = in_.u8();
    if (in_.failed()) return truncated();
    switch (marker) {
      case object_marker:
      case ecma_array_marker:
      case strict_array_marker:
      case typed_object_marker:
        if (depth >= lim_.depth_max) return base::fail("amf_too_deep", "AMF0 values nested deeper than the limit");
        return read_container(marker, depth + 1);
      case avmplus_marker:
        // AMF3 has no length that we could skip by, so inside a container it would hide the container's end.
        if (depth > 0) return base::fail("amf_bad_marker", "AMF3 value inside an AMF0 container");
        return value(value::storage(read_amf3()));
      default:
        return read_scalar(marker);
    }
  }

 private:
  static tl::unexpected<base::error> truncated() { return base::fail("amf_truncated", "AMF0 value is cut"); }

  amf3_bytes read_amf3() {
    const auto rest = in_.bytes(in_.remaining());
    return {{rest.begin(), rest.end()}};
  }

  base::result<value> read_scalar(uint8_t marker) {
    value::storage v;
    switch (marker) {
      case number_marker:
        v = in_.f64();
        break;
      case boolean_marker:
        v = in_.u8() != 0;
        break;
      case string_marker:
        v = std::string(in_.text(in_.u16()));
        break;
      case long_string_marker:
        v = std::string(in_.text(in_.u32()));
        break;
      case xml_document_marker:
        v = xml_document{std::string(in_.text(in_.u32()))};
        break;
      case null_marker:
        v = null{};
        break;
      case undefined_marker:
        v = undefined{};
        break;
      case unsupported_marker:
        v = unsupported{};
        break;
      case reference_marker:
        v = reference{in_.u16()};
        break;
      case date_marker: {
        const double ms = in_.f64();
        v = date{ms, static_cast<int16_t>(in_.u16())};
        break;
      }
      default:
        return base::fail("amf_bad_marker", "AMF0 marker that no value begins with");
    }
    if (in_.failed()) return truncated();
    return value(std::move(v));
  }

  base::result<value> read_container(uint8_t marker, unsigned depth) {
    if (marker == strict_array_marker) return read_items(depth);
    std::string class_name;
    std::optional<uint32_t> count;
    if (marker == typed_object_marker) class_name = in_.text(in_.u16());
    if (marker == ecma_array_marker) count = in_.u32();
    if (in_.failed()) return truncated();
    auto members = read_members(depth, count);
    if (!members) return tl::unexpected(std::move(members.error()));
    if (marker == object_marker) return value(std::move(*members));
    if (marker == ecma_array_marker) return value(value::storage(ecma_array{std::move(*members)}));
    return value(value::storage(typed_object{std::move(class_name), std::move(*members)}));
  }

  base::result<value> read_items(unsigned depth) {
    const uint32_t count = in_.u32();
    if (in_.failed()) return truncated();
    strict_array array;
    for (uint32_t i = 0; i < count; ++i) {
      auto item = read(depth);
      if (!item) return item;
      array.items.push_back(std::move(*item));
    }
    return value(value::storage(std::move(array)));
  }

  // The count of an ECMA array is only a hint (encoders write 0 and more): the end marker decides. Some encoders leave
  // that out after the last array of a message, where the count is all there is.
  base::result<object> read_members(unsigned depth, std::optional<uint32_t> count) {
    object members;
    for (;;) {
      if (in_.remaining() == 0 && count && members.size() == *count && *count > 0) return members;
      std::string name(in_.text(in_.u16()));
      if (in_.failed()) return truncated();
      if (name.empty() && in_.remaining() > 0 && in_.rest().front() == object_end_marker) {
        in_.skip(1);
        return members;
      }
      auto member = read(depth);
      if (!member) return tl::unexpected(std::move(member.error()));
      members.emplace_back(std::move(name), std::move(*member));
    }
  }

  base::byte_reader& in_;
  const limits& lim_;
  size_t values_ = 0;
};

class encoder {
 public:
  explicit encoder(std::vector<uint8_t>& out) : out_(out) {}

  void operator()(double v) {
    out_.u8(number_marker);
    out_.f64(v);
  }
  void operator()(bool v) {
    out_.u8(boolean_marker);
    out_.u8(v ? 1 : 0);
  }
  void operator()(const std::string& v) {
    if (v.size() > short_string_max) return long_text(long_string_marker, v);
    out_.u8(string_marker);
    short_text(v);
  }
  void operator()(const object& v) {
    out_.u8(object_marker);
    members(v);
  }
  void operator()(const ecma_array& v) {
    out_.u8(ecma_array_marker);
    out_.u32(static_cast<uint32_t>(v.members.size()));
    members(v.members);
  }
  void operator()(const strict_array& v) {
    out_.u8(strict_array_marker);
    out_.u32(static_cast<uint32_t>(v.items.size()));
    for (const auto& item : v.items) std::visit(*this, item.get());
  }
  void operator()(const date& v) {
    out_.u8(date_marker);
    out_.f64(v.ms_since_epoch);
    out_.u16(static_cast<uint16_t>(v.zone));
  }
  void operator()(const xml_document& v) { long_text(xml_document_marker, v.text); }
  void operator()(const typed_object& v) {
    out_.u8(typed_object_marker);
    short_text(v.class_name);
    members(v.members);
  }
  void operator()(const amf3_bytes& v) {
    out_.u8(avmplus_marker);
    out_.bytes(v.bytes);
  }
  void operator()(const reference& v) {
    out_.u8(reference_marker);
    out_.u16(v.index);
  }
  void operator()(null) { out_.u8(null_marker); }
  void operator()(undefined) { out_.u8(undefined_marker); }
  void operator()(unsupported) { out_.u8(unsupported_marker); }

 private:
  // Names have no long form; decode() never yields one that is cut here.
  void short_text(std::string_view text) {
    text = text.substr(0, short_string_max);
    out_.u16(static_cast<uint16_t>(text.size()));
    out_.text(text);
  }
  void long_text(uint8_t marker, std::string_view text) {
    out_.u8(marker);
    out_.u32(static_cast<uint32_t>(text.size()));
    out_.text(text);
  }
  void members(const object& members) {
    for (const auto& [name, member] : members) {
      short_text(name);
      std::visit(*this, member.get());
    }
    out_.u16(0);
    out_.u8(object_end_marker);
  }

  base::byte_writer out_;
};

}  // namespace

double value::number_or(double fallback) const {
  const auto* v = std::get_if<double>(&v_);
  return v ? *v : fallback;
}

bool value::boolean_or(bool fallback) const {
  const auto* v = std::get_if<bool>(&v_);
  return v ? *v : fallback;
}

std::string_view value::string_or(std::string_view fallback) const {
  const auto* v = std::get_if<std::string>(&v_);
  return v ? std::string_view(*v) : fallback;
}

const object& value::members() const {
  static const object none;
  if (const auto* v = std::get_if<object>(&v_)) return *v;
  if (const auto* v = std::get_if<ecma_array>(&v_)) return v->members;
  if (const auto* v = std::get_if<typed_object>(&v_)) return v->members;
  return none;
}

const value* value::find(std::string_view name) const {
  const auto& all = members();
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& member) { return member.first == name; });
  return found == all.end() ? nullptr : &found->second;
}

base::result<value> decode(base::byte_reader& in, const limits& lim) { return decoder(in, lim).read(0); }

base::result<std::vector<value>> decode_all(base::bytes_view bytes, const limits& lim) {
  base::byte_reader in(bytes);
  decoder d(in, lim);
  std::vector<value> values;
  while (in.remaining() > 0) {
    auto v = d.read(0);
    if (!v) return tl::unexpected(std::move(v.error()));
    values.push_back(std::move(*v));
  }
  return values;
}

void encode(const value& v, std::vector<uint8_t>& out) { std::visit(encoder(out), v.get()); }

void encode_all(const std::vector<value>& values, std::vector<uint8_t>& out) {
  for (const auto& v : values) encode(v, out);
}

}  // namespace sluice::amf0
