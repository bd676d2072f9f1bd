#include "roles/proxy_state.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "admin/cluster_text.hpp"
#include "runtime/process.hpp"

namespace sluice::roles {
namespace {

namespace json = boost::json;

constexpr base::duration known_wait = std::chrono::seconds(1);
constexpr base::duration answers_wait = std::chrono::milliseconds(700);
constexpr std::string_view cluster_question = "cluster", explain_question = "explain ";
constexpr size_t origins_asked_max = 2000;

runtime::redis_options server_of(const redis_config& r, const std::string& proxy_id) {
  runtime::redis_options o;
  o.host = r.host;
  o.port = r.port;
  o.username = r.username;
  o.password = r.password;
  o.db = r.db;
  o.tls = r.tls;
  o.ca_file = r.ca_file;
  o.sentinels = r.sentinels;
  o.sentinel_master = r.sentinel_master;
  o.cluster = r.cluster;
  o.client_name = "sluice-" + proxy_id;
  return o;
}

cluster::redis_state::config state_of(const proxy_config& c, const std::string& proxy_id) {
  cluster::redis_state::config s;
  s.proxy_id = proxy_id;
  s.key_prefix = c.redis.key_prefix;
  s.origins.host = runtime::network_id();
  s.origins.ttl = c.origin_ttl;
  s.origins.policy = {c.origin_networks};
  s.about = json::serialize(json::object{{"version", SLUICE_VERSION}, {"pid", std::to_string(::getpid())}});
  return s;
}

}  // namespace

proxy_state::proxy_state(runtime::loop& control, const proxy_config& config, std::string proxy_id, base::log_sink& log,
                         base::metrics& metrics)
    : log_(log), patience_(control, [this] { become_known(); }) {
  if (config.balancer == load_balancer::redis) {
    redis_ = std::make_unique<cluster::redis_state>(control, server_of(config.redis, proxy_id),
                                                    state_of(config, proxy_id), log, metrics);
    return;
  }
  const auto now = [] { return runtime::loop::monotonic_now(); };
  memory_ = std::make_unique<cluster::memory_store>(now);
  memory_sessions_ = std::make_unique<cluster::memory_session_store>(now);
}

cluster::session_store& proxy_state::sessions() {
  if (redis_) return redis_->sessions();
  return *memory_sessions_;
}

cluster::owner_store& proxy_state::store() {
  if (redis_) return redis_->store();
  return *memory_;
}

std::vector<std::pair<cluster::stream_key, cluster::owner_record>> proxy_state::own_owners() {
  if (memory_) return memory_->records();
  return {};
}

std::vector<std::pair<std::string, std::string>> proxy_state::own_sessions() {
  if (memory_sessions_) return memory_sessions_->entries();
  return {};
}

void proxy_state::attach(relay::director& director, own_report report) {
  director_ = &director;
  own_report_ = std::move(report);
  if (!redis_) return;
  redis_->listen({
      .on_store =
          [this](bool reachable, bool cold) {
            reached_ = true;
            director_->store_state(reachable, cold);
            if (reachable) become_known();
          },
      .on_owner = [this](const cluster::stream_key& key,
                         const cluster::owner_record& owner) { director_->announced(key, owner); },
      .on_origin =
          [this](cluster::origin_registration r) {
            director_->registration(std::move(r), cluster::registered_by::proxy);
          },
      .on_stored_origin = [this](cluster::origin_registration r, base::duration ago) { on_stored(std::move(r), ago); },
      .on_hello = [this] { ++wanted_; },
      .on_drains = [this](const std::set<std::string>& ids) { on_drains(ids); },
      .on_question = [this](const std::string& question,
                            const std::function<void(std::string)>& respond) { on_question(question, respond); },
  });
}

void proxy_state::when_known(std::function<void()> task) {
  if (!redis_) return task();
  if (reached_) return task();
  when_known_ = std::move(task);
  patience_.arm_after(known_wait);
}

void proxy_state::become_known() {
  patience_.cancel();
  if (!std::exchange(reached_, true)) director_->store_state(false, false);  // until it says otherwise
  if (const auto task = std::exchange(when_known_, nullptr)) task();
}

base::result<cluster::registration_reply> proxy_state::registration(cluster::origin_registration registration) {
  if (!redis_) return director_->registration(std::move(registration));
  auto reply = director_->registration(registration);
  if (!reply) return reply;
  redis_->origin_registered(registration);
  if (asked_.size() >= origins_asked_max) asked_.clear();
  if (std::exchange(asked_[registration.id()], wanted_) != wanted_) reply->want_whole = true;
  return reply;
}

/// Of an origin of ours that is known here, heartbeats tell more. Others may have no other way to be heard of.
void proxy_state::on_stored(cluster::origin_registration stored, base::duration ago) {
  const auto known = director_->snapshot().origins;
  const auto is_it = [id = stored.id()](const auto& o) { return o.id == id; };
  if (stored.sluice && std::any_of(known.begin(), known.end(), is_it)) return;
  director_->registration(std::move(stored), cluster::registered_by::store, ago);
}

void proxy_state::leave() {
  if (redis_) redis_->leave();
}

// -- drains: an operator's word at one proxy counts at all

base::result<size_t> proxy_state::drain(const std::string& server_id, bool on) {
  auto outcome = director_->drain(server_id, on);
  if (!outcome) return outcome;
  log_.info(on ? "drain_begun" : "drain_undone", {{"server", server_id}, {"by", "operator"}});
  if (redis_) redis_->drained(server_id, on);
  return outcome;
}

void proxy_state::on_drains(const std::set<std::string>& server_ids) {
  std::set<std::pair<std::string, bool>> changes;
  for (const auto& o : director_->snapshot().origins)
    if (const bool on = server_ids.contains(o.server_id); on != o.draining) changes.emplace(o.server_id, on);
  for (const auto& [server_id, on] : changes) {
    log_.info(on ? "drain_begun" : "drain_undone", {{"server", server_id}, {"by", "store"}});
    director_->drain(server_id, on);
  }
}

// -- the picture: everybody's part of it

admin::cluster_operations proxy_state::operations() {
  return {[this](auto done) { report(std::move(done)); },
          [this](const cluster::stream_key& key, auto done) { explain(key, std::move(done)); },
          [this](const std::string& server_id, bool on) { return drain(server_id, on); }, redis_ != nullptr};
}

void proxy_state::note_silent(admin::cluster_report& report, const cluster::redis_state::answer& from) const {
  json::error_code failure;
  const json::value about = json::parse(from.about, failure);
  const auto text = [&](std::string_view name) -> std::string {
    const json::value* v = !failure && about.is_object() ? about.get_object().if_contains(name) : nullptr;
    return v != nullptr && v->is_string() ? std::string(std::string_view(v->get_string())) : std::string();
  };
  admin::cluster_report::proxy silent{from.proxy_id, text("version"), text("pid"), {}, 0};
  silent.answered = false;
  report.proxies.push_back(std::move(silent));
}

void proxy_state::report(std::function<void(admin::cluster_report)> done) {
  if (!redis_) return done(own_report_());
  redis_->ask(std::string(cluster_question), answers_wait,
              [this, done = std::move(done)](const std::vector<cluster::redis_state::answer>& answers) {
                auto all = own_report_();
                for (const auto& a : answers)
                  if (!a.text || !admin::merge_cluster(all, *a.text)) note_silent(all, a);
                done(std::move(all));
              });
}

admin::stream_story proxy_state::own_story(const cluster::stream_key& key) const {
  admin::stream_story story{own_report_(), director_->explain(key)};
  std::erase_if(story.report.streams, [&](const auto& s) { return s.key != key; });
  std::erase_if(story.report.figures, [name = key.str()](const auto& f) { return f.first != name; });
  return story;
}

void proxy_state::explain(const cluster::stream_key& key, std::function<void(admin::stream_story)> done) {
  if (!redis_) return done(own_story(key));
  redis_->ask(std::string(explain_question) + key.str(), answers_wait,
              [this, key, done = std::move(done)](const std::vector<cluster::redis_state::answer>& answers) {
                auto story = own_story(key);
                for (const auto& a : answers)
                  if (a.text) admin::merge_story(story, *a.text);
                done(std::move(story));
              });
}

void proxy_state::on_question(const std::string& question, const std::function<void(std::string)>& respond) {
  if (question == cluster_question) return respond(admin::cluster_body(own_report_(), 0, admin::streams_count_max));
  if (!question.starts_with(explain_question)) return;
  const auto key = cluster::parse_key(std::string_view(question).substr(explain_question.size()));
  if (key) respond(admin::story_text(own_story(*key)));
}

}  // namespace sluice::roles
