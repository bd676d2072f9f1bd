#pragma once

#include <string>

#include "golden/golden.hpp"
#include "runtime/http_server.hpp"

namespace sluice::relay {

inline std::string sdp_of(const std::string& name) {
  const auto bytes = test::golden("sdp/" + name + ".sdp");
  return {bytes.begin(), bytes.end()};
}

/// A publisher's POST.
inline runtime::http_request whip(std::string query = "app=live&stream=s", std::string type = "application/sdp") {
  runtime::http_request r;
  r.method = "POST";
  r.path = "/rtc/v1/whip/";
  r.query = std::move(query);
  r.target = r.path + "?" + r.query;
  r.headers = {{"Host", "example.com:1985"}, {"Content-Type", std::move(type)}};
  r.body = sdp_of("chromium_offer");
  return r;
}

}  // namespace sluice::relay
