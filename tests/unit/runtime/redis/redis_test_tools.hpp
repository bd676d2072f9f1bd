#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "redis_servers.hpp"
#include "runtime/redis_client.hpp"
#include "unit/runtime/recording_log.hpp"

namespace sluice::runtime {

/// A loop with a client on it, and what the client said.
class redis_test : public ::testing::Test {
 protected:
  void open(redis_options options) {
    client_ = std::make_unique<redis_client>(loop_, std::move(options), log_, metrics_);
    client_->on_state = [this](bool up) { states_.push_back(up); };
  }
  /// With time for what a busy machine does slowly; tests of lateness have less.
  static redis_options patient() {
    redis_options o;
    o.connect_timeout = 5s;
    o.call_timeout = 5s;
    return o;
  }
  static redis_options at(const redis_server& s) {
    auto o = patient();
    o.port = s.port();
    return o;
  }

  /// Runs the loop until `done` holds; false if it does not within the time.
  bool until(const std::function<bool()>& done, base::duration within = 30s) {
    const auto end = loop::monotonic_now() + within;
    bool held = false;
    timer look(loop_, [&] {
      held = done();
      if (held || loop_.now() > end) return loop_.stop();
      look.arm_after(2ms);
    });
    look.arm_after(0ms);
    loop_.run();
    return held;
  }
  bool until_up() {
    return until([this] { return client_->is_up() && !states_.empty() && states_.back(); });
  }
  bool until_down() {
    return until([this] { return !client_->is_up() && !states_.empty() && !states_.back(); });
  }

  static std::string show(const base::result<resp::value>& r) {
    return r ? resp::to_string(*r) : std::string(r.error().reason);
  }
  /// The answer to one call: a value, or the reason of an error.
  std::string call(std::vector<std::string> command, std::string_view slot_key = {}) {
    std::optional<std::string> answer;
    client_->call(slot_key, std::move(command), [&](base::result<resp::value> r) {
      last_text_ = r ? "" : r.error().text;
      answer = show(r);
    });
    EXPECT_FALSE(answer) << "called from within";
    EXPECT_TRUE(until([&] { return answer.has_value(); }));
    return answer.value_or("none");
  }
  std::string eval(const redis_script& script, std::vector<std::string> keys, std::vector<std::string> arguments) {
    std::optional<std::string> answer;
    client_->eval(script, std::move(keys), std::move(arguments), [&](base::result<resp::value> r) {
      last_text_ = r ? "" : r.error().text;
      answer = show(r);
    });
    EXPECT_TRUE(until([&] { return answer.has_value(); }));
    return answer.value_or("none");
  }
  /// Calls again and again until the answer is this one.
  bool until_answer(const std::string& wanted, const std::vector<std::string>& command,
                    std::string_view slot_key = {}) {
    const auto end = loop::monotonic_now() + 30s;
    while (loop::monotonic_now() < end)
      if (call(command, slot_key) == wanted) return true;
    return false;
  }
  int64_t calls(const char* outcome) {
    return metrics_.counter("sluice_redis_calls_total", "", {{"outcome", outcome}}).value();
  }

  loop loop_;
  recording_log log_;
  base::metrics metrics_;
  std::vector<bool> states_;
  std::string last_text_;
  std::unique_ptr<redis_client> client_;
};

}  // namespace sluice::runtime
