#include "load/flv_scanner.hpp"
#include "load/http_member.hpp"
#include "load/modes.hpp"
#include "load/viewing.hpp"

namespace sluice::bench {
namespace {

/// A player of one answer that does not end.
class http_player : public http_member {
 public:
  using http_member::http_member;

 protected:
  void on_connected() override { get(path()); }
  void on_head(int status) override {
    if (status == 200) return;
    shut();
    on_lost("refused");
  }
  void on_end() override {
    shut();
    on_lost("the answer has ended");
  }
  void on_skipped(size_t count) override { all_.total_bytes += count; }
  void come_up() {
    set_up();
    if (all_.options().drain) skip_bodies();
  }
};

class flv_player final : public http_player {
 public:
  using http_player::http_player;

 private:
  bool on_body(bytes part) override {
    all_.total_bytes += part.size();
    return scanner_.scan(part, [this](const scanned_message& m) {
      if (viewing_.take(all_, m, opened_at(), up())) come_up();
    });
  }
  void on_mark(int64_t now) override {
    if (up()) viewing_.report(all_, now);
  }
  void on_reset(int64_t now) override { viewing_.reset(now); }

  flv_scanner scanner_;
  viewing viewing_;
};

/// Counts packets (ISO/IEC 13818-1 §2.4.3.2) as messages; up with the first.
class ts_player final : public http_player {
 public:
  using http_player::http_player;

 private:
  static constexpr size_t packet_bytes = 188;
  static constexpr uint8_t sync_byte = 0x47;

  bool on_body(bytes part) override {
    all_.total_bytes += part.size();
    size_t at = (packet_bytes - into_packet_) % packet_bytes;
    for (; at < part.size(); at += packet_bytes) {
      if (part[at] != sync_byte) return false;
      ++all_.total_messages;
    }
    into_packet_ = (into_packet_ + part.size()) % packet_bytes;
    if (!up()) {
      all_.first_frame.add(now_ns() - opened_at());
      come_up();
    }
    return true;
  }
  size_t into_packet_ = 0;
};

template <typename Player>
int run_players(const load_options& options) {
  event_loop loop;
  population all(loop, options);
  for (int i = 0; i < options.connections; ++i) all.add(std::make_unique<Player>(loop, all, i));
  all.start();
  loop.run();
  return 0;
}

}  // namespace

int run_flv(const load_options& options) { return run_players<flv_player>(options); }

int run_ts(const load_options& options) { return run_players<ts_player>(options); }

}  // namespace sluice::bench
