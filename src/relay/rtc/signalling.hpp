#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "relay/director.hpp"
#include "relay/rtc/ask.hpp"
#include "relay/rtc/sessions.hpp"
#include "runtime/descriptor_budget.hpp"
#include "runtime/http_server.hpp"

namespace sluice::relay {

class rtc_exchange;
class rtc_change;

/// What stands at a path.
enum class rtc_place : uint8_t {
  whip,  ///< with a query also a session, where the origin names it so (SRS)
  whep,
  older_call,  ///< rtc_form::json
  session,     ///< what a Location of ours names
};

/// WebRTC's requests over HTTP: WHIP (RFC 9725), WHEP, and the older calls of SRS. Each goes to the API of the stream's
/// origin; what that agrees to becomes a session (rtc_sessions). Control thread.
class rtc_signalling {
 public:
  struct surroundings {
    runtime::loop& control;
    director& owners;
    rtc_sessions& sessions;
    const rtc_config& config;
    const cluster::vhost_rules& vhosts;
    base::log_sink& log;
    base::metrics& metrics;
    runtime::descriptor_budget* descriptors;
  };
  explicit rtc_signalling(const surroundings& around);
  ~rtc_signalling();
  /// Where media is, or will be, served. While the port is 0, nobody can begin.
  void set_media(const base::endpoint& at) { media_ = at; }

  /// Who wants to begin is refused from now on.
  void stop_taking() { stopping_ = true; }

  using respond = runtime::http_server::respond;
  /// POST
  void begin(rtc_kind kind, rtc_form form, const runtime::http_request& request, respond done);
  /// DELETE and PATCH of what Location named.
  void change(const runtime::http_request& request, respond done);
  static runtime::http_response options(rtc_place place);
  /// To GET of what WHIP and WHEP know (RFC 9725 §4.1).
  static runtime::http_response no_content();
  /// What is under way ends; no answers follow.
  void close();

 private:
  friend class rtc_exchange;
  friend class rtc_change;
  std::vector<base::endpoint> candidates(const runtime::http_request& request,
                                         const std::optional<base::endpoint>& wanted) const;
  /// What takes the place of a client's candidates: nobody listens there.
  static base::endpoint placeholder(const runtime::http_request& request);
  void refuse(const runtime::http_request& request, std::string_view reason, int status, std::string_view text,
              std::string_view stream, const respond& done);
  runtime::http_client_request to_origin(const runtime::http_request& request, const base::endpoint& api,
                                         std::string_view target, std::string body) const;
  void retire(const void* what) { under_way_.erase(what); }
  /// False: too many exchanges go on without a client.
  bool may_linger() const;

  const surroundings here_;
  runtime::http_pool pool_;
  base::endpoint media_;
  bool stopping_ = false;
  size_t lingering_ = 0;  // of under_way_, those whose client has its answer, or has hung up
  std::unordered_map<const void*, std::shared_ptr<void>> under_way_;  // bounded by the server's connections, and
                                                                      // may_linger()
};

/// The answer of ours to a request that failed: JSON, as the APIs give it.
runtime::http_response rtc_failure(int status, std::string_view text);

}  // namespace sluice::relay
