#include "runtime/handover_message.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::runtime {
namespace {

constexpr std::string_view signature = "sluice-handover ";

bool is_word(std::string_view text) {
  return !text.empty() && text.size() <= 32 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

/// Cuts the part before `end` off; nothing if there is no `end`.
bool cut(std::string_view& rest, char end, std::string_view& part) {
  const size_t at = rest.find(end);
  if (at == rest.npos) return false;
  part = rest.substr(0, at);
  rest.remove_prefix(at + 1);
  return true;
}

}  // namespace

std::string_view handover_message::field(std::string_view key) const {
  for (const auto& [k, v] : fields)
    if (k == key) return v;
  return {};
}

std::string encode(const handover_message& m) {
  std::string out = fmt::format("{}{} {}\n", signature, handover_version, m.kind);
  for (const auto& [key, value] : m.fields) {
    out += key + ' ';
    for (const char c : value) out += c == '\n' || c == '\0' ? ' ' : c;
    out += '\n';
  }
  return out + '\n' + m.body;
}

base::result<handover_message> decode_handover(std::string_view packet) {
  const auto bad = [](std::string text) { return base::fail("bad_message", std::move(text)); };
  if (packet.size() > handover_packet_bytes_max) return bad("the packet is too long");
  if (!packet.starts_with(signature)) return bad("no message of a Sluice proxy");
  packet.remove_prefix(signature.size());
  std::string_view version, kind, line, key;
  if (!cut(packet, ' ', version) || !cut(packet, '\n', kind)) return bad("no kind");
  if (version != std::to_string(handover_version)) {
    return base::fail("other_version", fmt::format("the other process speaks version {} of the handover, this one {}",
                                                   version.substr(0, 10), handover_version));
  }
  if (!is_word(kind)) return bad("the kind is no word");
  handover_message m;
  m.kind = kind;
  for (;;) {
    if (!cut(packet, '\n', line)) return bad("a line without an end");
    if (line.empty()) break;
    if (m.fields.size() == handover_fields_max) return bad("too many fields");
    if (!cut(line, ' ', key) || !is_word(key) || line.find('\0') != line.npos) return bad("a malformed field");
    m.fields.emplace_back(key, line);
  }
  m.body = packet;
  return m;
}

}  // namespace sluice::runtime
