// Two hashes, server id → wall clock ms: who is drained, and who was and is no more. The second is needed for words
// that come late, by a proxy that was cut off; proxies of older versions know the first one only, and whoever stands in
// it is drained for them. A value there that is no number counts as older than any.

#include "cluster/store/redis_drains.hpp"

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "cluster/store/redis_scripts.hpp"
#include "runtime/backoff.hpp"

namespace sluice::cluster {
namespace {

constexpr base::duration retry_first = std::chrono::milliseconds(100), retry_last = std::chrono::seconds(2);
/// Nobody has so many: others are not heard of.
constexpr size_t servers_max = 10'000;
/// So many words are sent at once.
constexpr size_t batch_max = 100;
/// An end of a drain is remembered so long: a proxy that was cut off for longer has been forgotten with its streams.
constexpr uint64_t undone_life_ms = 24u * 3600 * 1000;

const runtime::redis_script& writing() {
  static const runtime::redis_script script{std::string(drain_write_script)};
  return script;
}

const runtime::redis_script& reading() {
  static const runtime::redis_script script{std::string(drain_read_script)};
  return script;
}

uint64_t number_of(std::string_view text) {
  uint64_t n = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), n);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() ? n : 0;
}

}  // namespace

redis_drains::redis_drains(runtime::loop& l, runtime::redis_client& client, const redis_keys& keys, base::log_sink& log,
                           teller tell, std::function<void()> on_news)
    : client_(client),
      keys_(keys),
      log_(log),
      tell_(std::move(tell)),
      on_news_(std::move(on_news)),
      retry_(l, [this] { save(); }),
      random_(static_cast<uint32_t>(l.now().time_since_epoch().count())) {}

redis_drains::entry* redis_drains::put(const std::string& server_id, word said) {
  const auto at = entries_.find(server_id);
  if (at == entries_.end() && entries_.size() >= servers_max) return nullptr;
  entry& e = entries_[server_id];
  e = {};
  e.last = said;
  return &e;
}

void redis_drains::ordered(const std::string& server_id, bool on, uint64_t wall_ms) {
  // Clocks of proxies differ: an operator answers what he sees, whatever the time of it.
  const auto before = entries_.find(server_id);
  if (before != entries_.end()) wall_ms = std::max(wall_ms, before->second.last.at_ms + 1);
  entry* e = put(server_id, {on, wall_ms});
  if (e == nullptr) return;
  e->stored = e->told = false;
  tries_ = 0;
  push(server_id, *e);
}

bool redis_drains::heard(const std::string& server_id, word said, uint64_t wall_ms) {
  const auto before = entries_.find(server_id);
  if (said.at_ms == 0) said.at_ms = std::max(wall_ms, before == entries_.end() ? 0 : before->second.last.at_ms + 1);
  if (before != entries_.end() && said.at_ms <= before->second.last.at_ms) return false;
  return put(server_id, said) != nullptr;
}

void redis_drains::push(const std::string& server_id, entry& e) {
  if (e.under_way || (e.stored && e.told)) return;
  e.under_way = true;
  const uint64_t at = e.last.at_ms;
  // Told when it is stored: whoever hears of it may look.
  if (e.stored) {
    return tell_(server_id, e.last, [this, server_id, at](const auto& answer) { on_told(server_id, at, answer); });
  }
  client_.eval(writing(), {keys_.drains(), keys_.undone()}, {server_id, e.last.on ? "1" : "0", std::to_string(at)},
               [this, server_id, at](const auto& answer) { on_stored(server_id, at, answer); });
}

/// The entry whose word of that time has been answered; nullptr if another has come since.
redis_drains::entry* redis_drains::under_way(const std::string& server_id, uint64_t at_ms) {
  const auto at = entries_.find(server_id);
  if (at == entries_.end() || at->second.last.at_ms != at_ms) return nullptr;
  at->second.under_way = false;
  return &at->second;
}

