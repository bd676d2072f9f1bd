#pragma once

#include <string>
#include <string_view>

#include "base/endpoint.hpp"
#include "base/log.hpp"
#include "base/time.hpp"

namespace sluice::servers {

/// The log lines of one session that is no RTMP connection: one when it starts, one when it ends, or one when it is
/// refused.
class session_log {
 public:
  /// `proto` and `kind` are literals.
  session_log(base::log_sink& log, std::string id, std::string_view proto, const base::endpoint& peer,
              std::string stream, std::string_view kind = "play");
  const std::string& id() const { return id_; }
  const std::string& stream() const { return stream_; }
  bool running() const { return started_ != base::time_point{}; }

  void started(std::string_view origin, base::time_point now);
  /// The session goes on at another origin.
  void moved(std::string_view origin) { origin_ = origin; }
  /// Nothing if it does not run.
  void ended(std::string_view reason, base::time_point now, uint64_t bytes_in, uint64_t bytes_out, uint64_t drops);
  void refused(int status, std::string_view reason, std::string_view text);

 private:
  base::log_sink& log_;
  const std::string id_, stream_, peer_;
  const std::string_view proto_, kind_;
  std::string origin_;
  base::time_point started_{};
};

}  // namespace sluice::servers
