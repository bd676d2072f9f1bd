#include "app/command_line.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <set>

#include "app/operator_commands.hpp"

namespace sluice::app {
namespace {

constexpr size_t help_width = 76;  // of the right-hand column

/// Breaks `text` at blanks; CLI11 indents what follows a newline.
std::string wrapped(std::string_view text) {
  std::string out;
  size_t column = 0;
  while (!text.empty()) {
    const auto blank = text.find(' ');
    const auto word = text.substr(0, blank);
    if (column > 0 && column + 1 + word.size() > help_width) {
      out += '\n';
      column = 0;
    } else if (column > 0) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    text.remove_prefix(blank == text.npos ? text.size() : blank + 1);
  }
  return out;
}

/// One subcommand: its flags, as texts, and the tables that they belong to.
class subcommand {
 public:
  subcommand(CLI::App& parent, const std::string& name, const std::string& doc, const std::string& examples)
      : app_(parent.add_subcommand(name, doc)) {
    app_->allow_extras();
    app_->footer(
        "Examples:\n" + examples +
        "\nA flag beats its variable, that the `.env` of the working directory, that the file of --config, that the "
        "default.\nEvery setting: docs/configuration.md");
    app_->add_option("--config", config_file_, "A YAML file of settings; a key is the flag's name with underscores.")
        ->type_name("FILE")
        ->group("Files");
    app_->add_flag("--no-env-file", no_env_file_, "Do not read `.env` from the working directory.")->group("Files");
  }

  void add_table(const setting_table& table) {
    tables_.push_back(&table);
    if (table.variables_only) return;
    for (const auto& s : table.settings) {
      const auto doc = fmt::format("{} ({}{})", s.doc, table.variable(s),
                                   s.default_text.empty() ? "" : fmt::format("; default {}", s.default_text));
      auto& values = flags_[s.name];
      auto* option = app_->add_option(table.flag(s), values, wrapped(doc))
                         ->type_name(std::string(s.placeholder))
                         ->group(std::string(s.group))
                         ->type_size(1)
                         ->allow_extra_args(false);
      options_.push_back(table.flag(s));
      if (s.bare) bare_.insert(s.name);
      // A list's flag may be repeated; of any other a second one is an error. A bare one is empty to CLI11.
      option->expected(s.bare ? 0 : 1, s.list ? 1024 : 1);
      option->allow_extra_args(false);
    }
  }

  /// What `run` tells its children.
  void add_supervision(roles::common_config& c) {
    app_->add_option("--parent-pid", c.parent_pid, wrapped("The process that started this one: it is killed with it."))
        ->type_name("PID")
        ->group("Files");
    add_ready_fd(c.ready_fd);
  }

  void add_ready_fd(int& into) {
    app_->add_option(
            "--ready-fd", into,
            wrapped("An open descriptor that gets a line of JSON when the process is ready, with its real addresses."))
        ->type_name("N")
        ->group("Files");
  }

  bool chosen() const { return app_->parsed(); }

  /// What the user wrote and this subcommand does not have; empty if there is none.
  std::string leftover() const {
    const auto rest = app_->remaining();
    if (rest.empty()) return {};
    const auto flag = rest.front().substr(0, rest.front().find('='));
    if (!flag.starts_with("-")) return fmt::format("unexpected argument {}", rest.front());
    auto known = options_;
    known.insert(known.end(), {"--config", "--no-env-file", "--help"});
    const auto near = closest(flag, known);
    return fmt::format("unknown flag {}{}", flag, near.empty() ? "" : fmt::format("; did you mean {}?", near));
  }

  load_report load(const surroundings& around) const {
    sources from;
    from.environment = around.environment;
    for (const auto& [name, values] : flags_) {
      if (!values.empty()) from.flags[name] = fmt::format("{}", fmt::join(values, ","));
      if (!values.empty() && bare_.contains(name) && from.flags[name].empty()) from.flags[name] = "on";
    }
    std::vector<std::string> warnings;
    if (!no_env_file_) {
      auto text = around.read_file(".env");
      if (text) {
        from.dotenv = std::move(*text);
      } else if (text.error().reason != "no_such_file") {
        // Not for us, perhaps: a Python environment or a mount may be called so.
        warnings.push_back(fmt::format(".env is not read: {}", text.error().text));
      }
    }
    if (!config_file_.empty()) {
      auto text = around.read_file(config_file_);
      if (!text) {
        load_report unreadable;
        unreadable.errors.push_back(fmt::format("--config {}: {}", config_file_, text.error().text));
        return unreadable;
      }
      from.yaml_name = config_file_;
      from.yaml = std::move(*text);
    }
    auto report = load_settings(tables_, from);
    report.warnings.insert(report.warnings.begin(), warnings.begin(), warnings.end());
    return report;
  }

