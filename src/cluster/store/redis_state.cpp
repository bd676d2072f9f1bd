#include "cluster/store/redis_state.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <utility>

#include "cluster/store/redis_scripts.hpp"
#include "runtime/process.hpp"

namespace sluice::cluster {
namespace {

namespace json = boost::json;

constexpr base::duration pulse_interval = std::chrono::seconds(1);
constexpr base::duration presence_interval = std::chrono::seconds(10);
/// Whoever has not said for so long that it is there is gone.
constexpr uint64_t presence_life_ms = 30'000;
/// Origins are read again so often: messages about them may have been lost, and Go proxies send none.
constexpr base::duration load_interval = std::chrono::seconds(10);
/// Drains are read more often, so that proxies agree within seconds whatever was lost.
constexpr base::duration drains_interval = std::chrono::seconds(3);
constexpr size_t questions_max = 64;
/// Others are left out of the picture: nobody has so many.
constexpr size_t proxies_max = 1000;
constexpr size_t answer_bytes_max = 6u << 20;

const runtime::redis_script& generation() {
  static const runtime::redis_script script{std::string(generation_script)};
  return script;
}

uint64_t wall_ms() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(since).count());
}

void ignore(const base::result<resp::value>&) {}

}  // namespace

redis_state::redis_state(runtime::loop& l, runtime::redis_options server, config c, base::log_sink& log,
                         base::metrics& metrics)
    : loop_(l),
      config_(std::move(c)),
      keys_(config_.key_prefix),
      client_(l, std::move(server), log, metrics),
      store_(client_, keys_, config_.proxy_id),
      sessions_(client_, keys_, config_.proxy_id),
      origins_(client_, keys_, config_.origins),
      drains_(
          l, client_, keys_, log,
          [this](const std::string& server_id, const redis_drains::word& said, runtime::redis_client::on_reply done) {
            publish(message::drain{server_id, said.on, said.at_ms}, std::move(done));
          },
          [this] {
            if (listener_.on_drains) listener_.on_drains(drains_.drained());
          }),
      pulse_(l, [this] { pulse(); }),
      bad_messages_(metrics.counter("sluice_bad_messages_total", "Messages of other proxies that could not be read.")) {
  client_.on_state = [this](bool up) { on_client_state(up); };
  client_.subscribe({keys_.channel()}, [this](std::string_view, std::string_view payload) { heard(payload); });
  pulse_.arm_after(pulse_interval);
}

redis_state::~redis_state() = default;

// -- the store: there or not, the same or another

void redis_state::on_client_state(bool up) {
  if (up) return check_generation();
  if (std::exchange(reachable_, false) && listener_.on_store) listener_.on_store(false, false);
}

void redis_state::check_generation() {
  if (std::exchange(checking_, true)) return;
  client_.eval(generation(), {keys_.generation()}, {runtime::random_id(16)},
               [this](const base::result<resp::value>& answer) {
                 checking_ = false;
                 if (!answer || answer->elements.size() != 2) return;
                 const std::string& now = answer->elements[0].text;
                 const bool cold = answer->elements[1].integer == 1 || (!generation_.empty() && generation_ != now);
                 generation_ = now;
                 if (cold || !reachable_) reached(cold);
               });
}

void redis_state::reached(bool cold) {
  reachable_ = true;
  if (cold) {
    origins_.forget_written();
    drains_.write_again();
  } else {
    drains_.save();
  }
  announced_at_ = loaded_at_ = drains_loaded_at_ = base::time_point::min();
  if (listener_.on_store) listener_.on_store(true, cold);
  say(message::hello{});
  pulse();
}

void redis_state::pulse() {
  pulse_.arm_after(pulse_interval);
  if (!client_.is_up()) return;
  if (!reachable_) return check_generation();
  const base::time_point now = loop_.now();
  if (announced_at_ == base::time_point::min() || now >= announced_at_ + presence_interval) {
    announced_at_ = now;
    announce_self();
  }
  if (loaded_at_ == base::time_point::min() || now >= loaded_at_ + load_interval) {
    loaded_at_ = now;
    origins_.load(wall_ms(), [this](origin_registration r, base::duration ago) {
      if (listener_.on_stored_origin) listener_.on_stored_origin(std::move(r), ago);
    });
  }
  if (drains_loaded_at_ == base::time_point::min() || now >= drains_loaded_at_ + drains_interval) {
    drains_loaded_at_ = now;
    drains_.load(wall_ms());
  }
  check_generation();
}

// -- who is there

void redis_state::announce_self() {
  json::object about{{"at_ms", std::to_string(wall_ms())}, {"about", config_.about}};
  client_.call(keys_.proxies(), {"HSET", keys_.proxies(), config_.proxy_id, json::serialize(about)}, ignore);
}

void redis_state::leave() {
  pulse_.cancel();
  if (client_.is_up()) client_.call(keys_.proxies(), {"HDEL", keys_.proxies(), config_.proxy_id}, ignore);
}

void redis_state::drained(const std::string& server_id, bool on) { drains_.ordered(server_id, on, wall_ms()); }

