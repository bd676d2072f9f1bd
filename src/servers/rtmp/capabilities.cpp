#include "servers/rtmp/capabilities.hpp"

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

amf0::object forward_capabilities(bool can_reconnect) {
  const amf0::object every{{"*", fourcc_can_forward}};
  return {{"capsEx", caps_multitrack | caps_mod_ex | caps_nano_offset | (can_reconnect ? caps_reconnect : 0)},
          {"fourCcList", amf0::value(amf0::value::storage(amf0::strict_array{{amf0::value("*")}}))},
          {"videoFourCcInfoMap", every},
          {"audioFourCcInfoMap", every},
          {"sluice", amf0::object{{"version", SLUICE_VERSION}}}};
}

amf0::value peer_note::to_amf() const {
  amf0::object members{{"session", session}, {"epoch", epoch}};
  if (control) members.emplace_back("control", true);
  return members;
}

peer_note peer_note::from(const amf0::value& command_object) {
  const auto* note = command_object.find("sluice");
  if (!note) return {};
  const auto* control = note->find("control");
  return {text_of(*note, "session"), text_of(*note, "epoch"), control && control->boolean_or(false)};
}

void announce_control(amf0::object& answer) {
  for (auto& [name, v] : answer) {
    if (name != "sluice") continue;
    auto members = v.members();
    members.emplace_back("control", true);
    v = amf0::object(std::move(members));
  }
}

bool keeps_control_connections(const amf0::value& answer) {
  const auto* note = answer.find("sluice");
  const auto* control = note ? note->find("control") : nullptr;
  return control && control->boolean_or(false);
}

}  // namespace sluice::servers
