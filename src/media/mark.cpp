#include "media/mark.hpp"

#include <algorithm>
#include <cmath>

#include "proto/amf0/value.hpp"

namespace sluice::media {
namespace {

constexpr std::string_view name = "@sluice";
// 0x02, a length in two bytes, the text: an AMF0 string (AMF0 §2.4).
constexpr uint8_t head[] = {0x02, 0x00, name.size()};
constexpr std::string_view set_data_frame("\x02\x00\x0d@setDataFrame", 16);
constexpr double exact_max = 9007199254740992.0;  // 2^53: what a double counts exactly
constexpr size_t mark_bytes_max = 512;

std::optional<uint64_t> whole(const amf0::value& object, std::string_view member, double max) {
  const auto* v = object.find(member);
  if (!v) return 0;
  const double number = v->number_or(-1);
  if (!(number >= 0 && number <= max) || number != std::floor(number)) return std::nullopt;
  return static_cast<uint64_t>(number);
}

}  // namespace

std::vector<uint8_t> encode_mark(const mark& m) {
  std::vector<uint8_t> out;
  amf0::object members;
  if (m.headers > 0) members.emplace_back("headers", static_cast<double>(m.headers));
  if (!m.source.empty()) {
    members.emplace_back("source", m.source);
    members.emplace_back("next", static_cast<double>(m.next));
    members.emplace_back("offset", static_cast<double>(m.offset));
  }
  amf0::encode_all({amf0::value(name), amf0::value(std::move(members))}, out);
  return out;
}

std::optional<mark> parse_mark(const rtmp::message& msg) {
  const auto bytes = msg.payload.view();
  if (msg.type != rtmp::data_amf0 || bytes.size() > mark_bytes_max || bytes.size() < sizeof head + name.size())
    return std::nullopt;
  if (!std::equal(std::begin(head), std::end(head), bytes.begin()) ||
      !std::equal(name.begin(), name.end(), bytes.begin() + sizeof head))
    return std::nullopt;
  const auto values = amf0::decode_all(bytes);
  if (!values || values->size() != 2) return std::nullopt;
  const amf0::value& members = (*values)[1];
  const auto next = whole(members, "next", exact_max);
  const auto offset = whole(members, "offset", UINT32_MAX);
  const auto headers = whole(members, "headers", 64);
  const auto* source = members.find("source");
  if (!next || !offset || !headers) return std::nullopt;
  mark m{std::string(source ? source->string_or("") : ""), *next, static_cast<uint32_t>(*offset),
         static_cast<uint32_t>(*headers)};
  if (m.source.size() > source_bytes_max || (m.source.empty() && m.headers == 0)) return std::nullopt;
  return m;
}

bool poses_as_mark(const rtmp::message& msg) {
  if (msg.type != rtmp::data_amf0) return false;
  auto bytes = msg.payload.view();
  const auto begins_with = [&](const auto& text) {
    return bytes.size() >= std::size(text) && std::equal(std::begin(text), std::end(text), bytes.begin());
  };
  while (begins_with(set_data_frame)) bytes = bytes.subspan(set_data_frame.size());
  if (!begins_with(head)) return false;
  bytes = bytes.subspan(sizeof head);
  return begins_with(name);
}

}  // namespace sluice::media