void redis_drains::on_stored(const std::string& server_id, uint64_t at_ms, const base::result<resp::value>& answer) {
  entry* e = under_way(server_id, at_ms);
  if (e == nullptr) return;
  if (!answer) {
    // The operator was told that it is done: once for each row of attempts he hears that others do not know of it yet.
    if (tries_ == 0) {
      log_.warn("drain_unwritten",
                {{"server", server_id}, {"reason", answer.error().reason}, {"text", answer.error().text}});
    }
    return retry_later();
  }
  e->stored = true;
  e->seen = answer->integer == 1;
  if (!e->seen) {
    // A later word stands there.
    e->told = e->seen = true;
    return load(at_ms);
  }
  push(server_id, *e);
}

void redis_drains::on_told(const std::string& server_id, uint64_t at_ms, const base::result<resp::value>& answer) {
  entry* e = under_way(server_id, at_ms);
  if (e == nullptr) return;
  // One who may not publish will not be allowed to the next time: the others read it in the store.
  e->told = answer || answer.error().reason == "store_error";
  if (!e->told) return retry_later();
  if (unsaved() == 0) tries_ = 0;
}

void redis_drains::retry_later() {
  if (!retry_.armed()) retry_.arm_after(runtime::backoff(retry_first, retry_last, tries_++, random_));
}

void redis_drains::save() {
  size_t left = batch_max;
  for (auto& [server_id, e] : entries_) {
    if (e.stored && e.told) continue;
    if (left-- == 0) return retry_later();
    push(server_id, e);
  }
}

void redis_drains::write_again() {
  for (auto& [server_id, e] : entries_) e.stored = e.told = e.seen = e.missed = e.under_way = false;
  tries_ = 0;
  save();
}

size_t redis_drains::unsaved() const {
  return static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(),
                                           [](const auto& e) { return !e.second.stored || !e.second.told; }));
}

std::set<std::string> redis_drains::drained() const {
  std::set<std::string> ids;
  for (const auto& [server_id, e] : entries_)
    if (e.last.on) ids.insert(server_id);
  return ids;
}

void redis_drains::load(uint64_t wall_ms) {
  if (std::exchange(loading_, true)) return;
  client_.eval(reading(), {keys_.drains(), keys_.undone()}, {},
               [this, wall_ms](const base::result<resp::value>& answer) {
                 loading_ = false;
                 if (!answer || answer->elements.size() != 2) return;
                 on_loaded(*answer, wall_ms);
                 on_news_();
               });
}

void redis_drains::on_loaded(const resp::value& answer, uint64_t wall_ms) {
  std::map<std::string, word> there;
  std::vector<std::string> old{"HDEL", keys_.undone()};
  for (const bool on : {true, false}) {
    const auto& pairs = answer.elements[on ? 0 : 1].elements;
    for (size_t i = 0; i + 1 < pairs.size() && there.size() < servers_max; i += 2) {
      const word said{on, number_of(pairs[i + 1].text)};
      if (!on && said.at_ms + undone_life_ms < wall_ms) {
        old.push_back(pairs[i].text);
      } else {
        there.try_emplace(pairs[i].text, said);
      }
    }
  }
  if (old.size() > 2) client_.call(keys_.undone(), std::move(old), [](const auto&) {});
  for (auto at = entries_.begin(); at != entries_.end();) {
    entry& e = at->second;
    const auto found = there.find(at->first);
    const bool is_later = found == there.end() || found->second.at_ms < e.last.at_ms;
    // A word of which the store knows nothing yet stands. One that it knew and has not any more was taken back by a
    // proxy of an older version, or by hand; unless it has lost everything, which is found out before the next load.
    const bool stands = is_later && (!e.stored || !e.seen || (found == there.end() && !std::exchange(e.missed, true)));
    // Written, though the answer was lost.
    const bool is_same = found != there.end() && found->second.at_ms == e.last.at_ms && found->second.on == e.last.on;
    if (is_same) e.stored = e.seen = true;
    if (stands || is_same) {
      if (found != there.end()) there.erase(found);
      ++at;
    } else {
      at = entries_.erase(at);
    }
  }
  for (const auto& [server_id, said] : there)
    if (entry* e = put(server_id, said)) e->seen = true;
}

}  // namespace sluice::cluster
