#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "relay/rtc/signalling.hpp"

namespace sluice::relay {

/// One DELETE or PATCH of a session's resource, passed on to the session's origin. Of a session that another proxy
/// began, the origin is found by the URL: SRS's `session=` is the username under which the store has it, `app=` and
/// `stream=` name the stream. Kept by its rtc_signalling until it is over, also when the client hangs up.
class rtc_change : public std::enable_shared_from_this<rtc_change> {
 public:
  rtc_change(rtc_signalling& signalling, const runtime::http_request& request, rtc_signalling::respond done);
  ~rtc_change();
  void start();

 private:
  const rtc_signalling::surroundings& here() const { return signalling_.here_; }
  bool is_delete() const { return request_.method == "DELETE"; }
  bool take_fragment();
  void find_owner(const base::result<cluster::stream_key>& key);
  void ask_origin();
  void answered(base::result<runtime::http_response> answer);
  std::string take_restart(std::string_view body);
  void end_here();
  void refuse(std::string_view reason, int status, std::string_view text);

  rtc_signalling& signalling_;
  const runtime::http_request request_;
  rtc_signalling::respond respond_;
  std::shared_ptr<rtc_session> session_;  // if it is one of this proxy's
  std::string resource_, body_, stream_;
  std::string new_ufrag_;  // of a PATCH that restarts ICE
  std::vector<base::endpoint> api_;
  size_t next_endpoint_ = 0;
  uint64_t asking_ = 0;
  std::function<void()> stop_fetch_;
};

}  // namespace sluice::relay
