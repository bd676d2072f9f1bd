#include "app/operator_commands.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include "app/values.hpp"
#include "cluster/core/stream_key.hpp"

namespace sluice::app {
namespace {

constexpr const char* token_variable = "PROXY_HTTP_API_AUTH_TOKEN";
constexpr size_t server_id_bytes_max = 256;

base::result<void> check_stream(const std::string& name) {
  // The proxy knows whether the first part is a virtual host; here it is enough that one of both readings is a name.
  if (cluster::parse_key(name) || cluster::parse_key(fmt::format("{}/{}", cluster::default_vhost, name))) return {};
  return base::fail("bad_value", fmt::format("\"{}\": want APP/STREAM or VHOST/APP/STREAM", name));
}

base::result<void> check_server(const std::string& id) {
  const bool text = std::all_of(id.begin(), id.end(), [](char c) { return static_cast<unsigned char>(c) > ' '; });
  if (text && !id.empty() && id.size() <= server_id_bytes_max) return {};
  return base::fail("bad_value", fmt::format("\"{}\": want an origin's server id, as its --server-id says", id));
}

/// `host:port`, or with `http://` before it, as an address to put paths behind.
base::result<std::string> parse_api(std::string text) {
  if (text.find("://") == text.npos) text = "http://" + text;
  while (text.ends_with('/')) text.pop_back();
  const auto url = boost::urls::parse_uri(text);
  if (!url || url->scheme() != "http" || url->encoded_host().empty() || url->has_userinfo() || url->has_query() ||
      url->has_fragment() || !url->encoded_path().empty())
    return base::fail("bad_value", fmt::format("--api {}: want http://HOST:PORT of a proxy's system API", text));
  return text;
}

}  // namespace

CLI::App* operator_commands::add(CLI::App& parent, const char* name, const char* doc, const char* subject,
                                 const char* subject_doc, const char* examples) {
  auto* app = parent.add_subcommand(name, doc);
  app->allow_extras();
  app->add_option(subject, subject_, subject_doc)->option_text(" ");
  app->add_option("--api", api_, "The system API of the proxy to ask (default http://127.0.0.1:12025).")
      ->type_name("URL");
  app->add_option(
         "--token", token_,
         fmt::format("Its bearer token, if it wants one; better in {}, which other users cannot see.", token_variable))
      ->type_name("TEXT");
  app->add_flag("--json", json_, "Print the API's answer as it is.");
  app->footer(fmt::format("Examples:\n{}\nExit code: 0 when it is done, 1 with a reason when it is not.", examples));
  return app;
}

operator_commands::operator_commands(CLI::App& parent) {
  explain_ = add(parent, "explain", "What has happened to a stream: its owners, losses, gaps", "STREAM",
                 "Its name: APP/STREAM, or VHOST/APP/STREAM.",
                 "  sluice explain live/livestream\n"
                 "  sluice explain live/livestream --api 10.0.0.1:12025 --json\n");
  drain_ = add(parent, "drain", "An origin gets no new streams, and those it has move elsewhere", "SERVER_ID",
               "The origin's server id: `server` of GET /api/v1/sluice/cluster.",
               "  sluice drain origin1\n"
               "  sluice drain origin1 --undo\n");
  drain_->add_flag("--undo", undo_, "It takes streams again.");
}

std::string operator_commands::chosen() const {
  return explain_->parsed() ? "explain" : drain_->parsed() ? "drain" : "";
}

base::result<roles::operate_config> operator_commands::read(const variables& environment) const {
  using what_to_do = roles::operate_config::what_to_do;
  const bool explains = explain_->parsed();
  const auto* app = explains ? explain_ : drain_;
  if (const auto rest = app->remaining(); !rest.empty()) {
    const auto flag = rest.front().substr(0, rest.front().find('='));
    if (!flag.starts_with("-"))
      return base::fail("bad_value", fmt::format("unexpected argument {}: one name is enough", flag));
    std::vector<std::string> known{"--api", "--token", "--json", "--help"};
    if (!explains) known.emplace_back("--undo");
    const auto near = closest(flag, known);
    return base::fail("bad_value", fmt::format("unknown flag {}{}", flag,
                                               near.empty() ? "" : fmt::format("; did you mean {}?", near)));
  }
  if (subject_.empty())
    return base::fail("bad_value", explains ? "want a STREAM: APP/STREAM or VHOST/APP/STREAM" : "want a SERVER_ID");
  if (const auto fine = explains ? check_stream(subject_) : check_server(subject_); !fine)
    return tl::unexpected(fine.error());
  auto api = parse_api(api_);
  if (!api) return tl::unexpected(api.error());
  roles::operate_config c;
  c.what = explains ? what_to_do::explain : undo_ ? what_to_do::undo_drain : what_to_do::drain;
  c.subject = subject_;
  c.api = std::move(*api);
  c.token = token_;
  c.json = json_;
  if (c.token.empty())
    for (const auto& [name, value] : environment)
      if (name == token_variable) c.token = value;
  return c;
}

}  // namespace sluice::app
