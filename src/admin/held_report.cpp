#include "admin/held_report.hpp"

#include <algorithm>
#include <utility>

namespace sluice::admin {
namespace {

// `{"name":"","epoch":"1700000000000.18446744073709551615","published":true},` and some quotes in the name.
constexpr size_t bytes_beside_name = 96;

}  // namespace

held_report::part held_report::next(std::vector<cluster::held_stream> held, base::time_point now) {
  if (!listing_ && now - whole_at_ >= whole_interval) whole_due_ = true;
  if (std::exchange(whole_due_, false)) {
    listing_ = true;
    listing_since_ = now;
    listed_.clear();
  }
  // Somebody waits for a stream here; nothing is held of it.
  std::erase_if(held, [](const auto& h) { return !h.published && h.epoch == cluster::epoch{}; });
  std::partition(held.begin(), held.end(), [](const auto& h) { return h.published; });
  part p;
  size_t bytes = 0;
  const auto fits = [&](const std::string& name) {
    bytes += name.size() + bytes_beside_name;
    return p.streams.size() < streams_max_ && bytes <= bytes_max;
  };
  std::unordered_set<std::string> names;
  bool all = true;
  for (auto& h : held) {
    names.insert(h.name);
    const auto known = known_.find(h.name);
    const bool news = known == known_.end() || known->second != h;
    if (!all || (!news && (!listing_ || listed_.contains(h.name)))) continue;
    all = fits(h.name);
    if (all) p.streams.push_back(std::move(h));
  }
  p.last = listing_ && all;
  p.whole = p.last && listed_.empty();
  // A whole list says by itself what is held no more.
  if (p.whole) return p;
  for (const auto& [name, h] : known_) {
    if (names.contains(name)) continue;
    if (!fits(name)) break;
    p.streams.push_back({name, {}, false});
  }
  return p;
}

base::time_point held_report::accepted(const part& p, base::time_point now) {
  if (p.whole) known_.clear();
  for (const auto& h : p.streams) {
    const bool gone = !h.published && h.epoch == cluster::epoch{};
    if (gone) {
      known_.erase(h.name);
      continue;
    }
    known_[h.name] = h;
    if (listing_) listed_.insert(h.name);
  }
  if (!p.last || whole_due_) return base::never;
  listing_ = false;
  listed_.clear();
  whole_at_ = now;
  return listing_since_;
}

}  // namespace sluice::admin
