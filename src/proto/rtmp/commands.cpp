#include "proto/rtmp/commands.hpp"

#include <algorithm>
#include <utility>

namespace sluice::rtmp {
namespace {
const amf0::value no_value;
/// Fewer than amf0 would take: a value in memory is far larger than its byte in a message.
constexpr amf0::limits command_limits{.values_max = 1024};
constexpr size_t command_values_max = 16;  // name, transaction, object and arguments
}  // namespace

const amf0::value& command::argument(size_t i) const { return i + 1 < values.size() ? values[i + 1] : no_value; }
const amf0::value& command::object() const { return values.empty() ? no_value : values[0]; }

base::result<command> parse_command(const message& m) {
  auto bytes = m.payload.view();
  if (m.type == command_amf3 && !bytes.empty() && bytes[0] == 0) bytes = bytes.subspan(1);
  base::byte_reader in(bytes);
  std::vector<amf0::value> values;
  while (in.remaining() > 0 && values.size() < command_values_max) {
    auto v = amf0::decode(in, command_limits);
    // Other servers read what they need and look no further: what cannot be read behind the essentials is left out.
    if (!v && values.size() < 2) return tl::unexpected(std::move(v.error()));
    if (!v) break;
    values.push_back(std::move(*v));
  }
  command c;
  if (values.empty() || !std::holds_alternative<std::string>(values[0].get())) {
    return base::fail("bad_command", "a command message without a name");
  }
  c.name = std::move(std::get<std::string>(values[0].get()));
  if (values.size() > 1) c.transaction = values[1].number_or(0);
  if (values.size() > 2) {
    c.values.assign(std::make_move_iterator(values.begin() + 2), std::make_move_iterator(values.end()));
  }
  return c;
}

std::vector<uint8_t> encode_command(std::string_view name, double transaction, const std::vector<amf0::value>& values) {
  std::vector<uint8_t> out;
  amf0::encode(name, out);
  amf0::encode(transaction, out);
  amf0::encode_all(values, out);
  return out;
}

amf0::object status_object(std::string_view level, std::string_view code, std::string_view description) {
  return {{"level", level}, {"code", code}, {"description", description}};
}

bool is_clean_name(std::string_view name, size_t bytes_max) {
  return name.size() <= bytes_max && std::none_of(name.begin(), name.end(), [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
         });
}

}  // namespace sluice::rtmp
