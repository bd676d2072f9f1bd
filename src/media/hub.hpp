#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ring.hpp"
#include "base/time.hpp"
#include "media/frame.hpp"
#include "media/mark.hpp"
#include "media/segment_tracker.hpp"

namespace sluice::media {

struct hub_limits {
  bool gop_cache = true;                              ///< keep the newest GOP for late joiners
  size_t bytes_max = 16u << 20;                       ///< of the whole log; over it the oldest frames go
  base::duration age_max = std::chrono::seconds(20);  ///< of the oldest frame kept for the GOP cache
  base::duration lag_max = std::chrono::seconds(10);  ///< how far a reader may fall behind before it is moved on
  base::duration retain =
      base::duration::zero();        ///< keep whole GOPs that cover at least this much before the newest one
  bool strip_set_data_frame = true;  ///< false where the consumer is another server's ingest
};

class reader;
class hub;

/// Told once when a hub has frames that its readers have not been shown: the driver calls flush() soon, or after a
/// merge delay.
class hub_driver {
 public:
  virtual void on_frames_pending(hub& h) = 0;

 protected:
  ~hub_driver() = default;
};

/// Headers in force from some frame on: metadata, then one sequence header per track.
using header_set = std::vector<frame>;

/// A frame at which a newcomer may start.
struct join_point {
  uint64_t number;
  uint32_t timestamp;
  base::time_point arrival;
  std::shared_ptr<const header_set> headers;
};

/// A run of frames of one publication: what a frame of the log is called in the whole cluster.
struct source_span {
  uint64_t begin = 0;   ///< the first frame of the log that this is about; it goes up to the next span
  std::string source;   ///< id of the publication; empty: headers that came outside the numbering
  uint64_t first = 0;   ///< number of frame `begin` within the publication
  uint32_t offset = 0;  ///< ms that the timestamps are above the publisher's own, modulo 2^32
};

/// What became of a mark.
struct mark_outcome {
  uint64_t missing = 0;       ///< messages of the publication that nobody can bring any more
  bool other_source = false;  ///< it begins another publication than the one before
};

/// One stream: a log of numbered frames, fed by one source at a time (a publisher, a pull, the next source after a
/// fail-over), read by any number of readers. One thread.
class hub {
 public:
  hub(const hub_limits& limits, hub_driver& driver);
  ~hub();
  hub(const hub&) = delete;
  hub& operator=(const hub&) = delete;

  // -- the source's side
  /// A new source: its frames continue the timeline of the old one if readers saw that (timestamps go on from the last
  /// one by the time that passed), else the timeline is its own. Headers and join points of the old source are
  /// forgotten. `id` names the publication, of which the next message is number 0; without one it has no numbers (then
  /// no numbered reader may read this hub).
  void begin_source(base::time_point now, std::string id = {});
  /// A numbered link says what it sends next. Of the publication that this hub has, it goes on where that stopped, in
  /// the same timeline: messages that are in the log already are dropped by append(). Any other begins a new source.
  /// `fresh`: the first mark of its connection.
  mark_outcome on_mark(const mark& m, bool fresh, base::time_point now);
  /// A header that is sent to bring this hub up to date, outside the numbering: what it has already is no news to its
  /// readers.
  void append_header(rtmp::message msg, base::time_point now);
  /// Segments are counted from the source's next message on, unless they are already: a mark may have told where.
  /// Of a source with a name only.
  void begin_segments(const publication_start& start);
  bool segmented() const { return cuts_ || cut_later_; }
  /// Of a source without numbers: it goes on where it stopped, and `offset` takes its timestamps to the old timeline.
  void resume_source(uint32_t offset);
  /// One message, in order. `now` is its arrival.
  void append(rtmp::message msg, base::time_point now);
  /// A frame of another hub (the same stream on another thread): kept as it is, with that hub's number.
  void append_replica(const frame& f, uint64_t number);
  /// For a replica: the headers in force before the first frame that will be appended.
  void adopt_headers(std::shared_ptr<const header_set> headers);
  void end_source();
  bool live() const { return live_; }
  /// Id of the present source, and the number that its next message will have.
  const std::string& source() const { return source_; }
  uint64_t source_next() const { return source_next_; }
  /// How many sources there have been, and with which frame the present one began.
  uint64_t sources() const { return sources_; }
  uint64_t source_begin() const { return source_begin_; }
  /// For a replica: its home hub has got another source.
  void follow_source();
  /// While set the log gives up nothing for its age, only for want of room: nobody has taken what is in it.
  void hold(bool on) { held_ = on; }
  base::time_point last_arrival() const { return last_arrival_; }

