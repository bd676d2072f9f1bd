#include "cluster/core/stream_key.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "cluster/core/text.hpp"

using namespace sluice;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

bool is_safe(std::string_view part, bool slashes) {
  for (std::string_view bad : {"\\", "?", "#", "%", "{", "}"}) {
    if (part.find(bad) != part.npos) return false;
  }
  if (!slashes && part.find('/') != part.npos) return false;
  return !part.empty() && part.size() <= cluster::stream_key_part_bytes_max && cluster::is_clean_text(part);
}

void check(const base::result<cluster::stream_address>& got, const cluster::vhost_rules& rules) {
  if (!got) return;
  const cluster::stream_key& key = got->key;
  require(is_safe(key.vhost, false) && is_safe(key.app, true) && is_safe(key.stream, false));
  require(cluster::is_clean_text(got->query) && got->query.size() <= cluster::stream_query_bytes_max);
  const std::string whole = "/" + key.str() + "/";
  require(whole.find("//") == whole.npos && whole.find("/../") == whole.npos && whole.find("/./") == whole.npos);
  // A key is its own normal form.
  const auto again = cluster::parse_rtmp("rtmp://" + key.vhost + "/" + key.app, key.app, key.stream, rules);
  if (key.app.find("...vhost...") == key.app.npos) require(again && again->key == key);
}

}  // namespace

/// Input: three texts with newlines between them (tcUrl, app, name; host, path, query).
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::string_view parts[3];
  for (std::string_view& part : parts) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  parts[2] = rest.empty() ? parts[2] : std::string_view(parts[2].data(), parts[2].size() + 1 + rest.size());
  for (const cluster::vhost_rules& rules : {cluster::vhost_rules{}, {{"studio", "demo.srs.com"}, false}, {{}, true}}) {
    check(cluster::parse_rtmp(parts[0], parts[1], parts[2], rules), rules);
    check(cluster::parse_http(parts[0], parts[1], parts[2], rules), rules);
    for (std::string_view id : parts)
      if (auto got = cluster::parse_srt(id, rules)) check(std::move(got->address), rules);
  }
  return 0;
}
