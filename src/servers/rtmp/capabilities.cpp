#include "servers/rtmp/capabilities.hpp"

#include "media/mark.hpp"

namespace sluice::servers {
namespace {

// capsEx bits and FourCC info mask of Enhanced RTMP v2.
constexpr int caps_reconnect = 0x01, caps_multitrack = 0x02, caps_mod_ex = 0x04, caps_nano_offset = 0x08;
constexpr int fourcc_can_forward = 0x04;
constexpr size_t note_bytes_max = 128;

std::string text_of(const amf0::value& note, std::string_view name) {
  const auto* v = note.find(name);
  std::string text(v ? v->string_or("") : "");
  return text.size() > note_bytes_max ? std::string() : text;
}

}  // namespace

amf0::object forward_capabilities(bool can_reconnect, bool trusted) {
  const amf0::object every{{"*", fourcc_can_forward}};
  amf0::object sluice{{"version", SLUICE_VERSION}};
  if (trusted) {
    sluice.emplace_back("numbered", true);
    sluice.emplace_back("control", true);
  }
  return {{"capsEx", caps_multitrack | caps_mod_ex | caps_nano_offset | (can_reconnect ? caps_reconnect : 0)},
          {"fourCcList", amf0::value(amf0::value::storage(amf0::strict_array{{amf0::value("*")}}))},
          {"videoFourCcInfoMap", every},
          {"audioFourCcInfoMap", every},
          {"sluice", std::move(sluice)}};
}

namespace {
bool says(const amf0::value& information, std::string_view member) {
  const auto* sluice = information.find("sluice");
  const auto* v = sluice ? sluice->find(member) : nullptr;
  return v && v->boolean_or(false);
}
}  // namespace

bool says_numbered(const amf0::value& information) { return says(information, "numbered"); }
bool keeps_control_connections(const amf0::value& information) { return says(information, "control"); }

amf0::value peer_note::to_amf() const {
  amf0::object members{{"session", session}};
  if (epoch != cluster::epoch{}) members.emplace_back("epoch", to_string(epoch));
  if (!source.empty()) {
    members.emplace_back("source", source);
    members.emplace_back("next", static_cast<double>(next));
  }
  if (numbered) members.emplace_back("numbered", true);
  if (control) members.emplace_back("control", true);
  return members;
}

peer_note peer_note::from(const amf0::value& command_object) {
  const auto* note = command_object.find("sluice");
  if (!note) return {};
  constexpr double exact_max = 9007199254740992.0;  // 2^53
  const auto flag = [&](std::string_view name) {
    const auto* v = note->find(name);
    return v && v->boolean_or(false);
  };
  peer_note n;
  n.session = text_of(*note, "session");
  n.epoch = cluster::parse_epoch(text_of(*note, "epoch")).value_or(cluster::epoch{});
  n.source = text_of(*note, "source");
  const auto* next = note->find("next");
  const double number = next ? next->number_or(0) : 0;
  if (number >= 0 && number <= exact_max) n.next = static_cast<uint64_t>(number);
  if (n.source.size() > media::source_bytes_max) n.source.clear();
  n.numbered = flag("numbered");
  n.control = flag("control");
  return n;
}

}  // namespace sluice::servers
