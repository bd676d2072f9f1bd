#pragma once

#include <sys/uio.h>

#include <memory>
#include <span>
#include <vector>

#include "base/ring.hpp"
#include "media/reader.hpp"
#include "media/stream_muxer.hpp"

namespace sluice::media {

class byte_log;

/// Told once when a log has bytes that its readers have not been shown: the driver calls flush() soon.
class byte_log_driver {
 public:
  virtual void on_bytes_pending(byte_log& log) = 0;

 protected:
  ~byte_log_driver() = default;
};

struct byte_log_limits {
  size_t bytes_max = 32u << 20;                       ///< over it the oldest blocks go
  base::duration lag_max = std::chrono::seconds(10);  ///< how far a reader may fall behind before it is moved on
};

/// Bytes in order: `text`, with bodies of frames, which are not copied, at places of it.
class byte_run {
 public:
  byte_run() = default;
  explicit byte_run(std::vector<uint8_t> text) : text_(std::move(text)) {}
  size_t size() const { return text_.size() + bodies_bytes_; }
  /// To append to.
  std::vector<uint8_t>& text() { return text_; }
  /// `body` goes in at place `at` of the text, behind all bodies so far.
  void add_body(size_t at, base::slice body);
  size_t bodies() const { return bodies_.size(); }
  void reserve(size_t text_bytes, size_t bodies);
  /// Appends to `out`, from its index `count` on, the parts from byte `offset` on, and returns the new count; stops at
  /// out.size(). *bytes grows by what is covered.
  size_t gather(size_t offset, std::span<iovec> out, size_t count, size_t* bytes) const;

 private:
  struct body {
    size_t at;
    base::slice bytes;
  };
  std::vector<uint8_t> text_;
  std::vector<body> bodies_;
  size_t bodies_bytes_ = 0;
};
using run_ref = std::shared_ptr<const byte_run>;

/// A run of whole messages in a format's form; a receiver may start at one with `join`.
struct byte_block {
  run_ref bytes;
  run_ref file_header;  ///< of a join: what a receiver gets who had nothing yet
  run_ref headers;      ///< of a join: what then goes in front of it, also to who has missed what came before
  base::time_point arrival{};
  bool join = false;
};

class byte_reader;

/// A stream in one format, serialised once for all who watch it in that: a log of blocks in the manner of the hub that
/// it reads. It reaches back as far as the slowest reader within the limits, and, if the hub keeps a GOP, to the newest
/// join. For one receiver (of a hub without a GOP) bodies are not copied, where the format has them as they are; for
/// many, one copy is less work than writes of many parts. One thread; destroyed before the hub, after its readers.
class byte_log final : public reader_owner {
 public:
  byte_log(hub& source, std::unique_ptr<stream_muxer> muxer, const byte_log_limits& limits, byte_log_driver& driver);
  ~byte_log();

  /// A receiver can start.
  bool ready() const { return newest_join_ != none; }
  const stream_muxer& muxer() const { return *muxer_; }
  size_t readers() const { return readers_.size(); }
  size_t bytes() const { return bytes_; }
  /// Shows what is new to at most `readers_max` readers in this call; false if some are left for the next.
  bool flush(size_t readers_max);

 private:
  friend class byte_reader;
  static constexpr uint64_t none = UINT64_MAX;
  void on_frames() override;
  void take(const frame& f, uint64_t number);
  void close_block();
  void trim();
  void detach(byte_reader& r);
  uint64_t end() const { return first_ + blocks_.size(); }
  const byte_block& at(uint64_t number) const { return blocks_[static_cast<size_t>(number - first_)]; }

  hub& hub_;
  const std::unique_ptr<stream_muxer> muxer_;
  const byte_log_limits& limits_;
  byte_log_driver& driver_;
  reader reader_;
  base::ring<byte_block> blocks_;
  uint64_t first_ = 0;
  size_t bytes_ = 0;
  uint64_t newest_join_ = none;
  bool told_ = false;                                 // headers have been written once
  byte_run open_;                                     // the block under way
  size_t likely_text_bytes_ = 0, likely_bodies_ = 0;  // of it: as the last
  byte_block next_;                                   // what else is known of it
  std::vector<byte_reader*> readers_;
  size_t flush_at_ = 0;
  bool pending_ = false;
};

class byte_reader_owner {
 public:
  virtual void on_bytes() = 0;

 protected:
  ~byte_reader_owner() = default;
};

/// One receiver's place in a byte log.
class byte_reader {
 public:
  byte_reader(byte_log& log, byte_reader_owner& owner);
  ~byte_reader();
  byte_reader(const byte_reader&) = delete;
  byte_reader& operator=(const byte_reader&) = delete;

  /// Parts to send next, and their bytes in *bytes; 0 when there is nothing.
  size_t gather(std::span<iovec> out, size_t* bytes);
  /// `bytes` of what gather() returned were sent.
  void consume(size_t bytes);
  bool has_pending() const;
  size_t pending_blocks() const { return cursor_ == byte_log::none ? 0 : static_cast<size_t>(log_.end() - cursor_); }
  uint32_t drops() const { return drops_; }  ///< how often it was moved on, being too slow

 private:
  friend class byte_log;
  void settle();
  void begin_at(uint64_t number);
  byte_log& log_;
  byte_reader_owner& owner_;
  size_t slot_ = 0;
  uint64_t cursor_ = byte_log::none;  // the next block; none: waits for a join
  std::vector<run_ref> front_;        // goes out before it: headers, the rest of a block that is half sent
  size_t offset_ = 0;                 // bytes of front_[0] already sent
  bool begun_ = false;
  uint32_t drops_ = 0;
};

}  // namespace sluice::media
