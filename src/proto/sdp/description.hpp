#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/endpoint.hpp"
#include "base/result.hpp"

// SDP (RFC 8866) of WebRTC offers and answers (RFC 9429), and the fragments of it that trickle candidates (RFC 8840
// §9): as much of it as a relay has to know, which leaves the rest as it is, byte for byte.
namespace sluice::sdp {

inline constexpr size_t bytes_max = 64 * 1024;
inline constexpr size_t sections_max = 64;

/// One m= line and what follows it. Views point into the text.
struct media_section {
  std::string_view kind;      ///< audio, video, application …
  std::string_view protocol;  ///< UDP/TLS/RTP/SAVPF …
  uint16_t port = 0;
  bool bundle_only = false;
  std::string_view ufrag, password;  ///< its own, else the session's; may be empty
  bool has_fingerprint = false;      ///< its own, or the session's
  bool is_used() const { return port != 0 || bundle_only; }
  /// Audio or video over DTLS-SRTP with feedback (RFC 9429 §5.1.2).
  bool is_secure_media() const;
};

struct description {
  std::vector<media_section> sections;
  std::string_view ufrag, password;  ///< of the session, outside of all sections; as a rule only fragments have them
  /// Of the first section that is used (where all are bundled with it), else the session's.
  std::string_view first_ufrag() const;
  std::string_view first_password() const;
  /// The first UDP candidate with an address (not a name).
  std::optional<base::endpoint> candidate;
};

/// Error reason: bad_sdp (longer than bytes_max, no text, a line that is none, an m= line that cannot be read, more
/// than sections_max).
base::result<description> parse(std::string_view text);
/// The same of a fragment, which need not begin with v=.
base::result<description> parse_fragment(std::string_view text);

/// Whether a client may be let in with this offer: credentials of ICE and a fingerprint (RFC 8842) for each section of
/// media that is used. Error reasons: bad_sdp (one of these is missing), no_secure_media (nothing in it is SAVPF).
base::result<void> check_offer(const description& offer);

/// The text with these UDP candidates in place of all that it has (names, TCP and relays among them); in each section
/// that had some, or, with `add`, in the first that is used if none had any. The default addresses in c=, m= and
/// a=rtcp are replaced by the first one, where they are addresses at all. `candidates` must not be empty.
std::string replace_candidates(std::string_view text, std::span<const base::endpoint> candidates, bool add);
/// The text without candidates.
std::string drop_candidates(std::string_view text);

}  // namespace sluice::sdp