  // -- the readers' side
  uint64_t begin() const { return first_; }
  uint64_t end() const { return first_ + frames_.size(); }
  const frame& at(uint64_t number) const { return frames_[static_cast<size_t>(number - first_)]; }
  /// Where a newcomer starts: the newest keyframe kept (nullptr: wait). Without a GOP cache only a frame not flushed
  /// yet counts.
  const join_point* newest_join() const;
  /// The oldest join point at or behind `number`, or nullptr.
  const join_point* join_at_or_after(uint64_t number) const;
  const std::shared_ptr<const header_set>& headers() const { return headers_; }
  /// Those in force before frame `number`, as far as the log tells; else the newest.
  std::shared_ptr<const header_set> headers_at(uint64_t number) const;
  size_t readers() const { return readers_.size(); }
  /// Where the frames of the log begin segments: how, if that frame begins one; the first one that does, from a frame
  /// on. nullptr: none.
  struct segment_begin {
    uint64_t number;  ///< of the frame
    segment_state state;
  };
  const segment_state* segment_at(uint64_t number) const;
  const segment_begin* next_segment(uint64_t number) const;
  /// Set while the source's first segment has yet to begin.
  std::optional<publication_start> segments_start() const;
  /// How the next source's segments begin if they go on with the numbers of this one (segment_clock); nothing if it has
  /// none.
  std::optional<publication_start> next_segments_start() const;

  /// Where message `number` of `source` is, or will be, in the log; if the log does not hold it any more, begin() - 1
  /// at most, as a signed number. Nothing if the log has nothing of that publication.
  std::optional<int64_t> locate(std::string_view source, uint64_t number) const;
  /// The span of a frame of the log; nullptr in a hub whose source has no numbers.
  const source_span* span_of(uint64_t number) const;
  /// Up to where `span_of(number)` goes.
  uint64_t span_end(uint64_t number) const;

  /// Shows pending frames to the readers, at most `readers_max` of them in this call; returns false if some are left
  /// for the next.
  bool flush(size_t readers_max = SIZE_MAX);

  /// Gives up the oldest group of pictures kept, before its time; false if that is the newest, or a reader still needs
  /// it.
  bool drop_oldest_group();
  /// Bytes held, frames that had to go before they were old enough (limits), frames of slow readers skipped.
  size_t bytes() const { return bytes_; }
  uint64_t evicted() const { return evicted_; }
  const hub_limits& limits() const { return limits_; }

 private:
  friend class reader;
  void attach(reader& r);
  void detach(reader& r);
  void take(rtmp::message msg, base::time_point now);
  void open_span(const std::string& source, uint64_t first);
  void open_pending_span();
  void cut(const frame& f, uint32_t own_timestamp);
  void cut_header(const frame& f);
  void push(frame f);
  void note_header(const frame& f);
  void note_time(const frame& f);
  void note_join(const frame& f, uint64_t number);
  bool nothing_to_trim() const;
  void trim();
  void pop_front();

  const hub_limits& limits_;
  hub_driver& driver_;
  base::ring<frame> frames_;
  uint64_t first_ = 0;
  uint64_t flushed_ = 0;  // frames below this have been shown to the readers
  size_t flush_at_ = 0;   // the next reader of a flush under way
  size_t bytes_ = 0;
  uint64_t evicted_ = 0;
  base::ring<join_point> joins_;
  std::shared_ptr<const header_set> headers_;
  std::vector<reader*> readers_;
  bool live_ = false;
  bool pending_ = false;  // the driver has been told
  bool floor_holds_ = false;
  uint64_t floor_ = 0;  // what the cache and the retention keep, as of the last trim
  base::time_point front_arrival_{}, newest_arrival_{};
  bool has_video_ = false;
  bool had_keyframe_ = false;  // of this source
  bool rebase_pending_ = false;
  uint32_t offset_ = 0;  // added to the source's timestamps, modulo 2^32
  uint32_t last_timestamp_ = 0;
  bool timed_ = false;  // last_timestamp_ holds one of the timeline that readers may have seen
  base::time_point last_arrival_{};
  base::time_point source_since_{};
  base::time_point last_keyframe_{};

  // The numbering of the source (hub_source.cpp).
  std::vector<source_span> spans_;  // oldest first
  std::string source_;
  uint64_t source_next_ = 0;  // number of the next message
  uint64_t sources_ = 0, source_begin_ = 0;
  uint64_t skip_ = 0;           // messages that come again
  uint32_t sender_offset_ = 0;  // what the sender has added to the timestamps
  uint32_t headers_left_ = 0;   // messages that come without a number
  bool span_pending_ = false;   // the next numbered message opens a span
  bool held_ = false;

  // Segments of the source (hub_segments.cpp).
  std::unique_ptr<segment_tracker> cuts_;         // while it is known how they are counted
  publication_start cuts_start_;                  // if cuts_ does not run yet
  std::optional<mark::segment_begin> cut_later_;  // told by a mark, of a message to come
  base::ring<segment_begin> segments_;            // of frames of the log
};

}  // namespace sluice::media
