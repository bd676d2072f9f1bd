#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "load/event_loop.hpp"
#include "load/options.hpp"
#include "load/report.hpp"

namespace sluice::bench {

class population;

/// A client that is one of many, whatever it speaks.
class member {
 public:
  member(population& all, int index) : all_(all), index_(index) {}
  virtual ~member() = default;
  member(const member&) = delete;
  member& operator=(const member&) = delete;

  /// It is this one's turn to connect.
  virtual void begin() = 0;
  /// Whether it counts as up (what that means depends on the mode).
  bool up() const { return up_; }
  /// The counters are about to be printed: add to the population's samples.
  virtual void on_mark(int64_t now) {}
  /// Samples begin anew.
  virtual void on_reset(int64_t now) {}

 protected:
  void set_up();
  void count_loss(const char* why);
  population& all_;
  const int index_;

 private:
  bool up_ = false;
};

/// Brings a number of clients up, at most `concurrency` at a time, and answers lines on stdin: `mark` prints the
/// counters, `reset` clears the samples, `stop` (or the end of stdin) prints them a last time and ends. When
/// all are up or lost it prints
/// {"event":"ready"}.
class population : public handler {
 public:
  population(event_loop& loop, const load_options& options);

  void add(std::unique_ptr<member> m) { members_.push_back(std::move(m)); }
  void start();

  void member_up();
  void member_lost(bool was_up, const char* why);

  const load_options& options() const { return options_; }
  uint64_t total_bytes = 0, total_messages = 0;
  uint64_t messages_lost = 0, messages_again = 0;  ///< by the numbers that publishers write
  samples latency, first_frame;
  samples pauses;     ///< the longest of each member since the last reset
  int64_t quiet = 0;  ///< ns since the last message, of the member that has waited longest

 private:
  void on_io(uint32_t events) override;
  void on_timer(int64_t now) override;
  void open_more();
  void reset();
  void print(const char* event);
  void check_ready();

  event_loop& loop_;
  const load_options& options_;
  std::vector<std::unique_ptr<member>> members_;
  std::map<std::string, uint64_t> losses_;
  size_t opened_ = 0, up_ = 0, failed_ = 0, lost_ = 0;
  bool ready_printed_ = false;
  int64_t started_at_ = 0;
  std::string input_;
};

}  // namespace sluice::bench
