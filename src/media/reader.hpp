#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.hpp"
#include "media/hub.hpp"

namespace sluice::media {

/// What a reader belongs to: a player's connection, a push to an origin, a replica on another thread.
class reader_owner {
 public:
  /// New frames may be read now (called from hub::flush()).
  virtual void on_frames() = 0;

 protected:
  ~reader_owner() = default;
};

enum class reader_start : uint8_t {
  keyframe,  ///< headers, then from the newest keyframe on; waits for one if there is none
  oldest,    ///< every frame that the log holds: a push to an origin, a replica
};

/// One consumer's place in a hub: gathers what to send and keeps count of what was sent. Owned by the consumer,
/// destroyed before the hub.
class reader {
 public:
  reader(hub& h, reader_owner& owner, reader_start start);
  ~reader();
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;

  /// The message stream of the receiver, if it is not the one that wire forms carry (then each message costs a patched
  /// header).
  void set_stream_id(uint32_t id) { stream_id_ = id; }
  /// The receiver is the other end of a numbered link: it is sent marks, and one that starts at the oldest frame gets
  /// it whether or not it is a keyframe. Before the first prepare().
  void set_numbered();
  /// The receiver is a player, who joins: metadata that he gets before anything else of the stream stands at time 0, as
  /// from any other server (libavformat's FLV demuxer takes metadata at another time for a subtitle track). What comes
  /// later keeps its time. Before the first prepare(), and before set_numbered(), which undoes it.
  void set_joining() { joining_ = true; }
  /// For one that starts at the oldest frame, before the first prepare(): its receiver has had everything below that
  /// frame, and gets the headers in force, then what follows, whether or not it begins with a keyframe. If the log has
  /// given that frame up, it starts at the oldest as any other.
  void go_on_at(uint64_t number);
  /// Up to below that frame of the log only.
  void stop_at(uint64_t number) { end_ = number; }
  /// Before the first prepare(), for a reader that starts at a keyframe: it had everything of `source` below `next`
  /// from elsewhere and goes on there, as soon as the hub has that message. If the hub gets another source, or has
  /// given that message up, it starts as any newcomer, from the oldest join point in the latter case.
  void resume(std::string source, uint64_t next) {
    resume_ = std::make_unique<resumption>(resumption{std::move(source), next});
  }
  /// Appends to `prelude` the headers that must go out first, if any are due; call before gather() while at_boundary().
  void prepare(base::send_buffer& prelude);
  /// Parts to send next, and their bytes in *bytes. 0 when there is nothing. With `rest_only` no more than the rest of
  /// a message that is half sent: something else waits to be written.
  size_t gather(std::span<iovec> out, size_t* bytes, bool rest_only = false);
  /// Takes out what is left of a message that is half sent: its receiver needs it before anything else, even when this
  /// reader goes.
  std::vector<uint8_t> rest();
  /// `bytes` of what gather() returned were sent.
  void consume(size_t bytes);
  /// False while a message is half sent: nothing else may be written to the connection before its rest.
  bool at_boundary() const { return offset_ == 0; }
  bool has_pending() const;

  /// One frame at a time, for consumers that do not send wire forms. nullptr when there is none.
  const frame* peek();
  void pop();
  /// Headers that belong before the frame that peek() shows; nullptr if none are due.
  std::shared_ptr<const header_set> take_headers();
  uint64_t next_number() const { return cursor_; }

  /// receiveAudio, receiveVideo, pause: frames of that kind are skipped. Video comes back at a keyframe.
  void want_audio(bool on) { audio_ = on; }
  void want_video(bool on);
  void pause(bool on);
  bool paused() const { return paused_; }

  uint64_t dropped() const { return dropped_; }  ///< frames skipped because this reader was too slow
  uint32_t drops() const { return drops_; }      ///< how often that happened
  /// Bytes between this reader and the end of the log.
  size_t backlog() const;
  hub& source() const { return hub_; }

 private:
  friend class hub;
  using patched_header = std::array<uint8_t, 12>;
  struct resumption {
    std::string source;
    uint64_t next;
  };
  bool joined();
  bool resumed();
  void join_at(const join_point& join);
  void prepare_numbered(base::send_buffer& prelude);
  void prepare_joining(base::send_buffer& prelude);
  uint64_t gather_end(uint64_t from) const;
  uint64_t shown_end() const { return std::min(hub_.flushed_, end_); }
  void catch_up();
  bool skipped(const frame& f) const;
  size_t gather_wire(const rtmp::wire_message& wire, size_t offset, std::span<iovec> out, size_t count, size_t* taken);

  hub& hub_;
  reader_owner& owner_;
  size_t slot_ = 0;          // in hub_.readers_
  const uint64_t attached_;  // the hub's end at that time
  uint64_t cursor_ = 0;
  size_t offset_ = 0;           // bytes of the frame at cursor_ already sent
  rtmp::wire_message partial_;  // that frame, kept alive while half sent
  std::shared_ptr<const header_set> sent_headers_;
  std::shared_ptr<const header_set> due_headers_;
  uint32_t due_timestamp_ = 0;
  uint64_t dropped_ = 0;
  uint32_t drops_ = 0;
  uint32_t stream_id_ = wire_stream_id;
  std::unique_ptr<std::vector<patched_header>> patched_;  // of the last gather(), for another stream id
  std::unique_ptr<resumption> resume_;
  uint64_t end_ = UINT64_MAX;          // frames from there on are not for this reader
  uint64_t marked_span_ = UINT64_MAX;  // begin of the span that the receiver was told of
  bool numbered_ = false, mark_due_ = true;
  bool joining_ = false;  // nothing of the stream but metadata has been sent to a player
  bool waiting_ = true;   // for a join point
  bool audio_ = true, video_ = true, paused_ = false, video_needs_key_ = false;
};

}  // namespace sluice::media
