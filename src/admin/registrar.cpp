#include "admin/registrar.hpp"

#include <fmt/format.h>

#include <boost/url.hpp>

#include "runtime/http_server.hpp"
#include "runtime/tcp.hpp"
#include "runtime/udp.hpp"

namespace sluice::admin {
namespace {

// A heartbeat that takes longer has missed its turn; the next one follows at once.
constexpr base::duration call_timeout = std::chrono::seconds(3);

}  // namespace

registrar::registrar(runtime::loop& l, registrar_config config, std::function<cluster::origin_registration()> describe,
                     base::log_sink& log, base::metrics& metrics)
    : loop_(l),
      config_(std::move(config)),
      describe_(std::move(describe)),
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
  auto registration = describe_();
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
        finished(t, r->status == 200,
                 r->status == 200 ? "" : fmt::format("status {}: {}", r->status, r->body.substr(0, 200)));
      });
}

void registrar::finished(target& t, bool ok, const std::string& text) {
  t.in_flight = false;
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
