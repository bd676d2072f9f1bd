#include "cluster/store/cluster_message.hpp"

#include <boost/json.hpp>
#include <cstdlib>
#include <optional>
#include <utility>

#include "cluster/store/owner_text.hpp"

namespace sluice::cluster {
namespace {

namespace json = boost::json;

template <typename... Fs>
struct overloaded : Fs... {
  using Fs::operator()...;
};

tl::unexpected<base::error> bad(std::string text) { return base::fail("bad_message", std::move(text)); }

/// The members of a message; remembers whether one was not there.
class members {
 public:
  explicit members(const json::object& object) : object_(object) {}
  std::string text(std::string_view name) {
    const json::value* value = object_.if_contains(name);
    const json::string* text = value == nullptr ? nullptr : value->if_string();
    if (text == nullptr) missing_ = true;
    return text == nullptr ? std::string() : std::string(std::string_view(*text));
  }
  bool flag(std::string_view name) {
    const json::value* value = object_.if_contains(name);
    if (value == nullptr || !value->is_bool()) missing_ = true;
    return value != nullptr && value->is_bool() && value->get_bool();
  }
  /// 0 if it is not there.
  uint64_t number(std::string_view name) const {
    const json::value* value = object_.if_contains(name);
    const json::string* text = value == nullptr ? nullptr : value->if_string();
    return text == nullptr ? 0 : std::strtoull(text->c_str(), nullptr, 10);
  }
  bool missing() const { return missing_; }

 private:
  const json::object& object_;
  bool missing_ = false;
};

base::result<cluster_message> parse_what(std::string_view what, members& in) {
  if (what == "owner") {
    auto key = parse_key(in.text("stream"));
    auto record = parse_owner_json(in.text("record"));
    if (!key || !record) return bad("a message of an owner without a stream or a record");
    return message::owner{std::move(*key), std::move(*record)};
  }
  if (what == "origin") return message::origin{in.text("registration"), in.text("host")};
  if (what == "hello") return message::hello{};
  if (what == "drain") return message::drain{in.text("server"), in.flag("on"), in.number("at_ms")};
  if (what == "question") return message::question{in.text("id"), in.text("text")};
  if (what == "answer") return message::answer{in.text("to"), in.text("id"), in.text("text")};
  if (what == "session_end") return message::session_end{in.text("key")};
  return bad("an unknown message");
}

}  // namespace

std::string message_text(std::string_view from, const cluster_message& message) {
  json::object out{{"from", from}};
  std::visit(overloaded{
                 [&](const message::owner& m) {
                   out["what"] = "owner";
                   out["stream"] = m.key.str();
                   out["record"] = owner_json(m.record, {});
                 },
                 [&](const message::origin& m) {
                   out["what"] = "origin";
                   out["registration"] = m.body;
                   out["host"] = m.host;
                 },
                 [&](const message::hello&) { out["what"] = "hello"; },
                 [&](const message::drain& m) {
                   out["what"] = "drain";
                   out["server"] = m.server_id;
                   out["on"] = m.on;
                   out["at_ms"] = std::to_string(m.at_ms);
                 },
                 [&](const message::question& m) {
                   out["what"] = "question";
                   out["id"] = m.id;
                   out["text"] = m.text;
                 },
                 [&](const message::answer& m) {
                   out["what"] = "answer";
                   out["to"] = m.to;
                   out["id"] = m.id;
                   out["text"] = m.text;
                 },
                 [&](const message::session_end& m) {
                   out["what"] = "session_end";
                   out["key"] = m.key;
                 },
             },
             message);
  return json::serialize(out);
}

base::result<sent_message> parse_message(std::string_view text) {
  json::error_code failure;
  const json::value parsed = json::parse(text, failure);
  const json::object* object = failure ? nullptr : parsed.if_object();
  if (object == nullptr) return bad("a message that is no JSON object");
  members in(*object);
  sent_message out;
  out.from = in.text("from");
  auto what = parse_what(in.text("what"), in);
  if (!what) return tl::unexpected(what.error());
  if (in.missing()) return bad("a message that lacks something");
  out.what = std::move(*what);
  return out;
}

}  // namespace sluice::cluster
