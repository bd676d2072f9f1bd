#include "app/files.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <thread>

namespace sluice::app {
namespace {

class Files : public testing::Test {
 protected:
  Files() {
    std::string name = (std::filesystem::temp_directory_path() / "sluice-files-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~Files() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  static std::string reason(const std::string& path) {
    const auto text = read_settings_file(path);
    return text ? "read" : std::string(text.error().reason) + ": " + text.error().text;
  }

 private:
  std::string folder_;
};

TEST_F(Files, AreReadWhole) {
  const std::string text("a=\0b\n", 5);
  std::ofstream(path("f"), std::ios::binary) << text;
  EXPECT_EQ(read_settings_file(path("f")).value(), text);
  std::ofstream(path("empty"));
  EXPECT_EQ(read_settings_file(path("empty")).value(), "");
  std::filesystem::resize_file(path("f"), 1 << 20);
  EXPECT_EQ(read_settings_file(path("f")).value().size(), 1u << 20);
}

TEST_F(Files, MayBePipes) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  std::thread writer([this] { std::ofstream(path("pipe")) << "piped"; });
  EXPECT_EQ(read_settings_file(path("pipe")).value(), "piped");
  writer.join();
}

TEST_F(Files, ThatCannotBeReadSayWhy) {
  EXPECT_EQ(reason(path("none")), "no_such_file: cannot read the file: No such file or directory");
  std::filesystem::create_directory(path("dir"));
  EXPECT_EQ(reason(path("dir")), "cannot_read: cannot read the file: Is a directory");
  EXPECT_EQ(reason("/dev/zero"), "cannot_read: cannot read the file: it is larger than 1 MiB");
  std::ofstream(path("file"));
  EXPECT_EQ(reason(path("file") + "/below").substr(0, 12), "no_such_file");
}

}  // namespace
}  // namespace sluice::app
