#include "relay/rtc/paths.hpp"

#include <algorithm>

namespace sluice::relay {
namespace {

/// FNV-1a. Of a check that was made with the password; who has only seen it cannot choose another.
uint32_t hash_of(base::bytes_view transaction) {
  uint64_t h = 0xCBF29CE484222325;
  for (const uint8_t b : transaction) h = (h ^ b) * 0x100000001B3;
  return static_cast<uint32_t>(h ^ h >> 32);
}

}  // namespace

size_t rtc_paths::find(const base::endpoint& peer) const {
  const auto at = std::find_if(paths_.begin(), paths_.end(), [&](const entry& e) { return e.is.at.peer == peer; });
  return static_cast<size_t>(at - paths_.begin());
}

void rtc_paths::check(const path& from, base::bytes_view transaction, bool nominates, base::time_point now) {
  size_t index = find(from.at.peer);
  if (index == paths_.size()) {
    if (paths_.size() >= paths_max) {
      index = selected_ == 0 ? 1 : 0;
      for (size_t i = 0; i < paths_.size(); ++i)
        if (i != selected_ && paths_[i].heard_at < paths_[index].heard_at) index = i;
    } else {
      paths_.emplace_back();
    }
    paths_[index].number = ++entries_n_;
  }
  paths_[index].is = from;
  paths_[index].checked_at = now;
  heard(index, nominates, now);

  remember(hash_of(transaction), paths_[index].number);
  auto& last = asked_[asked_n_++ % asked_max];
  if (transaction.size() == last.transaction.size())
    std::copy(transaction.begin(), transaction.end(), last.transaction.begin());
  last.from = from;
}

const rtc_paths::seen* rtc_paths::find_seen(uint32_t transaction) const {
  const auto at = std::find_if(seen_.begin(), seen_.end(), [&](const seen& s) { return s.transaction == transaction; });
  return at == seen_.end() ? nullptr : &*at;
}

/// Once: copies sent from the client's own address must not push the others out.
void rtc_paths::remember(uint32_t transaction, uint32_t number) {
  if (find_seen(transaction) != nullptr) return;
  if (seen_.size() < transactions_max) {
    seen_.push_back({transaction, number});
  } else {
    seen_[seen_at_++ % transactions_max] = {transaction, number};
  }
}

bool rtc_paths::is_replayed(const base::endpoint& peer, base::bytes_view transaction) const {
  const auto* before = find_seen(hash_of(transaction));
  if (before == nullptr) return false;
  const size_t index = find(peer);
  return index == paths_.size() || paths_[index].number != before->path;
}

bool rtc_paths::data(const runtime::udp_path& from, base::time_point now) {
  // Nearly always it is the one that is selected.
  const bool selected = selected_ < paths_.size() && paths_[selected_].is.at.peer == from.peer;
  const size_t index = selected ? selected_ : find(from.peer);
  if (index == paths_.size() || now - paths_[index].checked_at > consent_time) return false;
  heard(index, false, now);
  return true;
}

void rtc_paths::heard(size_t index, bool nominates, base::time_point now) {
  paths_[index].heard_at = now;
  if (index == selected_) return;
  if (selected_ >= paths_.size() || nominates || now - paths_[selected_].heard_at >= quiet_time) selected_ = index;
}

const rtc_paths::path* rtc_paths::answer_to(base::bytes_view transaction) const {
  const size_t known = std::min(asked_n_, asked_max);
  for (size_t back = 1; back <= known; ++back) {
    const auto& a = asked_[(asked_n_ - back) % asked_max];
    if (std::equal(transaction.begin(), transaction.end(), a.transaction.begin(), a.transaction.end())) return &a.from;
  }
  return selected();
}

}  // namespace sluice::relay
