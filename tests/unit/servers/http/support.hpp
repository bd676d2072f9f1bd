#pragma once

#include <map>

#include "servers/http/media_server.hpp"
#include "unit/servers/support.hpp"

namespace sluice::servers::test {

inline runtime::http_request request_for(std::string target,
                                         std::vector<std::pair<std::string, std::string>> headers = {}) {
  runtime::http_request r;
  r.method = "GET";
  r.target = target;
  const auto question = target.find('?');
  r.path = target.substr(0, question);
  if (question != std::string::npos) r.query = target.substr(question + 1);
  r.headers = std::move(headers);
  r.peer = {base::ip_address::v4({127, 0, 0, 1}), 1234};
  return r;
}

inline std::string header_of(const runtime::http_response& r, std::string_view name) {
  std::string found;
  for (const auto& [n, value] : r.headers)
    if (n == name) found += found.empty() ? value : "|" + value;
  return found;
}

}  // namespace sluice::servers::test
