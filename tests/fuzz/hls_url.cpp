#include "relay/hls_url.hpp"

#include <cstdint>
#include <cstdlib>

#include "proto/hls/playlist.hpp"
#include "relay/hls_shown.hpp"
#include "runtime/http_text.hpp"
#include "servers/http/target.hpp"

using namespace sluice;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check_request(std::string_view target) {
  const auto parts = runtime::parse_http_target(target);
  if (!parts) return;
  runtime::http_request request;
  request.method = "GET";
  request.target = parts->origin_form;
  request.path = parts->path;
  request.query = parts->query;
  request.headers = {{"Host", "v.example.com"}};
  const auto found = servers::parse_media_target(request, {});
  const auto key = relay::key_of_segment(request, {});
  const auto asked = relay::origin_target(request);
  const auto mark = asked.find('?');
  require(mark == std::string::npos || ("&" + asked.substr(mark + 1)).find("&spbhid=") == std::string::npos);
  if (!key) return;
  require(relay::key_of_spbhid(relay::spbhid_of(*key)) == key);
  const auto file = relay::hls_file_of(request, *key, found && found->kind == servers::media_kind::playlist);
  if (!file) return;
  // No name leads out of the stream's folder.
  const auto path = relay::hls_path(*key, *file);
  require(path.starts_with('/') && path.find("/../") == std::string::npos && path.find("//") == std::string::npos);
  require(file->find('/') == std::string::npos);
}

}  // namespace

/// Input: an id, a request's target, a URI of a playlist, and two versions of a playlist with a NUL between them; the
/// first three end with a newline.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::string_view parts[3];
  for (std::string_view& part : parts) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (const auto key = relay::key_of_spbhid(parts[0])) require(relay::spbhid_of(*key) == parts[0]);
  check_request(parts[1]);

  const relay::uri_tagger tag{"ID", {"here"}};
  if (const auto uri = tag(parts[2])) {
    require(uri->find("spbhid=ID") != std::string::npos && !uri->starts_with("http:"));
    // What was absolute does not lead to another host now.
    if (parts[2].find("://") != std::string_view::npos && parts[2].find("://") < parts[2].find_first_of("/?#"))
      require(!uri->starts_with("//"));
    require(tag(*uri) == *uri);
  }
  relay::with_parameters_of(parts[2], parts[0]);

  const size_t middle = std::min(rest.find('\0'), rest.size());
  const std::string first(rest.substr(0, middle)), second(rest.substr(std::min(middle + 1, rest.size())));
  relay::hls_shown shown;
  const auto half = [](std::string_view uri) { return uri.size() % 2 == 0; };
  if (shown.take(first, false, half) && shown.take(second, true, half)) {
    require(hls::parse_media(shown.text()).has_value());
    require(hls::parse_media(shown.alone(half)).has_value());
  }
  return 0;
}
