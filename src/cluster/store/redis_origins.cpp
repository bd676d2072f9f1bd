#include "cluster/store/redis_origins.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <memory>
#include <utility>

#include "cluster/store/redis_scripts.hpp"

namespace sluice::cluster {
namespace {

namespace json = boost::json;

constexpr base::duration refresh_max = std::chrono::seconds(30);
/// Reads under way at once: what else is asked meanwhile must not find the connection full.
constexpr size_t reads_max = 64;

const runtime::redis_script& server_list() {
  static const runtime::redis_script script{std::string(server_list_script)};
  return script;
}

/// The list of server keys; of anything else what can be read of it.
std::vector<std::string> keys_in(std::string_view text) {
  std::vector<std::string> keys;
  json::error_code failure;
  const json::value parsed = json::parse(text, failure);
  if (failure || !parsed.is_array()) return keys;
  for (const json::value& key : parsed.get_array())
    if (const json::string* k = key.if_string()) keys.emplace_back(std::string_view(*k));
  return keys;
}

base::duration age_of(const stored_server& s, uint64_t wall_ms) {
  if (s.wall_ms == 0 || s.wall_ms >= wall_ms) return {};
  return std::chrono::milliseconds(wall_ms - s.wall_ms);
}

}  // namespace

void redis_origins::note(const origin_registration& registration, base::time_point now, uint64_t wall_ms) {
  const base::duration refresh = std::min(config_.ttl / 3, refresh_max);
  origin_registration lasting = registration;
  if (lasting.sluice) {
    lasting.sluice->load = {};
    lasting.sluice->beat = lasting.sluice->since = 0;
  }
  const std::string key = keys_.server(registration.id());
  std::string text = server_json(lasting, config_.host, 0);
  const auto known = written_.find(registration.id());
  if (known != written_.end() && known->second.text == text && now < known->second.at + refresh) return;
  if (known == written_.end() && written_.size() >= config_.origins_max)
    std::erase_if(written_, [&](const auto& e) { return now >= e.second.at + config_.ttl; });
  if (known == written_.end() && written_.size() >= config_.origins_max) return;
  written_[registration.id()] = {std::move(text), now};
  const auto failed = [this, id = registration.id()](const base::result<resp::value>& answer) {
    if (!answer) written_.erase(id);
  };
  const auto life_ms = std::chrono::duration_cast<std::chrono::milliseconds>(config_.ttl).count();
  client_.call(key, {"SET", key, server_json(lasting, config_.host, wall_ms), "PX", std::to_string(life_ms)}, failed);
  client_.eval(server_list(), {keys_.all_servers()}, {"1", key}, failed);
}

void redis_origins::load(uint64_t wall_ms, on_stored each) {
  if (std::exchange(loading_, true)) return;
  client_.call(keys_.all_servers(), {"GET", keys_.all_servers()},
               [this, wall_ms, each = std::move(each)](base::result<resp::value> answer) mutable {
                 std::vector<std::string> listed;
                 if (answer && answer->is_string()) listed = keys_in(answer->text);
                 if (listed.size() > config_.origins_max) listed.resize(config_.origins_max);
                 read_all(std::move(listed), wall_ms, std::move(each));
               });
}

void redis_origins::read_all(std::vector<std::string> listed, uint64_t wall_ms, on_stored each) {
  loading_ = !listed.empty();
  const auto all = std::make_shared<reading>(reading{std::move(listed), wall_ms, std::move(each), 0, 0, {}});
  for (size_t i = 0; i < reads_max; ++i) read_next(all);
}

void redis_origins::read_next(const std::shared_ptr<reading>& all) {
  if (all->next == all->keys.size()) return;
  const std::string& key = all->keys[all->next++];
  client_.call(key, {"GET", key}, [this, all, key](const base::result<resp::value>& answer) {
    if (answer && answer->is_null()) all->expired.push_back(key);
    if (answer && answer->is_string()) {
      auto server = parse_server_json(answer->text, config_.policy);
      if (server && is_for_us(server->registration, server->host))
        all->each(std::move(server->registration), age_of(*server, all->wall_ms));
    }
    if (++all->done < all->keys.size()) return read_next(all);
    loading_ = false;
    if (!all->expired.empty()) drop_from_list(all->expired);
  });
}

void redis_origins::drop_from_list(const std::vector<std::string>& expired) {
  std::vector<std::string> arguments{"0"};
  arguments.insert(arguments.end(), expired.begin(), expired.end());
  client_.eval(server_list(), {keys_.all_servers()}, std::move(arguments), [](const auto&) {});
}

bool redis_origins::is_for_us(const origin_registration& registration, const std::string& host) const {
  if (host.empty() || host == config_.host) return true;
  const auto is_local = [](const base::endpoint& at) { return at.address.is_loopback(); };
  return !registration.address.is_loopback() &&
         std::none_of(registration.rtmp.begin(), registration.rtmp.end(), is_local);
}

}  // namespace sluice::cluster
