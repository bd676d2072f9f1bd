#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/http_server.hpp"

namespace sluice::admin {

/// Who may use a route.
enum class access : uint8_t {
  everyone,
  token_holders,  ///< everyone, if there is no token
  /// Who has the token; if there is none, this host only: peers at a loopback address whose request neither came
  /// through another server nor from a page of another site in somebody's browser. Others get 403.
  operators,
};

/// Answers requests by method and path: 404 for an unknown path, 405 (with Allow) for a known one with another method,
/// both as JSON; OPTIONS (where no route says more) and HEAD as HTTP wants. With a token, routes that want it answer
/// 401 without `Authorization: Bearer TOKEN`.
class router {
 public:
  using respond = runtime::http_server::respond;
  /// `name` is what stood in the place of the path's `{}`, or empty.
  using handler = std::function<void(const runtime::http_request& request, std::string_view name, respond done)>;
  struct route {
    std::string method;
    /// Exact, or with one `{}` for anything that is not empty; a trailing slash of the request is ignored.
    std::string path;
    access open_to = access::everyone;
    handler handle;
  };
  /// `token` empty: there is none.
  explicit router(std::string token = {}) : token_(std::move(token)) {}
  void add(route r) { routes_.push_back(std::move(r)); }
  /// Asked, for everyone, when no route has the path; what it does not have either is a 404.
  using pages = std::function<std::optional<runtime::http_response>(const runtime::http_request& request)>;
  void otherwise(pages p) { pages_ = std::move(p); }
  using header_list = std::vector<std::pair<std::string, std::string>>;
  /// Every answer to a request whose path begins with `under` has these headers too: a route's, and the 401, 403, 404
  /// and 405 of this router.
  void add_headers(std::string under, header_list headers) {
    headers_.push_back({std::move(under), std::make_shared<const header_list>(std::move(headers))});
  }
  /// Any thread, once no more routes are added. `done` is called once, by the route or at once.
  void operator()(const runtime::http_request& request, respond done) const;

 private:
  std::string token_;
  std::vector<route> routes_;
  pages pages_;
  struct added_headers {
    std::string under;
    std::shared_ptr<const header_list> headers;  // answers may come when the router is gone
  };
  std::vector<added_headers> headers_;
};

/// True if `authorization` (a header's value) carries the token. Takes the same time wherever they differ.
bool bearer_matches(std::string_view authorization, std::string_view token);

/// `{"code":STATUS,"error":"…"}`
runtime::http_response json_error(int status, std::string_view text);
/// 200 with that body.
runtime::http_response json_body(std::string body);

}  // namespace sluice::admin
