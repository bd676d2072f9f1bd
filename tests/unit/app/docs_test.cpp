#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "app/setting.hpp"

namespace sluice::app {
namespace {

constexpr const char* document = SLUICE_GOLDEN_DIR "/../../docs/configuration.md";

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

/// A table's rows as the document has them, one Markdown table for each group.
std::string rendered(const setting_table& table) {
  std::string out;
  std::string_view group;
  for (const auto& s : table.settings) {
    if (s.group != group) {
      group = s.group;
      out += fmt::format("\n**{}**\n\n| variable | value | default | |\n|---|---|---|---|\n", group);
    }
    out += fmt::format("| `{}` | {} | {} | {} |\n", table.variable(s), escaped(s.placeholder),
                       s.default_text.empty() ? "–" : "`" + s.default_text + "`", escaped(s.doc));
  }
  return out + "\n";
}

/// The document, with the part behind the marker of `name` replaced.
std::string with_table(std::string text, const std::string& name, const std::string& rows) {
  const std::string marker = "<!-- table: " + name + " -->\n";
  const auto begin = text.find(marker);
  const auto end = text.find("<!-- end -->", begin);
  if (begin == text.npos || end == text.npos) {
    ADD_FAILURE() << "no marker for " << name;
    return text;
  }
  return text.replace(begin + marker.size(), end - begin - marker.size(), rows);
}

TEST(Document, HasEverySettingAsItIs) {
  std::ifstream file(document);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  roles::proxy_config proxy;
  roles::origin_config origin;
  roles::run_config run;
  auto expected = with_table(text, "proxy", rendered(proxy_settings(proxy)));
  expected = with_table(expected, "origin", rendered(origin_settings(origin)));
  expected = with_table(expected, "run", rendered(run_settings(run)));
  if (std::getenv("UPDATE_DOCS")) std::ofstream(document) << expected;
  EXPECT_TRUE(text == expected) << "docs/configuration.md differs from the tables; to write it anew: UPDATE_DOCS=1";
}

}  // namespace
}  // namespace sluice::app