void redis_state::origin_registered(const origin_registration& registration) {
  if (!client_.is_up()) return;
  origins_.note(registration, loop_.now(), wall_ms());
  say(message::origin{make_registration_body(registration), config_.origins.host});
}

// -- messages

void redis_state::say(const cluster_message& message) { publish(message, ignore); }

void redis_state::publish(const cluster_message& message, runtime::redis_client::on_reply done) {
  client_.call({}, {"PUBLISH", keys_.channel(), message_text(config_.proxy_id, message)}, std::move(done));
}

void redis_state::heard(std::string_view text) {
  auto sent = parse_message(text);
  if (!sent) return bad_messages_.add();
  if (sent->from == config_.proxy_id) return;
  std::visit([&](const auto& m) { take(sent->from, m); }, sent->what);
}

void redis_state::take(const std::string&, const message::owner& m) {
  if (listener_.on_owner) listener_.on_owner(m.key, m.record);
}

void redis_state::take(const std::string&, const message::origin& m) {
  auto registration = parse_registration(m.body, config_.origins.policy);
  if (!registration) return bad_messages_.add();
  if (origins_.is_for_us(*registration, m.host) && listener_.on_origin) listener_.on_origin(std::move(*registration));
}

void redis_state::take(const std::string&, const message::hello&) {
  if (listener_.on_hello) listener_.on_hello();
}

void redis_state::take(const std::string&, const message::drain& m) {
  if (drains_.heard(m.server_id, {m.on, m.at_ms}, wall_ms()) && listener_.on_drains)
    listener_.on_drains(drains_.drained());
}

void redis_state::take(const std::string& from, const message::question& m) {
  if (!listener_.on_question) return;
  listener_.on_question(m.text, [this, from, id = m.id, alive = std::weak_ptr<bool>(alive_)](std::string text) {
    if (!alive.expired() && text.size() <= answer_bytes_max) say(message::answer{from, id, std::move(text)});
  });
}

void redis_state::take(const std::string& from, const message::answer& m) {
  if (m.to != config_.proxy_id) return;
  const auto at = asked_.find(m.id);
  if (at == asked_.end()) return;
  asking& a = at->second;
  auto one = std::find_if(a.answers.begin(), a.answers.end(), [&](const answer& x) { return x.proxy_id == from; });
  if (one == a.answers.end()) {
    // It has come since the list was read.
    if (a.answers.size() < proxies_max) a.answers.push_back({from, {}, m.text});
  } else if (!one->text) {
    one->text = m.text;
    --a.missing;
  }
  if (a.missing == 0) finish_asking(m.id);
}

void redis_state::take(const std::string&, const message::session_end& m) {
  if (sessions_.on_ended) sessions_.on_ended(m.key);
}

void redis_state::ask(std::string question, base::duration timeout, std::function<void(std::vector<answer>)> done) {
  if (!reachable_ || !client_.is_up() || asked_.size() >= questions_max)
    return loop_.defer([done = std::move(done)] { done({}); });
  const std::string id = std::to_string(++questions_);
  asking& a = asked_[id];
  a.done = std::move(done);
  a.missing = 1;  // the list itself
  a.deadline = std::make_unique<runtime::timer>(loop_, [this, id] { finish_asking(id); });
  a.deadline->arm_after(timeout);
  client_.call(keys_.proxies(), {"HGETALL", keys_.proxies()},
               [this, id, question = std::move(question)](const base::result<resp::value>& listed) mutable {
                 if (!asked_.contains(id)) return;
                 if (!listed) return finish_asking(id);
                 begin_asking(id, *listed, std::move(question));
               });
}

void redis_state::begin_asking(const std::string& id, const resp::value& listed, std::string question) {
  asking& a = asked_.at(id);
  const uint64_t now = wall_ms();
  std::vector<std::string> gone{"HDEL", keys_.proxies()};
  for (size_t i = 0; i + 1 < listed.elements.size(); i += 2) {
    const std::string& proxy = listed.elements[i].text;
    json::error_code failure;
    const json::value parsed = json::parse(listed.elements[i + 1].text, failure);
    const json::object* object = failure ? nullptr : parsed.if_object();
    const auto text = [&](std::string_view name) {
      const json::value* v = object == nullptr ? nullptr : object->if_contains(name);
      return v != nullptr && v->is_string() ? std::string(std::string_view(v->get_string())) : std::string();
    };
    const uint64_t at = std::strtoull(text("at_ms").c_str(), nullptr, 10);
    if (at + presence_life_ms < now) {
      gone.push_back(proxy);
    } else if (proxy != config_.proxy_id && a.answers.size() < proxies_max) {
      a.answers.push_back({proxy, text("about"), std::nullopt});
      ++a.missing;
    }
  }
  if (gone.size() > 2) client_.call(keys_.proxies(), std::move(gone), ignore);
  if (--a.missing == 0) return finish_asking(id);
  say(message::question{id, std::move(question)});
}

void redis_state::finish_asking(const std::string& id) {
  auto node = asked_.extract(id);
  if (node.empty()) return;
  // Not from within the timer's own call, which it would destroy.
  loop_.defer([a = std::make_shared<asking>(std::move(node.mapped()))] { a->done(std::move(a->answers)); });
}

}  // namespace sluice::cluster
