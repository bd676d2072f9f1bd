#include "roles/run_plan.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "roles/demo.hpp"

namespace sluice::roles {

base::result<ready_line> parse_ready_line(std::string_view line) {
  boost::system::error_code error;
  const auto value = boost::json::parse(boost::json::string_view(line.data(), line.size()), error);
  const auto* object = error ? nullptr : value.if_object();
  const auto text = [&](boost::json::string_view key) -> std::string {
    const auto* member = object ? object->if_contains(key) : nullptr;
    return member && member->is_string() ? std::string(member->get_string()) : std::string();
  };
  const auto at = [&](boost::json::string_view key) { return base::endpoint::parse(text(key)); };
  ready_line out{text("phase"), at("rtmp"), at("http"), at("http_api"), at("system_api")};
  if (out.phase != "api" && out.phase != "ready") return base::fail("bad_ready_line", std::string(line));
  if (out.phase == "api" && !out.system_api) return base::fail("bad_ready_line", std::string(line));
  return out;
}

proxy_addresses::proxy_addresses(const proxy_config& config)
    : rtmp(config.rtmp.at),
      http(config.http.at),
      http_api(config.http_api.at),
      webrtc(config.webrtc.at),
      srt(config.srt.at),
      system_api(config.system_api.at) {}

void proxy_addresses::learn(const ready_line& reported) {
  if (reported.rtmp) rtmp = *reported.rtmp;
  if (reported.http) http = *reported.http;
  if (reported.http_api) http_api = *reported.http_api;
  if (reported.system_api) system_api = *reported.system_api;
}

base::endpoint reachable(base::endpoint at) {
  if (at.address.is_unspecified()) at.address = base::ip_address::v4({127, 0, 0, 1});
  return at;
}

std::vector<std::string> proxy_command(const run_config& config, const proxy_addresses& at, unsigned origins,
                                       int ready_fd) {
  const unsigned wait_for = config.proxy.wait_origins ? config.proxy.wait_origins : origins;
  std::vector<std::string> out{
      "sluice",          "proxy",
      "--rtmp-server",   at.rtmp.to_string(),
      "--http-server",   at.http.to_string(),
      "--http-api",      at.http_api.to_string(),
      "--webrtc-server", at.webrtc.to_string(),
      "--srt-server",    at.srt.to_string(),
      "--system-api",    at.system_api.to_string(),
      "--wait-origins",  std::to_string(wait_for),
      "--ready-fd",      std::to_string(ready_fd),
      "--no-env-file",
  };
  out.insert(out.end(), config.proxy_arguments.begin(), config.proxy_arguments.end());
  return out;
}

std::vector<std::string> origin_command(const run_config& config, const proxy_addresses& at, std::string_view host_name,
                                        unsigned index) {
  std::vector<std::string> out{
      "sluice",        "origin",
      "--rtmp",        "127.0.0.1:0",
      "--http",        "127.0.0.1:0",
      "--api",         "127.0.0.1:0",
      "--register",    fmt::format("http://{}/api/v1/srs/register", reachable(at.system_api).to_string()),
      "--server-id",   fmt::format("{}-run-{}", host_name, index),
      "--no-env-file",
  };
  out.insert(out.end(), config.origin_arguments.begin(), config.origin_arguments.end());
  return out;
}

std::string welcome(const run_config& config, const proxy_addresses& at, unsigned origins) {
  const bool everywhere = at.rtmp.address.is_unspecified();
  auto clients = reachable(at.rtmp);
  if (everywhere && !config.proxy.advertise.empty()) clients.address = config.proxy.advertise.front();
  const auto rtmp = fmt::format("rtmp://{}/live", clients.to_string());
  auto pages = reachable(at.http);
  if (at.http.address.is_unspecified() && !config.proxy.advertise.empty())
    pages.address = config.proxy.advertise.front();
  const auto player = fmt::format("http://{}/?stream={}", pages.to_string(),
                                  config.demo ? fmt::format("{}&autoplay=1", demo_stream) : "live/livestream");
  std::string out = fmt::format(
      "\nSluice is ready: a proxy and {} origin{}.\n\n"
      "  Publish   ffmpeg -re -i in.mp4 -c copy -f flv {}/livestream\n"
      "  OBS       server {}, stream key livestream\n"
      "  Play      ffplay {}/livestream\n"
      "            http://{}/live/livestream.m3u8 (or .flv, .ts)\n"
      "  Player    {}\n\n"
      "  HTTP API  http://{}/api/v1/versions\n"
      "  Metrics   http://{}/metrics\n\n",
      origins, origins == 1 ? "" : "s", rtmp, rtmp, rtmp, pages.to_string(), player, reachable(at.http_api).to_string(),
      reachable(at.system_api).to_string());
  if (everywhere && config.proxy.advertise.empty()) {
    out += "From other machines put this machine's address in place of 127.0.0.1. ";
  }
  return out + "Ctrl-C stops everything.\n\n";
}

}  // namespace sluice::roles
