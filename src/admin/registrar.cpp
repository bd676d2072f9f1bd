#include "admin/registrar.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <boost/url.hpp>

#include "runtime/http_server.hpp"
#include "runtime/tcp.hpp"
#include "runtime/udp.hpp"

namespace sluice::admin {
namespace {

// A heartbeat that takes longer has missed its turn; the next one follows at once.
constexpr base::duration call_timeout = std::chrono::seconds(3);

}  // namespace

registrar::registrar(runtime::loop& l, registrar_config config, registrar_parts parts, base::log_sink& log,
                     base::metrics& metrics)
    : loop_(l),
      config_(std::move(config)),
      parts_(std::move(parts)),
      log_(log),
      failures_(metrics.counter("sluice_register_failures_total", "Register calls that no proxy took.")),
      timer_(l, [this] { beat(); }) {
  for (const auto& url : config_.urls) {
    targets_.push_back(std::make_unique<target>());
    targets_.back()->url = url;
  }
  beat();
}

registrar::~registrar() = default;

void registrar::beat() {
  for (auto& t : targets_)
    if (!t->in_flight) call(*t);
  timer_.arm_after(config_.interval);
}

void registrar::tell_all_now() {
  for (auto& t : targets_) {
    t->held.want_whole();
    if (t->in_flight) {
      t->again = true;
    } else {
      call(*t);
    }
  }
}

void registrar::call(target& t) {
  t.in_flight = true;
  if (config_.advertise || t.route) return send(t);
  const auto url = boost::urls::parse_uri(t.url);
  if (!url) return finished(t, false, "the URL is not valid");
  const auto port = url->port_number() ? url->port_number() : uint16_t{80};
  const std::string host =
      url->host_type() == boost::urls::host_type::ipv6 ? std::string(url->host_address()) : std::string(url->host());
  runtime::resolve(loop_, host, port,
                   [this, &t, alive = std::weak_ptr<bool>(alive_)](base::result<std::vector<base::endpoint>> found) {
                     if (alive.expired()) return;
                     if (!found || found->empty())
                       return finished(t, false, found ? "the host has no address" : found.error().text);
                     t.route = runtime::route_source(found->front());
                     if (!t.route) return finished(t, false, "no route to the proxy");
                     send(t);
                   });
}

void registrar::send(target& t) {
  auto registration = parts_.describe();
  if (registration.sluice) {
    t.sent = t.held.next(parts_.held(), loop_.now());
    registration.sluice->streams = t.sent.streams;
    registration.sluice->whole = t.sent.whole;
    registration.sluice->beat = t.beat = ++beats_;
    registration.sluice->since = t.sent.whole ? 0 : t.taken;
  }
  registration.address = config_.advertise ? *config_.advertise : *t.route;
  registration.ip = registration.address.to_string();
  runtime::http_client_request request;
  request.method = "POST";
  request.url = t.url;
  request.content_type = "application/json";
  request.body = cluster::make_registration_body(registration);
  request.timeout = call_timeout;
  if (!config_.token.empty()) request.headers.emplace_back("Authorization", "Bearer " + config_.token);
  runtime::http_fetch(
      loop_, std::move(request),
      [this, &t, alive = std::weak_ptr<bool>(alive_)](base::result<runtime::http_response> r) {
        if (alive.expired()) return;
        if (!r) return finished(t, false, r.error().text.empty() ? std::string(r.error().reason) : r.error().text);
        if (r->status == 200) take_reply(t, r->body);
        finished(t, r->status == 200,
                 r->status == 200 ? "" : fmt::format("status {}: {}", r->status, r->body.substr(0, 200)));
      });
}

/// `{"code":0,…,"sluice":{"proxy":ID,"want_whole":true|false,"fenced":{"vhost/app/stream":"counter.claim",…}}}` of a
/// Sluice proxy; of another one nothing more is known.
void registrar::take_reply(target& t, const std::string& body) {
  boost::system::error_code failure;
  const auto json = boost::json::parse(body, failure);
  const auto* object = failure ? nullptr : json.if_object();
  const auto* note = object ? object->if_contains("sluice") : nullptr;
  const auto* sluice = note ? note->if_object() : nullptr;
  if (!sluice) return;
  if (const auto* fenced = sluice->if_contains("fenced"); fenced && fenced->is_object()) {
    for (const auto& [name, epoch] : fenced->get_object()) {
      const auto key = cluster::parse_key(name);
      const auto e = epoch.is_string() ? cluster::parse_epoch(epoch.get_string()) : std::nullopt;
      if (key && e) parts_.on_fenced(*key, *e);
    }
  }
  t.taken = t.beat;
  if (const auto sent_at = t.held.accepted(t.sent, loop_.now()); sent_at != base::never) parts_.on_whole_taken(sent_at);
  const auto* want = sluice->if_contains("want_whole");
  const auto* proxy = sluice->if_contains("proxy");
  const std::string id(proxy && proxy->is_string() ? std::string_view(proxy->get_string()) : std::string_view());
  // Another process at that address knows nothing of what was told before.
  const auto before = std::exchange(t.proxy, id);
  const bool another = !before.empty() && before != id;
  if (another || (want && want->is_bool() && want->get_bool())) t.held.want_whole();
}

void registrar::finished(target& t, bool ok, const std::string& text) {
  t.in_flight = false;
  if (std::exchange(t.again, false))
    loop_.post([this, &t, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired() && !t.in_flight) call(t);
    });
  if (!ok) {
    failures_.add();
    t.route.reset();  // the network may have changed
  }
  if (t.accepted == ok) return;
  t.accepted = ok;
  if (ok) {
    log_.info("registered", {{"proxy", t.url}});
  } else {
    log_.warn("register_failed", {{"proxy", t.url}, {"text", text}});
  }
}

}  // namespace sluice::admin
