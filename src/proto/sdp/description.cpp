#include "proto/sdp/description.hpp"

#include <algorithm>
#include <charconv>

#include "proto/sdp/lines.hpp"

namespace sluice::sdp {
namespace {

// RFC 8839 §5.4: at least 4 and 22 characters, at most 256.
constexpr size_t ufrag_bytes_min = 4, password_bytes_min = 22, credential_bytes_max = 256;

tl::unexpected<base::error> bad(std::string_view what) { return base::fail("bad_sdp", std::string(what)); }

std::optional<uint16_t> parse_port(std::string_view text) {
  uint16_t port = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

/// `m=<media> <port>[/<number of ports>] <proto> <fmt> …`
std::optional<media_section> parse_media_line(std::string_view line) {
  line.remove_prefix(2);
  media_section m;
  m.kind = take_word(line);
  auto port = take_word(line);
  m.protocol = take_word(line);
  const auto number = parse_port(port.substr(0, port.find('/')));
  if (!number || m.protocol.empty() || take_word(line).empty()) return std::nullopt;
  m.port = *number;
  return m;
}

/// `a=candidate:<foundation> <component> <transport> <priority> <address> <port> typ …`
std::optional<base::endpoint> parse_candidate(std::string_view line) {
  take_word(line);
  take_word(line);
  const auto transport = take_word(line);
  take_word(line);
  const auto address = base::ip_address::parse(take_word(line));
  const auto port = parse_port(take_word(line));
  if ((transport != "udp" && transport != "UDP") || !address || !port || *port == 0) return std::nullopt;
  return base::endpoint{*address, *port};
}

/// Credentials are shown in no line and key before they have gone through this.
bool is_credential(std::string_view text, size_t min) {
  return text.size() >= min && text.size() <= credential_bytes_max &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7F && c != ':'; });
}

/// The attribute's value if the line is `a=NAME:value` (`name` with `a=` and colon).
std::optional<std::string_view> value_of(std::string_view line, std::string_view name) {
  if (!line.starts_with(name)) return std::nullopt;
  line.remove_prefix(name.size());
  while (line.ends_with(' ')) line.remove_suffix(1);
  return line;
}

class parser {
 public:
  base::result<description> run(std::string_view text, bool fragment) {
    if (text.size() > bytes_max) return bad("the description is too long");
    line_walk lines(text);
    bool first = true;
    while (lines.next()) {
      if (std::any_of(lines.line.begin(), lines.line.end(),
                      [](unsigned char c) { return (c < ' ' && c != '\t') || c == 0x7F; }))
        return bad("control characters");
      if (lines.line.empty()) continue;
      if (lines.line.size() < 2 || lines.line[1] != '=') return bad("a line that is not TYPE=VALUE");
      if (std::exchange(first, false) && !fragment && lines.line != "v=0") return bad("it does not begin with v=0");
      if (auto ok = take(lines.line); !ok) return tl::unexpected(ok.error());
    }
    if (first) return bad("it is empty");
    for (auto& m : out_.sections) {
      if (m.ufrag.empty()) m.ufrag = out_.ufrag;
      if (m.password.empty()) m.password = out_.password;
      m.has_fingerprint |= session_fingerprint_;
    }
    return std::move(out_);
  }

 private:
  base::result<void> take(std::string_view line) {
    if (line.starts_with("m=")) {
      auto section = parse_media_line(line);
      if (!section) return bad("an m= line that cannot be read");
      if (out_.sections.size() >= sections_max) return bad("too many m= lines");
      out_.sections.push_back(*section);
      return {};
    }
    media_section* m = out_.sections.empty() ? nullptr : &out_.sections.back();
    if (const auto ufrag = value_of(line, "a=ice-ufrag:")) {
      if (!is_credential(*ufrag, ufrag_bytes_min)) return bad("ice-ufrag");
      (m ? m->ufrag : out_.ufrag) = *ufrag;
    } else if (const auto password = value_of(line, "a=ice-pwd:")) {
      if (!is_credential(*password, password_bytes_min)) return bad("ice-pwd");
      (m ? m->password : out_.password) = *password;
    } else if (const auto fingerprint = value_of(line, "a=fingerprint:")) {
      // `<hash> <hexadecimal bytes with colons>`
      if (fingerprint->find(' ') == fingerprint->npos) return bad("fingerprint");
      (m ? m->has_fingerprint : session_fingerprint_) = true;
    } else if (const auto candidate = value_of(line, "a=candidate:")) {
      if (!out_.candidate) out_.candidate = parse_candidate(*candidate);
    } else if (line == "a=bundle-only" && m) {
      m->bundle_only = true;
    }
    return {};
  }

  description out_;
  bool session_fingerprint_ = false;
};

}  // namespace

bool media_section::is_secure_media() const {
  return (kind == "audio" || kind == "video") && protocol.ends_with("RTP/SAVPF");
}

std::string_view description::first_ufrag() const {
  for (const auto& m : sections)
    if (m.is_used()) return m.ufrag;
  return ufrag;
}

std::string_view description::first_password() const {
  for (const auto& m : sections)
    if (m.is_used()) return m.password;
  return password;
}

base::result<description> parse(std::string_view text) { return parser().run(text, false); }
base::result<description> parse_fragment(std::string_view text) { return parser().run(text, true); }

base::result<void> check_offer(const description& offer) {
  bool any = false;
  for (const auto& m : offer.sections) {
    if (!m.is_used() || !m.is_secure_media()) continue;
    any = true;
    if (m.ufrag.empty() || m.password.empty()) return bad("ice-ufrag or ice-pwd is missing");
    if (!m.has_fingerprint) return bad("fingerprint is missing");
  }
  if (!any) return base::fail("no_secure_media", "neither audio nor video with RTP/SAVPF is offered");
  return {};
}

}  // namespace sluice::sdp
