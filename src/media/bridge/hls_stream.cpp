#include "media/bridge/hls_stream.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "media/bridge/mp4_track.hpp"
#include "proto/flv/tag.hpp"
#include "proto/hls/playlist.hpp"

namespace sluice::media {
namespace {

constexpr size_t headers_max = 16;
/// How many segments a source that goes on further back may bring again: more than any retention holds.
constexpr uint64_t replayed_max = 64;
constexpr uint64_t list_targets_min =
    3;  // RFC 8216 §6.2.2: the playlist is never shorter than this many target durations

std::string etag_of(uint64_t hash, size_t size) { return fmt::format("\"{:016x}-{:x}\"", hash, size); }

std::string_view content_type_of(container c) { return c == container::mpegts ? "video/mp2t" : "video/iso.segment"; }

bool same_body(const frame& a, const frame& b) { return std::ranges::equal(a.body().view(), b.body().view()); }

// Puts a header in the place of the one that it replaces. False if that was the same.
bool replace(header_set& headers, const frame& f) {
  const auto found = std::ranges::find(headers, f.header_slot, &frame::header_slot);
  if (found == headers.end()) {
    if (headers.size() < headers_max) headers.push_back(f);
    return true;
  }
  const bool same = same_body(*found, f);
  *found = f;
  return !same;
}

}  // namespace

container container_for(const header_set& headers) {
  for (const auto& h : headers) {
    const auto body = h.body().view();
    auto c = flv::codec::unknown;
    if (h.type == rtmp::video) {
      if (const auto tag = flv::parse_video_tag(body)) c = tag->codec;
    } else if (h.type == rtmp::audio) {
      if (const auto tag = flv::parse_audio_tag(body)) c = tag->codec;
    }
    const bool only_mp4 =
        c == flv::codec::av1 || c == flv::codec::vp9 || c == flv::codec::opus || c == flv::codec::flac;
    if (only_mp4) return container::fmp4;
  }
  return container::mpegts;
}

hls_window::hls_window(std::string stream, const hls_settings& settings, muxer_factory make_muxer)
    : stream_(std::move(stream)), settings_(settings), make_muxer_(std::move(make_muxer)) {}

void hls_window::begin_publication(uint64_t number, int64_t wall_ms, uint32_t target_ms) {
  end(false);
  number = std::max(number, next_number());
  const bool goes_on = !segments_.empty() && number == next_number();
  publication_start start{number, number, wall_ms, target_ms, 0};
  if (goes_on) start.discontinuities = segments_.back().state.discontinuities + 1;
  if (!segments_.empty()) start.advertised_s = target_s_;
  cuts_.start(start);
  headers_.clear();
  live_ = true;
  ended_ = false;
  open_segment();
}

void hls_window::resume(const segment_state& state, const header_set& headers) {
  headers_ = headers;
  if (headers_.size() > headers_max) headers_.resize(headers_max);
  // Numbers of long ago are no replay of what is here: a list that begins anew is better than one that stands still.
  if (!segments_.empty() && state.number + replayed_max < segments_.front().state.number) {
    segments_.clear();
    bytes_ = list_begin_ = 0;
    playlist_.clear();
  }
  cuts_.resume(state, std::ranges::any_of(headers_, [](const frame& h) { return h.type == rtmp::video; }));
  live_ = true;
  ended_ = false;
  open_segment();
}

void hls_window::open_segment() {
  segment_headers_ = headers_;
  frames_.clear();
  pending_bytes_ = 0;
}

void hls_window::note_header(const frame& f) {
  if (!replace(headers_, f) || !part_of(f).sequence_header) return;
  if (cuts_.on_header(f.type == rtmp::video)) replace(segment_headers_, f);
}

bool hls_window::add(const frame& f) {
  if (!live_) return false;
  if (f.header) {
    note_header(f);
    return false;
  }
  return part_of(f).coded && take(f);
}

void hls_window::hold(const frame& f, uint64_t dts_ms) {
  if (pending_bytes_ + f.body().size() > settings_.segment_bytes_max) {
    ++frames_dropped_;
    return;
  }
  pending_bytes_ += f.body().size();
  frames_.push_back({f, dts_ms});
}

bool hls_window::take(const frame& f) {
  const auto before = cuts_.state();
  const bool was_running = cuts_.running();
  const auto step = cuts_.on_frame(f.type == rtmp::video, f.keyframe, f.timestamp);
  switch (step.what) {
    case segment_step::outcome::dropped:
      if (was_running) ++frames_dropped_;
      return false;
    case segment_step::outcome::joins:
      hold(f, step.dts_ms);
      return false;
    case segment_step::outcome::begins:
      if (was_running) finish(before, step.ended_ms);
      break;
    case segment_step::outcome::restarts:
      frames_dropped_ += frames_.size();
      break;
  }
  open_segment();
  hold(f, step.dts_ms);
  return true;
}

void hls_window::end(bool for_good) {
  const auto& clock = cuts_.clock();
  if (live_ && clock.running() && clock.end_ms() - clock.state().begin_ms >= segment_clock::shortest_ms)
    finish(clock.state(), clock.end_ms());
  live_ = false;
  open_segment();
  if (ended_ == for_good || segments_.empty()) return;
  ended_ = for_good;
  write_playlist();
}

// MPEG-TS may become fMP4 where a discontinuity stands. Not the other way round: an EXT-X-MAP cannot be taken back.
void hls_window::choose_muxer(bool discontinuity) {
  if (muxer_ && (!discontinuity || settings_.format || format_ == container::fmp4)) return;
  const auto wanted = settings_.format.value_or(container_for(segment_headers_));
  if (muxer_ && wanted == format_) return;
  format_ = wanted;
  muxer_ = make_muxer_(format_);
  if (muxer_) return;
  format_ = container::fmp4;
  muxer_ = make_muxer_(format_);
}

std::shared_ptr<const hls_window::init_file> hls_window::make_init() {
  auto bytes = muxer_->init();
  if (bytes.empty()) return nullptr;
  const uint64_t hash = content_hash(bytes);
  for (auto s = segments_.rbegin(); s != segments_.rend(); ++s) {
    if (s->init && s->init->hash == hash) return s->init;
  }
  auto made = std::make_shared<init_file>();
  made->hash = hash;
  made->file = {nullptr, etag_of(hash, bytes.size()), "video/mp4", segment_cache_control};
  made->file.bytes = std::make_shared<const std::string>(base::as_text(bytes));
  return made;
}

void hls_window::finish(const segment_state& state, uint64_t ended_ms) {
  // A source that goes on further back brings what is here already. Nothing that was published is replaced or taken
  // back.
  if (!segments_.empty() && segments_.back().state.number >= state.number) return;
  // Numbers go up by one in a playlist. Behind a jump it begins anew.
  if (!segments_.empty() && segments_.back().state.number + 1 != state.number) list_begin_ = segments_.size();

  choose_muxer(state.discontinuity);
  finished s{state, ended_ms - state.begin_ms, format_, {}, nullptr};
  if (muxer_) {
    muxer_->begin(segment_headers_, state);
    for (const auto& held : frames_) muxer_->add(held.f, held.dts_ms);
    auto bytes = muxer_->end(ended_ms);
    if (!bytes.empty()) {
      s.init = make_init();
      s.file = {nullptr, etag_of(content_hash(bytes), bytes.size()), content_type_of(format_), segment_cache_control};
      bytes_ += bytes.size();
      s.file.bytes = std::make_shared<const std::string>(base::as_text(bytes));
      description_ = muxer_->describe();
      frame_rate_ = metadata_number(segment_headers_, "framerate");
    }
  }
  target_s_ = cuts_.clock().advertised_at(ended_ms);
  segments_.push_back(std::move(s));
  trim();
  write_playlist();
}

uint64_t hls_window::listed_ms() const {
  uint64_t sum = 0;
  for (size_t i = list_begin_; i < segments_.size(); ++i) sum += segments_[i].duration_ms;
  return sum;
}

void hls_window::trim() {
  const uint64_t least = std::max<uint64_t>(settings_.window_ms, list_targets_min * target_s_ * 1000);
  uint64_t listed = listed_ms();
  while (list_begin_ + 1 < segments_.size() && listed - segments_[list_begin_].duration_ms >= least) {
    listed -= segments_[list_begin_++].duration_ms;
  }
  // §6.2.2: a removed segment stays available for its own duration and that of the longest playlist with it.
  uint64_t behind = 0;
  size_t keep = list_begin_;
  while (keep > 0 && behind < least + 2 * uint64_t{target_s_} * 1000 + segments_[keep - 1].duration_ms) {
    behind += segments_[--keep].duration_ms;
  }
  while (segments_.size() > 1 &&
         (keep > 0 || bytes_ > settings_.bytes_max || segments_.size() > settings_.segments_max)) {
    bytes_ -= segments_.front().file.bytes ? segments_.front().file.bytes->size() : 0;
    segments_.pop_front();
    keep -= keep > 0 ? 1 : 0;
    list_begin_ -= list_begin_ > 0 ? 1 : 0;
  }
}

void hls_window::write_playlist() {
  hls::media_playlist p;
  p.target_duration_s = target_s_;
  p.sequence = segments_[list_begin_].state.number;
  p.discontinuity_sequence = segments_[list_begin_].state.discontinuities;
  p.ended = ended_;
  for (size_t i = list_begin_; i < segments_.size(); ++i) {
    const auto& s = segments_[i];
    const auto date = s.state.zero_wall_ms + static_cast<int64_t>(s.state.begin_ms);
    p.segments.push_back({segment_name(stream_, s.state.number, s.format), s.duration_ms, s.state.discontinuity,
                          !s.file.bytes, date, s.init ? init_name(stream_, s.init->hash) : std::string()});
    // A gap has no map of its own.
    if (!s.file.bytes && i > list_begin_) p.segments.back().map_uri = p.segments[p.segments.size() - 2].map_uri;
  }
  playlist_ = hls::write(p);
  playlist_etag_ = etag_of(content_hash(base::as_bytes(playlist_)), playlist_.size());
  ++revision_;
}

std::string hls_window::master_playlist(std::string_view media_uri) const {
  if (segments_.empty()) return {};
  hls::variant v;
  v.uri = media_uri;
  uint64_t bits = 0, ms = 0;
  for (size_t i = list_begin_; i < segments_.size(); ++i) {
    const auto& s = segments_[i];
    const uint64_t size = s.file.bytes ? s.file.bytes->size() * 8 : 0, duration = std::max<uint64_t>(s.duration_ms, 1);
    v.bandwidth = std::max(v.bandwidth, size * 1000 / duration);
    bits += size;
    ms += duration;
  }
  v.average_bandwidth = bits * 1000 / ms;
  v.codecs = description_.codecs;
  v.width = description_.width;
  v.height = description_.height;
  v.frame_rate = description_.width > 0 ? frame_rate_ : 0;
  return hls::write_master({v});
}

std::optional<hls_file> hls_window::segment(uint64_t number) const {
  const auto found = std::ranges::lower_bound(segments_, number, {}, [](const finished& s) { return s.state.number; });
  if (found == segments_.end() || found->state.number != number || !found->file.bytes) return std::nullopt;
  return found->file;
}

std::optional<hls_file> hls_window::init(uint64_t hash) const {
  for (auto s = segments_.rbegin(); s != segments_.rend(); ++s) {
    if (s->init && s->init->hash == hash) return s->init->file;
  }
  return std::nullopt;
}

std::optional<hls_file> hls_window::find(std::string_view file) const {
  const auto name = parse_hls_name(file);
  if (!name || (name->stream != stream_ && name->stream != hls::escape_name(stream_))) return std::nullopt;
  if (name->init) return init(name->value);
  // The extension is part of the name.
  const auto found =
      std::ranges::lower_bound(segments_, name->value, {}, [](const finished& s) { return s.state.number; });
  if (found == segments_.end() || found->format != name->format) return std::nullopt;
  return segment(name->value);
}

}  // namespace sluice::media
