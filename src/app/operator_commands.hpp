#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "app/load.hpp"
#include "base/result.hpp"
#include "roles/operate.hpp"

namespace sluice::app {

/// The subcommands that ask something of a running proxy: explain, drain.
class operator_commands {
 public:
  explicit operator_commands(CLI::App& parent);
  operator_commands(const operator_commands&) = delete;
  operator_commands& operator=(const operator_commands&) = delete;

  /// The name of the one that was chosen, or empty.
  std::string chosen() const;
  /// What it is to do, or what is wrong with what the user wrote.
  base::result<roles::operate_config> read(const variables& environment) const;

 private:
  CLI::App* add(CLI::App& parent, const char* name, const char* doc, const char* subject, const char* subject_doc,
                const char* examples);
  CLI::App* explain_;
  CLI::App* drain_;
  std::string subject_, api_ = "http://127.0.0.1:12025", token_;
  bool json_ = false, undo_ = false;
};

}  // namespace sluice::app
