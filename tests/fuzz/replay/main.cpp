// Runs a fuzz target over stored inputs without libFuzzer: replay FOLDER|FILE...
// Every file is fed whole, and files of up to 2 KB also cut at every byte; the empty input is always fed.

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr size_t prefixes_up_to_bytes = 2048;
size_t runs = 0;

// A heap copy of exactly `size` bytes, so that the address sanitizer sees a read past the end.
void feed(const std::vector<uint8_t>& bytes, size_t size) {
  const std::vector<uint8_t> copy(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
  ++runs;
}

bool replay_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(in), {}};
  if (in.bad() || !in.is_open()) {
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    return false;
  }
  feed(bytes, bytes.size());
  for (size_t size = 0; bytes.size() <= prefixes_up_to_bytes && size < bytes.size(); ++size) feed(bytes, size);
  return true;
}

// The number of files replayed, or nothing if one could not be read.
std::optional<size_t> replay(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return replay_file(path) ? std::optional<size_t>(1) : std::nullopt;
  size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    if (!entry.is_regular_file()) continue;
    if (!replay_file(entry.path())) return std::nullopt;
    ++files;
  }
  return files;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s FOLDER|FILE...\n", argv[0]);
    return 2;
  }
  feed({}, 0);
  size_t files = 0;
  for (int i = 1; i < argc; ++i) {
    const auto count = replay(argv[i]);
    if (!count) return 1;
    if (*count == 0) {
      std::fprintf(stderr, "%s: no file\n", argv[i]);
      return 1;
    }
    files += *count;
  }
  std::printf("%zu files, %zu inputs\n", files, runs);
  return 0;
}
