#include "servers/http/hls_channel.hpp"

#include <fmt/format.h>

#include "proto/hls/playlist.hpp"
#include "servers/http/body.hpp"

namespace sluice::servers {
namespace {

std::string wish_name(const std::optional<media::container>& wish) {
  if (!wish) return "auto";
  return *wish == media::container::mpegts ? "ts" : "fmp4";
}

media::hls_settings settings_for(const media::hls_settings& common, std::optional<media::container> wish) {
  auto s = common;
  s.format = wish;
  return s;
}

size_t count(std::string_view text, std::string_view what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + what.size())) ++n;
  return n;
}

/// Whether all segments of a playlist are gaps.
bool shows_nothing(std::string_view playlist) {
  return count(playlist, "\n#EXTINF:") == count(playlist, "\n#EXT-X-GAP\n");
}

}  // namespace

hls_channel::hls_channel(hls_server& server, const cluster::stream_address& address,
                         std::optional<media::container> wish)
    : server_(server),
      address_(address),
      wish_(wish_name(wish)),
      session_(fmt::format("{}-hls-{:x}", server.id_prefix_, ++server.ids_)),
      window_(address.key.stream, settings_for(server.limits_.window, wish),
              [this](media::container c) {
                auto muxer = media::make_segment_muxer(c);
                muxer_ = muxer.get();
                format_ = c;
                return muxer;
              }),
      wait_(server.loop_, [this] { on_wait_over(); }) {
  server_.log_.info("hls_start", {{"session", session_}, {"stream", address_.key.str()}, {"format", wish_}});
}

hls_channel::~hls_channel() {
  refuse_waiting(503, "the server is stopping");
  reader_.reset();
  lease_.reset();
  server_.log_.info("hls_end", {{"session", session_}, {"stream", address_.key.str()}, {"format", wish_}});
}

void hls_channel::watch(const runtime::http_request& request) {
  last_used_ = server_.loop_.now();
  if (lease_) return;
  no_stream_ = 0;
  auto lease = server_.streams_.open(
      {std::make_shared<const runtime::http_request>(request), address_, session_, request.peer}, *this);
  if (no_stream_ == 0) lease_ = std::move(lease);
}

void hls_channel::on_stream(media::hub& h, const std::string&) {
  hub_ = &h;
  reader_ = std::make_unique<media::reader>(h, *this, media::reader_start::oldest);
  drops_ = 0;
  synced_ = false;
  on_frames();
}

void hls_channel::on_no_stream(int status, std::string_view, std::string_view text) {
  no_stream_ = status;
  no_stream_text_ = text;
  reader_.reset();
  hub_ = nullptr;
  if (std::exchange(synced_, false)) window_.end(false);
  // What is there can be had on, until nobody asks for it: the publisher may come back.
  if (window_.media_playlist().empty()) refuse_waiting(status, text);
  lease_.reset();
}

void hls_channel::on_passed(passed) { on_no_stream(404, "not_served", "HLS of this stream is not made here"); }

void hls_channel::on_frames() {
  while (const media::frame* f = reader_->peek()) {
    reader_
        ->take_headers();  // the window gets those in force with its first frame, and all later ones among the frames
    take(*f, reader_->next_number());
    reader_->pop();
    if (window_.revision() != revision_) note_left_out();
  }
  if (!waiting_.empty() && !window_.media_playlist().empty()) serve_waiting();
}

void hls_channel::take(const media::frame& f, uint64_t number) {
  const media::source_span* span = hub_->span_of(number);
  if (!span) return;
  const bool other = !span->source.empty() && span->source != source_;
  const bool missed = reader_->drops() != std::exchange(drops_, reader_->drops());
  if (synced_ && (other || missed)) {
    window_.end(false);
    synced_ = false;
  }
  if (other) source_ = span->source;
  if (!synced_) {
    const auto* segment = hub_->segment_at(number);
    if (!segment) return;
    window_.resume(*segment, *hub_->headers_at(number));
    synced_ = true;
  }
  // Segments bear the publisher's own time, which is the same at every server.
  media::frame own = f;
  own.timestamp -= span->offset;
  window_.add(own);
}

/// The playlist has changed: mostly for a new segment.
void hls_channel::note_left_out() {
  revision_ = window_.revision();
  const auto names = muxer_ ? muxer_->left_out() : std::vector<std::string>{};
  carries_something_ = names.empty() || !shows_nothing(window_.media_playlist());
  auto left_out = fmt::format("{}", fmt::join(names, ", "));
  if (left_out.empty() || left_out == left_out_) return;
  left_out_ = std::move(left_out);
  server_.log_.warn("tracks_left_out", {{"session", session_},
                                        {"stream", address_.key.str()},
                                        {"proto", "hls"},
                                        {"format", format_ == media::container::mpegts ? "ts" : "fmp4"},
                                        {"codecs", left_out_}});
}

void hls_channel::answer(const runtime::http_request& request, runtime::http_server::respond respond) {
  watch(request);
  // A stream that is gone can be had on for as long as there is something of it.
  const bool has_playlist = !window_.media_playlist().empty() && (carries_something_ || no_stream_ == 0);
  if (has_playlist) return respond(response(request));
  if (no_stream_ != 0) return respond(http_failure(no_stream_, no_stream_text_));
  if (server_.waiting_ >= server_.limits_.waiting_max)
    return respond(http_failure(503, "as many requests wait for a first segment as may"));
  ++server_.waiting_;
  waiting_.push_back({request, std::move(respond), server_.loop_.now() + server_.limits_.first_segment_wait});
  if (!wait_.armed()) wait_.arm_at(waiting_.front().until);
}

runtime::http_response hls_channel::response(const runtime::http_request& request) const {
  if (!carries_something_)
    return http_failure(415,
                        fmt::format("HLS in {} carries none of the stream's tracks ({})",
                                    format_ == media::container::mpegts ? "MPEG-TS" : "fragmented MP4", left_out_));
  http_body body;
  body.content_type = media::playlist_content_type;
  body.cache_control = media::playlist_cache_control;
  if (!request.query_value("media").empty()) {
    body.bytes = std::make_shared<const std::string>(window_.media_playlist());
    body.etag = window_.playlist_etag();
  } else {
    // What the client said for itself (a token) goes on to the playlist that its player asks for by itself.
    std::string uri = fmt::format("{}.m3u8?media={}", hls::escape_name(address_.key.stream), wish_);
    if (!request.query.empty()) uri += "&" + request.query;
    body.bytes = std::make_shared<const std::string>(window_.master_playlist(uri));
  }
  server_.bytes_out_cell_.add(static_cast<int64_t>(body.bytes->size()));
  return answer_with(request, body);
}

void hls_channel::serve_waiting() {
  wait_.cancel();
  for (auto& w : std::exchange(waiting_, {})) {
    --server_.waiting_;
    w.respond(response(w.request));
  }
}

void hls_channel::refuse_waiting(int status, std::string_view text) {
  wait_.cancel();
  for (auto& w : std::exchange(waiting_, {})) {
    --server_.waiting_;
    w.respond(http_failure(status, text));
  }
}

void hls_channel::on_wait_over() {
  while (!waiting_.empty() && waiting_.front().until <= server_.loop_.now()) {
    auto w = std::move(waiting_.front());
    waiting_.pop_front();
    --server_.waiting_;
    w.respond(http_failure(404, "the stream has no first segment yet"));
  }
  if (!waiting_.empty()) wait_.arm_at(waiting_.front().until);
}

}  // namespace sluice::servers