 private:
  CLI::App* app_;
  std::vector<const setting_table*> tables_;
  std::map<std::string, std::vector<std::string>> flags_;
  std::set<std::string> bare_;  // names of switches that need no value
  std::vector<std::string> options_;
  std::string config_file_;
  bool no_env_file_ = false;
};

/// The proxy's table as `run` has it: SRS's usual ports, one machine.
setting_table run_proxy_settings(roles::proxy_config& c) {
  auto t = proxy_settings(c);
  const std::pair<std::string_view, std::string> differing[] = {
      {"rtmp_server", "1935"},      {"http_server", "8080"},       {"http_api", "1985"},
      {"webrtc_server", "8000"},    {"srt_server", "10080"},       {"only_default_vhost", "on"},
      {"grace_quit_timeout", "5s"}, {"force_quit_timeout", "10s"}, {"origin_networks", "127.0.0.0/8,::1"},
  };
  for (const auto& [name, text] : differing) t.set_default(name, text);
  t.remove("upgrade_socket");  // its proxy is started anew when it ends
  return t;
}

/// `SLUICE_ORIGIN_*` as `run` hands it on: without what it decides itself.
setting_table run_origin_settings(roles::origin_config& c) {
  auto t = origin_settings(c);
  for (const auto* name : {"rtmp", "api", "register", "advertise", "server_id"}) t.remove(name);
  t.variables_only = true;
  return t;
}

/// Splits what was given to `run` into arguments and environment of a child: all that differs from the child's own
/// default.
void hand_on(const setting_table& table, const setting_table& own, const load_report& report,
             const std::set<std::string>& except, std::vector<std::string>& arguments,
             std::vector<std::string>& environment) {
  for (const auto& s : table.settings) {
    if (except.contains(s.name)) continue;
    const auto variable = table.variable(s);
    const auto given = report.given.find(variable);
    const auto& text = given == report.given.end() ? s.default_text : given->second;
    if (text == own.by_name(s.name)->default_text) continue;
    if (s.secret) {
      environment.push_back(variable + "=" + text);
    } else {
      arguments.push_back(table.flag(s));
      arguments.push_back(text);
    }
  }
}

void plan_children(invocation& result, const setting_table& proxy, const setting_table& origin,
                   const load_report& report, const variables& environment) {
  auto& run = result.run;
  for (const auto& [name, value] : environment) {
    if (name.starts_with("PROXY_") || name.starts_with("SLUICE_ORIGIN_") || name.starts_with("SLUICE_RUN_")) continue;
    run.proxy_environment.push_back(name + "=" + value);
  }
  run.origin_environment = run.foreign_environment = run.proxy_environment;
  roles::proxy_config plain_proxy;
  roles::origin_config plain_origin;
  hand_on(proxy, proxy_settings(plain_proxy), report,
          {"rtmp_server", "http_server", "http_api", "webrtc_server", "srt_server", "system_api", "wait_origins"},
          run.proxy_arguments, run.proxy_environment);
  hand_on(origin, origin_settings(plain_origin), report, {}, run.origin_arguments, run.origin_environment);
  for (const auto* name : {"log_format", "log_level"}) {  // of the whole cluster, unless said for origins
    const auto* s = proxy.by_name(name);
    const auto given = report.given.find(proxy.variable(*s));
    if (given == report.given.end() || report.given.contains(origin.variable(*origin.by_name(name)))) continue;
    run.origin_arguments.insert(run.origin_arguments.end(), {proxy.flag(*s), given->second});
  }
  if (run.proxy.auth.enabled && !report.given.contains("SLUICE_ORIGIN_REGISTER_TOKEN")) {
    run.origin_environment.push_back("SLUICE_ORIGIN_REGISTER_TOKEN=" + run.proxy.auth.token);
  }
  run.log_format = run.proxy.log_format;
  run.log_level = run.proxy.log_level;
}

constexpr const char* proxy_examples =
    "  sluice proxy\n"
    "  sluice proxy --rtmp-server 1935 --system-api 127.0.0.1:12025\n"
    "  PROXY_DEFAULT_BACKEND_ENABLED=on PROXY_DEFAULT_BACKEND_IP=10.0.0.5 sluice proxy\n";
constexpr const char* origin_examples =
    "  sluice origin\n"
    "  sluice origin --rtmp 0 --api 0 --register http://10.0.0.1:12025/api/v1/srs/register\n";
constexpr const char* run_examples =
    "  sluice run\n"
    "  sluice run --demo\n"
    "  sluice run --origins 4 --rtmp-server 127.0.0.1:1935\n";

invocation refused(const std::vector<std::string>& errors, const std::string& command) {
  invocation result;
  result.exit_code = 1;
  for (const auto& e : errors) result.err += fmt::format("sluice{}: {}\n", command.empty() ? "" : " " + command, e);
  if (!command.empty()) result.err += fmt::format("See `sluice {} --help`.\n", command);
  return result;
}

}  // namespace

invocation parse_command_line(const std::vector<std::string>& arguments, const surroundings& around) {
  invocation result;
  CLI::App app("Sluice: a live-media cluster in one program", "sluice");
  app.get_formatter()->column_width(40);
  app.require_subcommand(0, 1);
  app.allow_extras();
  bool version_flag = false;
  app.add_flag("--version", version_flag, "Print the version");

  const auto proxy_table = proxy_settings(result.proxy);
  const auto origin_table = origin_settings(result.origin);
  const auto run_proxy_table = run_proxy_settings(result.run.proxy);
  const auto run_table = run_settings(result.run);
  roles::origin_config of_children;  // read to check it; the children get the texts
  const auto run_origin_table = run_origin_settings(of_children);

  subcommand run(app, "run", "A whole cluster on this machine: a proxy and origins, supervised", run_examples);
  run.add_table(run_table);
  run.add_table(run_proxy_table);
  run.add_table(run_origin_table);
  subcommand proxy(app, "proxy", "Takes clients in and relays them to origins", proxy_examples);
  proxy.add_table(proxy_table);
  proxy.add_supervision(result.proxy);
  subcommand origin(app, "origin", "Takes published streams in and hands them out", origin_examples);
  origin.add_table(origin_table);
  origin.add_supervision(result.origin);
  const operator_commands operators(app);
  auto* version = app.add_subcommand("version", "Print the version");

  std::vector<std::string> backwards(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
  try {
    app.parse(backwards);
  } catch (const CLI::CallForHelp&) {
    result.out = app.help();
    return result;
  } catch (const CLI::ParseError& e) {
    return refused({e.what()}, app.get_subcommands().empty() ? "" : app.get_subcommands().front()->get_name());
  }
  if (version->parsed() || version_flag) {
    result.what = command::version;
    return result;
  }
  const auto rest = app.remaining(false);
  if (!rest.empty()) {
    const auto near = closest(rest.front(), {"proxy", "origin", "run", "explain", "drain", "version"});
    const auto hint = near.empty() ? std::string("; see `sluice --help`") : fmt::format("; did you mean {}?", near);
    return refused({fmt::format("unknown command or flag {}{}", rest.front(), hint)}, "");
  }
  if (const auto name = operators.chosen(); !name.empty()) {
    auto operation = operators.read(around.environment);
    if (!operation) return refused({operation.error().text}, name);
    result.what = command::operate;
    result.operation = std::move(*operation);
    return result;
  }
  const std::pair<const subcommand*, command> commands[] = {
      {&proxy, command::proxy}, {&origin, command::origin}, {&run, command::run}};
  for (const auto& [sub, what] : commands) {
    if (!sub->chosen()) continue;
    const std::string name = app.get_subcommands().front()->get_name();
    if (const auto unknown = sub->leftover(); !unknown.empty()) return refused({unknown}, name);
    auto report = sub->load(around);
    if (report.errors.empty() && what != command::origin) {
      report.errors = check_together(what == command::run ? result.run.proxy : result.proxy);
    }
    if (!report.errors.empty()) return refused(report.errors, name);
    if (what == command::run) plan_children(result, run_proxy_table, run_origin_table, report, around.environment);
    result.what = what;
    result.warnings = std::move(report.warnings);
    return result;
  }
  result.exit_code = 1;
  result.err = app.help();
  return result;
}

}  // namespace sluice::app
