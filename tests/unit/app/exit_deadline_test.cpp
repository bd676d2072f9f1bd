#include "roles/exit_deadline.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

namespace sluice::roles {
namespace {

using namespace std::chrono_literals;

/// Writes the names of events to standard error.
class stderr_log final : public base::log_sink {
 public:
  bool enabled(base::log_level) const override { return true; }
  void write(base::log_level, std::string_view event, std::span<const base::log_field> fields) override {
    std::fprintf(stderr, "%.*s", static_cast<int>(event.size()), event.data());
    for (const auto& f : fields) std::fprintf(stderr, " %s", f.value.c_str());
    std::fputc('\n', stderr);
  }
};

TEST(ExitDeadline, EndsAProcessThatHangs) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        stderr_log log;
        const exit_deadline deadline(log, 10ms);
        for (;;) ::pause();
      },
      testing::ExitedWithCode(1), "killed force_quit_timeout");
}

TEST(ExitDeadline, IsHarmlessWhenDestroyedInTime) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        stderr_log log;
        {
          const exit_deadline deadline(log, 1h);
        }
        ::_exit(0);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace sluice::roles
