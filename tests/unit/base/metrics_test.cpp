#include "base/metrics.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace sluice::base {
namespace {

std::string render(const metrics& m) {
  const metrics* const parts[] = {&m};
  return metrics::render(parts);
}

TEST(metrics, renders_prometheus_text_in_order_of_names) {
  metrics m;
  m.gauge("sluice_streams", "streams now").set(-3);
  m.counter("sluice_bytes_total", "bytes", {{"dir", "out"}, {"proto", "rtmp"}}).add(5);
  m.counter("sluice_bytes_total", "bytes", {{"dir", "in"}, {"proto", "rtmp"}}).add();
  EXPECT_EQ(render(m),
            "# HELP sluice_bytes_total bytes\n"
            "# TYPE sluice_bytes_total counter\n"
            "sluice_bytes_total{dir=\"in\",proto=\"rtmp\"} 1\n"
            "sluice_bytes_total{dir=\"out\",proto=\"rtmp\"} 5\n"
            "# HELP sluice_streams streams now\n"
            "# TYPE sluice_streams gauge\n"
            "sluice_streams -3\n");
}

TEST(metrics, the_same_labels_are_the_same_cell) {
  metrics m;
  auto& a = m.counter("a", "h", {{"k", "v"}});
  auto& b = m.counter("a", "h", {{"k", "w"}});
  EXPECT_EQ(&m.counter("a", "h", {{"k", "v"}}), &a);
  EXPECT_NE(&a, &b);
  EXPECT_NE(&m.counter("b", "h", {{"k", "v"}}), &a);
}

TEST(metrics, sums_over_parts) {
  metrics first, second;
  first.counter("a", "h", {{"k", "v"}}).add(2);
  second.counter("a", "h", {{"k", "v"}}).add(40);
  second.counter("a", "h", {{"k", "w"}}).add(1);
  second.gauge("b", "h").set(9);
  const metrics* const parts[] = {&first, &second};
  EXPECT_EQ(metrics::render(parts),
            "# HELP a h\n# TYPE a counter\na{k=\"v\"} 42\na{k=\"w\"} 1\n# HELP b h\n# TYPE b gauge\nb 9\n");
  EXPECT_EQ(metrics::render({}), "");
}

TEST(metrics, histograms_count_below_each_bound_and_are_summed) {
  static constexpr double bounds_s[] = {0.1, 1, 30};
  metrics first, second;
  auto& a = first.histogram("took_seconds", "how long", bounds_s);
  EXPECT_EQ(&first.histogram("took_seconds", "how long", bounds_s), &a);
  auto& b = second.histogram("took_seconds", "how long", bounds_s);
  a.observe(0.05);
  a.observe(0.1);  // a bound belongs to its bucket
  a.observe(2);
  b.observe(0.5);
  b.observe(100);
  second.counter("a", "h").add();
  const metrics* const parts[] = {&first, &second};
  EXPECT_EQ(metrics::render(parts),
            "# HELP a h\n# TYPE a counter\na 1\n"
            "# HELP took_seconds how long\n# TYPE took_seconds histogram\n"
            "took_seconds_bucket{le=\"0.1\"} 2\n"
            "took_seconds_bucket{le=\"1\"} 3\n"
            "took_seconds_bucket{le=\"30\"} 4\n"
            "took_seconds_bucket{le=\"+Inf\"} 5\n"
            "took_seconds_sum 102.65\n"
            "took_seconds_count 5\n");
}

TEST(metrics, escapes_label_values) {
  metrics m;
  m.counter("a", "h", {{"k", "q\"b\\n\nx{}"}}).add();
  EXPECT_NE(render(m).find("a{k=\"q\\\"b\\\\n\\nx{}\"} 1\n"), std::string::npos) << render(m);
}

TEST(metrics, the_thousand_and_first_cell_is_shared) {
  metrics m;
  const auto cell = [&](int i) -> metric_cell& { return m.counter("a", "h", {{"k", std::to_string(i)}, {"l", "x"}}); };
  for (int i = 0; i < 1000; ++i) cell(i).add();
  auto& other = cell(1000);
  EXPECT_EQ(&cell(1001), &other);
  EXPECT_NE(&cell(999), &other);
  for (int i = 1000; i < 5000; ++i) cell(i).add();
  cell(5).add();  // those that have a cell keep it
  const auto text = render(m);
  EXPECT_NE(text.find("a{k=\"other\",l=\"other\"} 4000\n"), std::string::npos);
  EXPECT_NE(text.find("a{k=\"5\",l=\"x\"} 2\n"), std::string::npos);
  EXPECT_EQ(text.find("k=\"1000\""), std::string::npos);
  EXPECT_EQ(std::ranges::count(text, '\n'), 2 + 1001);
  m.counter("b", "h", {{"k", "v"}}).add();  // other names are not affected
  EXPECT_NE(render(m).find("b{k=\"v\"} 1\n"), std::string::npos);
}

}  // namespace
}  // namespace sluice::base
