#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "relay/rtc/signalling.hpp"

namespace sluice::relay {

/// One POST by which a session begins, from the question who owns the stream to the client's answer. A client that
/// hangs up ends it; but what the origin has been asked by then is waited for, and undone, as is what it has agreed to
/// in a way that is no use. Kept by its rtc_signalling until it is over.
class rtc_exchange : public std::enable_shared_from_this<rtc_exchange> {
 public:
  rtc_exchange(rtc_signalling& signalling, rtc_kind kind, rtc_form form, const runtime::http_request& request,
               rtc_ask ask, std::vector<base::endpoint> ours, rtc_signalling::respond done);
  ~rtc_exchange();
  void start();

 private:
  const rtc_signalling::surroundings& here() const { return signalling_.here_; }
  void find();
  void found(base::result<cluster::assignment> owner);
  void ask_origin();
  void answered(base::result<runtime::http_response> answer);
  void leave_claim();
  void unreachable(const base::error& e);
  void agreed(const runtime::http_response& answer);
  void pass_on(const runtime::http_response& answer, std::string body, const std::string& location = {});
  void client_gone();
  void undo(const runtime::http_response& answer, std::string_view why);
  void undone(std::string_view why, std::string_view outcome);
  bool linger();
  void refuse(std::string_view reason, int status, std::string_view text);
  void tell_refusal(std::string_view reason, int status, std::string_view text);
  void finish();

  rtc_signalling& signalling_;
  const rtc_kind kind_;
  const rtc_form form_;
  runtime::http_request request_;
  rtc_ask ask_;
  const std::vector<base::endpoint> ours_;  // candidates for the client's answer
  rtc_signalling::respond respond_;
  const std::string id_;
  const base::time_point give_up_at_;
  cluster::assignment to_;
  std::vector<std::string> failed_;  // origins that could not be reached, or do not serve WebRTC
  base::error last_failure_;         // of the last of them
  size_t next_endpoint_ = 0;
  bool is_client_gone_ = false, lingers_ = false;
  uint64_t asking_ = 0;  // the question to the director that is not answered, or a claim that is not used; or 0
  std::function<void()> stop_fetch_;
  runtime::timer retry_;
};

}  // namespace sluice::relay
