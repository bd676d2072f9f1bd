#include "cluster/core/holders.hpp"

#include <algorithm>

namespace sluice::cluster {

holders::news holders::update(const std::string& origin_id, const held_list& now) {
  news told;
  origin_list& list = origins_[origin_id];
  if (now.beat != 0) {
    if (now.beat <= list.beat) return told;
    if (now.since > list.beat) list.whole = false;
    list.beat = now.beat;
  }
  ++list.round;
  if (now.whole) list.whole = true;
  for (const held_stream& held : now.streams) {
    auto key = parse_key(held.name);
    if (!key) continue;  // not reached: the registration was checked
    if (!held.published) {
      if (remove(list, origin_id, *key)) told.ended.push_back(std::move(*key));
      continue;
    }
    copy* known = find(origin_id, *key);
    if (known == nullptr) {
      if (size_ >= copies_max_ || list.streams.size() >= held_streams_max) continue;
      ++size_;
      list.streams.emplace(*key, false);
      known = &copies_[*key].emplace_back();
      known->origin_id = origin_id;
      known->epoch = held.epoch;
    }
    known->epoch = held.epoch;
    known->round = list.round;
    if (known->fenced_by <= known->epoch && known->fenced_by != epoch{}) {
      known->fenced_by = {};
      set_fenced(list, *key, false);
    }
    told.held.push_back(std::move(*key));
  }
  if (!now.whole) return told;
  const size_t known_before = told.ended.size();
  for (const auto& [key, fenced] : list.streams) {
    if (find(origin_id, key)->round != list.round) told.ended.push_back(key);
  }
  for (size_t i = known_before; i < told.ended.size(); ++i) remove(list, origin_id, told.ended[i]);
  return told;
}

void holders::drop(const std::string& origin_id) {
  const auto at = origins_.find(origin_id);
  if (at == origins_.end()) return;
  while (!at->second.streams.empty()) remove(at->second, origin_id, stream_key(at->second.streams.begin()->first));
  origins_.erase(at);
}

bool holders::has_whole(const std::string& origin_id) const {
  const auto at = origins_.find(origin_id);
  return at != origins_.end() && at->second.whole;
}

const std::vector<holders::copy>& holders::of(const stream_key& key) const {
  static const std::vector<copy> none;
  const auto at = copies_.find(key);
  return at == copies_.end() ? none : at->second;
}

std::vector<stream_key> holders::keys(const std::string& origin_id) const {
  std::vector<stream_key> out;
  const auto at = origins_.find(origin_id);
  if (at == origins_.end()) return out;
  out.reserve(at->second.streams.size());
  for (const auto& [key, fenced] : at->second.streams) out.push_back(key);
  return out;
}

bool holders::holds(const std::string& origin_id, const stream_key& key) const {
  const auto at = origins_.find(origin_id);
  return at != origins_.end() && at->second.streams.contains(key);
}

bool holders::holds(const std::string& origin_id, const stream_key& key, const epoch& least) const {
  const std::vector<copy>& copies = of(key);
  return std::any_of(copies.begin(), copies.end(),
                     [&](const copy& held) { return held.origin_id == origin_id && held.epoch >= least; });
}

void holders::fence(const stream_key& key, const std::string& owner, const epoch& e) {
  const auto at = copies_.find(key);
  if (at == copies_.end()) return;
  for (copy& held : at->second) {
    if (held.origin_id == owner || held.epoch >= e || held.fenced_by >= e) continue;
    held.fenced_by = e;
    set_fenced(origins_.at(held.origin_id), key, true);
  }
}

std::vector<std::pair<std::string, epoch>> holders::fenced(const std::string& origin_id) const {
  std::vector<std::pair<std::string, epoch>> out;
  const auto at = origins_.find(origin_id);
  if (at == origins_.end() || at->second.fenced == 0) return out;
  for (const auto& [key, fenced] : at->second.streams) {
    if (!fenced) continue;
    for (const copy& held : of(key)) {
      if (held.origin_id == origin_id) out.emplace_back(key.str(), held.fenced_by);
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

bool holders::remove(origin_list& list, const std::string& origin_id, const stream_key& key) {
  const auto listed = list.streams.find(key);
  if (listed == list.streams.end()) return false;
  if (listed->second) --list.fenced;
  const auto at = copies_.find(key);
  std::erase_if(at->second, [&](const copy& held) { return held.origin_id == origin_id; });
  if (at->second.empty()) copies_.erase(at);
  list.streams.erase(listed);
  --size_;
  return true;
}

void holders::set_fenced(origin_list& list, const stream_key& key, bool on) {
  bool& fenced = list.streams.at(key);
  if (fenced == on) return;
  fenced = on;
  if (on) {
    ++list.fenced;
  } else {
    --list.fenced;
  }
}

holders::copy* holders::find(const std::string& origin_id, const stream_key& key) {
  const auto at = copies_.find(key);
  if (at == copies_.end()) return nullptr;
  for (copy& held : at->second) {
    if (held.origin_id == origin_id) return &held;
  }
  return nullptr;
}

}  // namespace sluice::cluster
