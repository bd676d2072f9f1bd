#pragma once

#include <fstream>
#include <string>
#include <vector>

#include "golden/golden.hpp"

namespace sluice::srt {

/// A conversation that was recorded between real programs: `C` lines of the caller, `S` lines of the listener.
struct capture {
  struct line {
    bool from_caller;
    std::vector<uint8_t> bytes;
  };
  std::vector<line> lines;

  explicit capture(const std::string& name) {
    std::ifstream in(std::filesystem::path(SLUICE_GOLDEN_DIR) / "srt" / name);
    if (!in) throw std::runtime_error("no golden file " + name);
    for (std::string text; std::getline(in, text);)
      if (!text.empty() && text[0] != '#') lines.push_back({text[0] == 'C', test::hex(text.substr(2))});
  }
  const std::vector<uint8_t>& induction() const { return lines[0].bytes; }
  const std::vector<uint8_t>& cookie() const { return lines[1].bytes; }
  const std::vector<uint8_t>& conclusion() const { return lines[2].bytes; }
  const std::vector<uint8_t>& answer() const { return lines[3].bytes; }
};

}  // namespace sluice::srt
