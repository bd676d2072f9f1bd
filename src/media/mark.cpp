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

void encode_segment(const mark::segment_begin& s, amf0::object& members) {
  const auto add = [&](std::string_view name, auto value) {
    members.emplace_back(std::string(name), static_cast<double>(value));
  };
  add("segAt", s.at);
  add("segNumber", s.state.number);
  add("segBegin", s.state.begin_ms);
  add("segZero", s.state.zero_wall_ms);
  add("segBreaks", s.state.discontinuities);
  add("segTarget", s.state.target_ms);
  add("segLongest", s.state.advertised_s);
  add("segNew", s.state.discontinuity ? 1 : 0);
}

void encode_start(const publication_start& s, amf0::object& members) {
  members.emplace_back("segFirst", static_cast<double>(s.number));
  members.emplace_back("segWall", static_cast<double>(s.wall_ms));
  members.emplace_back("segTarget", static_cast<double>(s.target_ms));
  if (s.discontinuities != s.number) members.emplace_back("segBreaks", static_cast<double>(s.discontinuities));
  if (s.advertised_s > 0) members.emplace_back("segLongest", static_cast<double>(s.advertised_s));
}

std::optional<publication_start> decode_start(const amf0::value& members) {
  if (!members.find("segFirst")) return std::nullopt;
  const auto first = whole(members, "segFirst", exact_max), wall = whole(members, "segWall", exact_max),
             target = whole(members, "segTarget", UINT32_MAX), longest = whole(members, "segLongest", UINT32_MAX),
             breaks = members.find("segBreaks") ? whole(members, "segBreaks", exact_max) : first;
  if (!first || !wall || !target || !longest || !breaks) return std::nullopt;
  return publication_start{*first, *breaks, static_cast<int64_t>(*wall), static_cast<uint32_t>(*target),
                           static_cast<uint32_t>(*longest)};
}

// All of it or nothing.
std::optional<mark::segment_begin> decode_segment(const amf0::value& members) {
  if (!members.find("segAt")) return std::nullopt;
  const auto at = whole(members, "segAt", exact_max), number = whole(members, "segNumber", exact_max),
             begin = whole(members, "segBegin", exact_max), zero = whole(members, "segZero", exact_max),
             breaks = whole(members, "segBreaks", exact_max), target = whole(members, "segTarget", UINT32_MAX),
             longest = whole(members, "segLongest", UINT32_MAX), fresh = whole(members, "segNew", 1);
  if (!at || !number || !begin || !zero || !breaks || !target || !longest || !fresh) return std::nullopt;
  mark::segment_begin s;
  s.at = *at;
  s.state = {*number,
             *begin,
             static_cast<int64_t>(*zero),
             *breaks,
             static_cast<uint32_t>(*target),
             static_cast<uint32_t>(*longest),
             *fresh == 1};
  return s;
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
    if (m.segment) encode_segment(*m.segment, members);
    if (m.segments_start) encode_start(*m.segments_start, members);
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
  mark m{std::string(source ? source->string_or("") : ""),
         *next,
         static_cast<uint32_t>(*offset),
         static_cast<uint32_t>(*headers),
         decode_segment(members),
         decode_start(members)};
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
