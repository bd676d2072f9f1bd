#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "proto/rtmp/message.hpp"

namespace sluice::rtmp {

/// What a session reports, in order. Media messages, of which there are many, take 40 bytes here; the other events,
/// large and few, lie on the heap. Holds next to nothing while empty. `Event` is a variant with `Media`, which wraps a
/// message, among its alternatives.
template <typename Event, typename Media>
class event_queue {
 public:
  void push(message&& m) { entries_.push_back({std::move(m), nullptr}); }
  void push(Event&& e) { entries_.push_back({{}, std::make_unique<Event>(std::move(e))}); }

  std::optional<Event> pop() {
    if (next_ == entries_.size()) return std::nullopt;
    entry& e = entries_[next_++];
    std::optional<Event> out;
    if (e.other) {
      out.emplace(std::move(*e.other));
      e.other.reset();
    } else {
      out.emplace(std::in_place_type<Media>, std::move(e.media));
    }
    if (next_ == entries_.size()) {
      entries_.clear();
      next_ = 0;
      if (entries_.capacity() > kept_max) std::vector<entry>().swap(entries_);
    }
    return out;
  }

 private:
  struct entry {
    message media;
    std::unique_ptr<Event> other;
  };
  static constexpr size_t kept_max = 4;
  std::vector<entry> entries_;
  size_t next_ = 0;
};

}  // namespace sluice::rtmp
