#include "roles/operate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <boost/url/encode.hpp>
#include <boost/url/rfc/unreserved_chars.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "runtime/http_server.hpp"
#include "runtime/loop.hpp"

namespace sluice::roles {
namespace {

namespace json = boost::json;

constexpr size_t answer_bytes_max = 4 << 20;

std::string encoded(const std::string& text) { return boost::urls::encode(text, boost::urls::unreserved_chars); }

runtime::http_client_request request_of(const operate_config& c) {
  runtime::http_client_request r;
  r.url = c.api;
  switch (c.what) {
    case operate_config::what_to_do::explain:
      r.url += "/api/v1/sluice/explain?stream=" + encoded(c.subject);
      break;
    case operate_config::what_to_do::drain:
    case operate_config::what_to_do::undo_drain:
      r.method = c.what == operate_config::what_to_do::drain ? "POST" : "DELETE";
      r.url += "/api/v1/sluice/origins/" + encoded(c.subject) + "/drain";
  }
  if (!c.token.empty()) r.headers.emplace_back("Authorization", "Bearer " + c.token);
  r.response_bytes_max = answer_bytes_max;
  return r;
}

/// Of another process: nothing in it may steer the terminal.
std::string plain(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';
  return out;
}

/// A member as text; `none` if it is missing, null or empty.
std::string member(const json::object& o, std::string_view name, std::string_view none = "-") {
  const auto* v = o.if_contains(name);
  if (!v || v->is_null()) return std::string(none);
  if (v->is_string()) return v->get_string().empty() ? std::string(none) : plain(v->get_string());
  return json::serialize(*v);
}

bool is_true(const json::object& o, std::string_view name) {
  const auto* v = o.if_contains(name);
  return v && v->is_bool() && v->get_bool();
}

using row = std::array<std::string, 5>;

std::string table(const std::vector<row>& rows) {
  std::array<size_t, 5> widths{};
  for (const auto& r : rows)
    for (size_t i = 0; i < r.size(); ++i) widths[i] = std::max(widths[i], r[i].size());
  std::string out;
  for (const auto& r : rows) {
    std::string line;
    for (size_t i = 0; i + 1 < r.size(); ++i) line += fmt::format("{:<{}}  ", r[i], widths[i]);
    line += r.back();
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

tl::unexpected<base::error> no_answer() {
  return base::fail("bad_answer", "the answer is not that of a proxy's system API; is --api right?");
}

std::optional<json::object> object_of(const std::string& body) {
  boost::system::error_code failure;
  auto v = json::parse(body, failure);
  if (failure || !v.is_object()) return std::nullopt;
  return std::move(v.get_object());
}

tl::unexpected<base::error> refused(const runtime::http_response& r) {
  const auto object = object_of(r.body);
  const auto text = object ? member(*object, "error", "no reason given") : fmt::format("status {}", r.status);
  if (r.status == 401) return base::fail("refused", text + ": give --token, or set PROXY_HTTP_API_AUTH_TOKEN");
  return base::fail("refused", text);
}

}  // namespace

base::result<std::string> explanation_text(const std::string& body) {
  const auto answer = object_of(body);
  const auto* stream = answer ? answer->if_contains("stream") : nullptr;
  const auto* events = answer ? answer->if_contains("events") : nullptr;
  if (!stream || !stream->is_object() || !events || !events->is_array()) return no_answer();
  const auto& s = stream->get_object();
  auto out = fmt::format(
      "stream     {}\nowner      {}, epoch {}\npublisher  {}\nviewers    {} here; {} bytes retained\n",
      member(s, "name"), member(s, "owner", "none"), member(s, "epoch"),
      member(s, "publisher", "none through this proxy"), member(s, "viewers", "0"), member(s, "retained_bytes", "0"));
  if (is_true(s, "degraded")) out += "state      degraded: published here, and without an origin now\n";
  std::vector<row> rows{{"time", "what", "origin", "epoch", "reason"}};
  for (const auto& e : events->get_array()) {
    if (!e.is_object()) return no_answer();
    const auto& o = e.get_object();
    const auto what = member(o, "what");
    auto reason = member(o, "reason", "");
    if (what == "published" || what == "ended") reason = "session " + reason;  // by whom: nothing else is to be said
    rows.push_back({member(o, "at"), what, member(o, "origin"), member(o, "epoch"), std::move(reason)});
  }
  if (rows.size() == 1) return out + "\nNothing has happened to it that is remembered.\n";
  return out + "\n" + table(rows);
}

base::result<std::string> drain_text(const std::string& body) {
  const auto answer = object_of(body);
  if (!answer || !answer->contains("draining")) return no_answer();
  const auto server = member(*answer, "server");
  const auto others =
      is_true(*answer, "shared") ? "All proxies that share its store do the same." : "Tell every proxy.";
  if (!is_true(*answer, "draining")) return fmt::format("{} takes new streams again. {}\n", server, others);
  return fmt::format(
      "{} gets no new streams. Streams published through this proxy that are to move: {}.\nHow far it is: to_move and "
      "move_refused of GET /api/v1/sluice/cluster. {}\n",
      server, member(*answer, "to_move"), others);
}

base::result<std::string> run_operation(const operate_config& config) {
  runtime::loop loop;
  std::optional<base::result<runtime::http_response>> outcome;
  runtime::http_fetch(loop, request_of(config), [&](base::result<runtime::http_response> r) {
    outcome = std::move(r);
    loop.stop();
  });
  loop.run();
  if (!*outcome)
    return base::fail("no_answer",
                      fmt::format("{} (is a proxy's system API at --api {} ?)", outcome->error().text, config.api));
  const auto& response = **outcome;
  if (response.status != 200) return refused(response);
  if (config.json) return response.body + "\n";
  return config.what == operate_config::what_to_do::explain ? explanation_text(response.body)
                                                            : drain_text(response.body);
}

}  // namespace sluice::roles
