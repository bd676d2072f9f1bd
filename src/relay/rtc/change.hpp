#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "relay/rtc/signalling.hpp"

namespace sluice::relay {

/// One DELETE or PATCH of a session's resource, passed on to the session's origin. Of a session that another proxy
/// began, the origin is found by the URL: `session=`, SRS's or ours, is the username under which the store has it,
/// `app=` and `stream=` name the stream. Kept by its rtc_signalling until it is over, also when the client hangs up.
class rtc_change : public std::enable_shared_from_this<rtc_change> {
 public:
  rtc_change(rtc_signalling& signalling, const runtime::http_request& request, rtc_signalling::respond done);
  ~rtc_change();
  void start();

 private:
  const rtc_signalling::surroundings& here() const { return signalling_.here_; }
  bool is_delete() const { return request_.method == "DELETE"; }
  bool take_body();
  bool is_for_players(rtc_kind kind);
  void by_stored(const rtc_record& record);
  void by_query();
  void find_owner(const base::result<cluster::stream_key>& key);
  void take_entry(rtc_entry& e);
  rtc_entry* entry();
  void ask_origin();
  void answered(base::result<runtime::http_response> answer);
  std::string take_consent(std::string_view body);
  void add_credentials(rtc_credentials now);
  void end_session();
  void go_on_here();
  void refuse(std::string_view reason, int status, std::string_view text);

  rtc_signalling& signalling_;
  const runtime::http_request request_;
  rtc_signalling::respond respond_;
  std::shared_ptr<rtc_session> session_;  // if it is one of this proxy's
  std::string name_;                      // of which the URL tells, else empty
  std::vector<std::string> names_;        // of the session, as far as they are known here
  std::optional<rtc_record> record_;      // what the store has of it, if it is another proxy's
  bool is_location_ = false;              // the target is the very Location that the client was given
  std::string resource_, stream_;
  rtc_patch patch_;  // of a PATCH
  std::vector<base::endpoint> api_;
  size_t next_endpoint_ = 0;
  uint64_t asking_ = 0;
  std::function<void()> stop_fetch_;
};

}  // namespace sluice::relay
