#include <algorithm>
#include <deque>
#include <utility>

#include "load/http_member.hpp"
#include "load/modes.hpp"

namespace sluice::bench {
namespace {

constexpr int64_t reload_ns = 1'000'000'000;
constexpr size_t playlist_bytes_max = 1u << 20;

/// The segments that may be asked for: those in the playlist as it is now, each of which the server has given once.
class segment_list {
 public:
  /// The next in turn; empty if there is none yet.
  std::string_view next() {
    if (paths_.empty()) return {};
    return paths_[turn_++ % paths_.size()];
  }
  bool has(const std::string& path) const { return std::find(paths_.begin(), paths_.end(), path) != paths_.end(); }
  void add(std::string path) {
    paths_.push_back(std::move(path));
    for (handler* h : std::exchange(waiting_, {})) h->on_timer(0);
  }
  void keep_only(const std::vector<std::string>& listed) {
    std::erase_if(paths_, [&](const auto& p) { return std::find(listed.begin(), listed.end(), p) == listed.end(); });
  }
  /// Calls its on_timer() when there is one.
  void wait(handler* h) { waiting_.push_back(h); }

 private:
  std::deque<std::string> paths_;
  size_t turn_ = 0;
  std::vector<handler*> waiting_;
};

/// The lines of a playlist that are URIs, as paths on the server. `base`: the playlist's own path.
std::vector<std::string> uris_of(std::string_view playlist, std::string_view base) {
  base = base.substr(0, base.find('?'));
  const std::string folder(base.substr(0, base.rfind('/') + 1));
  std::vector<std::string> out;
  while (!playlist.empty()) {
    const size_t end = std::min(playlist.find('\n'), playlist.size());
    std::string_view line = playlist.substr(0, end);
    playlist.remove_prefix(std::min(end + 1, playlist.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    out.push_back(line.starts_with('/') ? std::string(line.substr(1)) : folder + std::string(line));
  }
  return out;
}

/// Reads the master playlist once and the media playlist every second, and asks for each new segment before it may be
/// asked for by others: what they get is in the cache of whoever has one.
class playlist_reader final : public http_client {
 public:
  playlist_reader(event_loop& loop, population& all, segment_list& list) : http_client(loop), all_(all), list_(list) {}
  void begin() { open(all_.options().url, 0); }

 private:
  enum class step : uint8_t { master, media, segment };

  void on_connected() override { ask(step::master, all_.options().url.path_of(all_.options().first)); }
  void on_head(int status) override {
    if (status == 200) return;
    shut();
    on_lost("refused");
  }
  bool on_body(bytes part) override {
    if (step_ != step::segment) text_.append(reinterpret_cast<const char*>(part.data()), part.size());
    return text_.size() <= playlist_bytes_max;
  }
  void on_end() override {
    if (step_ == step::segment) {
      list_.add(asked_);
      return next_segment();
    }
    auto uris = uris_of(text_, asked_);
    if (step_ == step::master) {
      if (uris.empty()) {
        shut();
        return on_lost("a master playlist without a variant");
      }
      media_ = uris.front();
      return ask(step::media, media_);
    }
    list_.keep_only(uris);
    unknown_.assign(uris.begin(), uris.end());
    std::erase_if(unknown_, [this](const auto& p) { return list_.has(p); });
    next_segment();
  }
  void next_segment() {
    if (unknown_.empty()) return loop().at(now_ns() + reload_ns, this);
    std::string path = std::move(unknown_.front());
    unknown_.pop_front();
    ask(step::segment, std::move(path));
  }
  void on_timer(int64_t) override { ask(step::media, media_); }
  // Without it nothing is measured: as if a player were lost.
  void on_lost(const char* why) override { all_.member_lost(true, why); }

  void ask(step s, std::string path) {
    step_ = s;
    text_.clear();
    asked_ = std::move(path);
    get(asked_);
  }

  population& all_;
  segment_list& list_;
  step step_ = step::master;
  std::string asked_, media_, text_;
  std::deque<std::string> unknown_;  // listed, not yet given
};

/// Asks for one segment after another; up when the first has come.
class segment_player final : public http_member {
 public:
  segment_player(event_loop& loop, population& all, segment_list& list, int index)
      : http_member(loop, all, index), list_(list) {
    skip_bodies();
  }

 private:
  void on_connected() override { ask(); }
  void on_timer(int64_t) override { ask(); }
  void ask() {
    const std::string_view path = list_.next();
    if (path.empty()) return list_.wait(this);
    asked_at_ = now_ns();
    get(path);
  }
  void on_head(int status) override {
    if (status == 200) return;
    shut();
    on_lost("refused");
  }
  void on_skipped(size_t count) override { all_.total_bytes += count; }
  void on_end() override {
    ++all_.total_messages;
    all_.latency.add(now_ns() - asked_at_);
    set_up();
    ask();
  }

  segment_list& list_;
  int64_t asked_at_ = 0;
};

}  // namespace

int run_hls(const load_options& options) {
  event_loop loop;
  population all(loop, options);
  segment_list list;
  playlist_reader reader(loop, all, list);
  for (int i = 0; i < options.connections; ++i) all.add(std::make_unique<segment_player>(loop, all, list, i));
  reader.begin();
  all.start();
  loop.run();
  return 0;
}

}  // namespace sluice::bench
