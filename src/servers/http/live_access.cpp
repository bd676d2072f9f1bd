#include "servers/http/live_access.hpp"

namespace sluice::servers {
namespace {

class live_lease final : public stream_lease, public live_player {
 public:
  live_lease(directory& streams, stream_watcher& w) : streams_(streams), watcher_(w) {}
  ~live_lease() override {
    if (stream_) streams_.stop(*stream_, *this);
  }
  base::result<void> take(const cluster::stream_key& key) {
    auto stream = streams_.play(key, {}, *this);
    if (!stream) return tl::unexpected(stream.error());
    stream_ = *stream;
    return {};
  }
  media::hub& hub() { return stream_->hub; }

 private:
  // The watcher gives this lease up when it hears of the end.
  void on_no_publisher() override { watcher_.on_no_stream(404, "no_publisher", "Nobody publishes the stream."); }
  void on_fenced() override {
    stream_ = nullptr;
    watcher_.on_no_stream(404, "fenced", "The stream has moved.");
  }

  directory& streams_;
  stream_watcher& watcher_;
  live_stream* stream_ = nullptr;
};

}  // namespace

std::unique_ptr<stream_lease> live_access::open(const stream_ask& ask, stream_watcher& w) {
  if (!streams_.publishes(ask.address.key)) {
    w.on_no_stream(404, "stream_not_found", "Nobody publishes the stream.");
    return nullptr;
  }
  auto lease = std::make_unique<live_lease>(streams_, w);
  if (const auto taken = lease->take(ask.address.key); !taken) {
    w.on_no_stream(503, taken.error().reason, taken.error().text);
    return nullptr;
  }
  w.on_stream(lease->hub(), {});
  return lease;
}

}  // namespace sluice::servers
