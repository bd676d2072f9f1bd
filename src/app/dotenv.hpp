#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::app {

struct dotenv_line {
  std::string name;
  std::string value;
  size_t line = 0;  ///< counted from 1
};

struct dotenv {
  std::vector<dotenv_line> values;    ///< in the order of the file; of a repeated name the last counts
  std::vector<std::string> warnings;  ///< lines that are none: `.env line 3: want NAME=value`
};

/// Reads the text of a `.env` file: `NAME=value`, `export NAME=value`, `# comment`, blank lines. A value may stand in
/// single quotes (taken as it is) or double quotes (\n, \t, \", \\ and \$ are unescaped; it may go over several lines);
/// without quotes it ends at ` #` and is trimmed. No variable is expanded. Pure; never fails: other programs read the
/// file too.
dotenv parse_dotenv(std::string_view text);

}  // namespace sluice::app
