#include "runtime/body_files.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

namespace sluice::runtime {
namespace {

std::shared_ptr<const std::string> body(size_t size, char fill = 'x') {
  return std::make_shared<const std::string>(size, fill);
}

std::string content(const memory_file& file, size_t size) {
  std::string bytes(size + 1, '\0');
  const ssize_t got = ::pread(file.fd(), bytes.data(), bytes.size(), 0);
  bytes.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return bytes;
}

TEST(body_files, the_second_request_makes_a_file_and_all_later_ones_use_it) {
  body_files files(nullptr);
  const auto a = body(100'000, 'a');
  EXPECT_FALSE(files.of(a));
  const auto file = files.of(a);
  ASSERT_TRUE(file);
  EXPECT_EQ(content(*file, a->size()), *a);
  EXPECT_EQ(files.of(a), file);
  EXPECT_EQ(files.files(), 1u);
}

TEST(body_files, short_and_huge_ones_and_none_have_no_file) {
  body_files files(nullptr);
  for (const auto& b :
       {body(body_files::body_bytes_min - 1), body(body_files::bytes_max + 1), body(0), decltype(body(0))()})
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(files.of(b));
}

TEST(body_files, number_and_bytes_are_bounded_and_the_least_used_goes) {
  body_files files(nullptr);
  std::vector<std::shared_ptr<const std::string>> all;
  for (size_t i = 0; i < body_files::files_max + 5; ++i) {
    all.push_back(body(body_files::body_bytes_min));
    files.of(all.back());
    EXPECT_TRUE(files.of(all.back()));
    files.of(all.front());  // is always in use
  }
  EXPECT_EQ(files.files(), body_files::files_max);
  EXPECT_TRUE(files.of(all.front()));
  const auto half = body(body_files::bytes_max / 2), other = body(body_files::bytes_max / 2 + 1);
  for (const auto& b : {half, half, other}) files.of(b);
  const auto taken = files.of(other);
  EXPECT_TRUE(taken);
  EXPECT_EQ(files.files(), 1u) << "there is room for one of the two";
}

TEST(body_files, a_body_at_the_address_of_one_that_is_gone_is_another) {
  body_files files(nullptr);
  std::vector<char> place(sizeof(std::string));
  const auto at = [&](size_t size, char fill) {
    return std::shared_ptr<const std::string>(new (place.data()) std::string(size, fill),
                                              [](const std::string* s) { s->~basic_string(); });
  };
  {
    const auto a = at(100'000, 'a');
    files.of(a);
    EXPECT_TRUE(files.of(a));
  }
  const auto b = at(100'000, 'b');
  EXPECT_FALSE(files.of(b));
  const auto file = files.of(b);
  ASSERT_TRUE(file);
  EXPECT_EQ(content(*file, b->size()), *b);
  EXPECT_EQ(files.files(), 1u);
}

TEST(body_files, takes_and_returns_descriptors) {
  descriptor_budget budget(1);
  {
    body_files files(&budget);
    const auto a = body(100'000), b = body(100'000);
    for (const auto& each : {a, a, b, b}) files.of(each);
    EXPECT_TRUE(files.of(a));
    EXPECT_FALSE(files.of(b)) << "no descriptor is left";
    EXPECT_EQ(budget.left(), 0);
  }
  EXPECT_EQ(budget.left(), 1);
}

}  // namespace
}  // namespace sluice::runtime
