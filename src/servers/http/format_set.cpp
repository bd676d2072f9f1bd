#include "servers/http/format_set.hpp"

#include <algorithm>

#include "media/bridge/flv.hpp"
#include "media/bridge/ts_muxers.hpp"

namespace sluice::servers {
namespace {

// As in hub_flusher: about 2 ms of writes.
constexpr size_t readers_per_slice = 256;

std::unique_ptr<media::stream_muxer> make_muxer(http_format f) {
  if (f == http_format::flv) return std::make_unique<media::flv_muxer>();
  return std::make_unique<media::ts_stream_muxer>();
}

}  // namespace

media::byte_log& format_set::open(media::hub& h, http_format format) {
  auto& log = logs_[{&h, format}];
  if (!log) log = std::make_unique<media::byte_log>(h, make_muxer(format), limits_, *this);
  return *log;
}

void format_set::leave(media::byte_log& log) {
  if (log.readers() > 0) return;
  std::erase(due_, &log);
  std::erase_if(logs_, [&](const auto& entry) { return entry.second.get() == &log; });
}

void format_set::on_bytes_pending(media::byte_log& log) {
  due_.push_back(&log);
  schedule();
}

void format_set::schedule() {
  if (std::exchange(scheduled_, true)) return;
  loop_.defer([this] { flush_due(); });
}

void format_set::flush_due() {
  scheduled_ = false;
  for (size_t turns = due_.size(); turns > 0 && !due_.empty(); --turns) {
    media::byte_log* log = due_.front();
    due_.pop_front();
    if (!log->flush(readers_per_slice)) due_.push_back(log);
  }
  if (!due_.empty()) schedule();
}

}  // namespace sluice::servers
