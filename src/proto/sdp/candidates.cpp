#include <fmt/format.h>

#include "proto/sdp/description.hpp"
#include "proto/sdp/lines.hpp"

namespace sluice::sdp {
namespace {

constexpr std::string_view candidate_prefix = "a=candidate:";
// RFC 8445 §5.1.2.1, of a host candidate and component 1; what comes first is preferred.
constexpr uint32_t priority_of(size_t index) { return 126u << 24 | static_cast<uint32_t>(0xFFFF - index) << 8 | 0xFF; }
// What agents write where the address is told by candidates alone (RFC 9429 §5.2.1).
constexpr std::string_view discard_port = "9";

std::string_view family_of(const base::ip_address& a) { return a.is_v4() ? "IP4" : "IP6"; }

bool has_candidates(std::string_view text) {
  for (line_walk lines(text); lines.next();)
    if (lines.line.starts_with(candidate_prefix)) return true;
  return false;
}

class replacement {
 public:
  replacement(std::string_view text, std::span<const base::endpoint> candidates, bool add)
      : text_(text), candidates_(candidates), missing_(add && !has_candidates(text)) {}

  std::string run() {
    out_.reserve(text_.size() + 128 * candidates_.size());
    line_walk lines(text_);
    while (lines.next()) {
      line_ = lines.line;
      end_ = lines.whole.substr(line_.size());
      take(lines.whole);
    }
    if (in_used_section_) add_missing();
    return std::move(out_);
  }

 private:
  void take(std::string_view whole) {
    if (line_.starts_with("m=")) {
      if (in_used_section_) add_missing();
      section_done_ = false;
      take_media_line();
    } else if (line_.starts_with(candidate_prefix)) {
      if (!std::exchange(section_done_, true)) write_candidates();
    } else if (line_.starts_with("c=IN IP")) {
      take_address("c=", line_.substr(2), whole);
    } else if (line_.starts_with("a=rtcp:")) {
      auto rest = line_.substr(7);
      const auto port = take_word(rest);
      const bool told = port != discard_port && !rest.empty();
      if (!told) return put(whole);
      take_address(fmt::format("a=rtcp:{} ", candidates_.front().port), rest.substr(1), whole);
    } else {
      put(whole);
    }
  }

  void take_media_line() {
    auto rest = line_;
    const auto kind = take_word(rest);
    const auto port = take_word(rest);
    in_used_section_ = port != "0";
    const bool told = port != "0" && port != discard_port && !port.empty();
    put(told ? fmt::format("{} {}{}", kind, candidates_.front().port, rest) : std::string(line_));
    put(end_);
  }

  /// `IN IP4 address`
  void take_address(std::string_view prefix, std::string_view value, std::string_view whole) {
    take_word(value);
    take_word(value);
    const auto address = base::ip_address::parse(take_word(value));
    if (!address || address->is_unspecified()) return put(whole);
    const auto& ours = candidates_.front().address;
    put(fmt::format("{}IN {} {}", prefix, family_of(ours), ours.to_string()));
    put(end_);
  }

  void write_candidates() {
    for (size_t n = 0; n < candidates_.size(); ++n) {
      put(fmt::format("{}{} 1 udp {} {} {} typ host", candidate_prefix, n + 1, priority_of(n),
                      candidates_[n].address.to_string(), candidates_[n].port));
      put(end_.ends_with('\n') ? end_ : "\r\n");
    }
  }

  void add_missing() {
    if (!std::exchange(missing_, false)) return;
    if (!out_.ends_with('\n')) put(out_.ends_with('\r') ? "\n" : "\r\n");
    write_candidates();
  }

  void put(std::string_view text) { out_ += text; }

  const std::string_view text_;
  const std::span<const base::endpoint> candidates_;
  bool missing_;                  // candidates are to be added, and have not been yet
  bool in_used_section_ = false;  // of an m= line whose port is not 0
  bool section_done_ = false;     // candidates stand in this section
  std::string_view line_, end_;
  std::string out_;
};

}  // namespace

std::string replace_candidates(std::string_view text, std::span<const base::endpoint> candidates, bool add) {
  return replacement(text, candidates, add).run();
}

std::string drop_candidates(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (line_walk lines(text); lines.next();)
    if (!lines.line.starts_with(candidate_prefix)) out += lines.whole;
  return out;
}

}  // namespace sluice::sdp
