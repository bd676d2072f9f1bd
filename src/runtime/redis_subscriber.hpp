#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/redis_backend.hpp"

namespace sluice::runtime {

/// The channels of a client: a connection of its own to one of the servers, made anew when it is lost or its server is
/// none of ours any more.
class redis_subscriber {
 public:
  using on_message = std::function<void(std::string_view channel, std::string_view payload)>;
  /// `again`: subscribed anew after a loss; what was published meanwhile was not heard.
  redis_subscriber(redis_environment& env, const redis_backend& backend, std::vector<std::string> channels,
                   on_message message, std::function<void()> again)
      : env_(env),
        backend_(backend),
        channels_(std::move(channels)),
        message_(std::move(message)),
        again_(std::move(again)),
        retry_(env.l, [this] { look(); }) {}

  /// Connects if there is a server, and no connection to one that is still ours.
  void look() {
    if (connection_ && backend_.serves(connection_->to())) return;
    const auto at = backend_.any_server();
    if (!at) return;
    retry_.cancel();
    auto config = env_.server_config();
    config.db = 0;
    config.channels = channels_;
    connection_ = env_.connect(*at, config,
                               {.up =
                                    [this] {
                                      tries_ = 0;
                                      if (std::exchange(subscribed_before_, true)) again_();
                                    },
                                .down =
                                    [this](const base::error& why) {
                                      env_.unsubscribed(connection_->to().to_string(), why);
                                      connection_.reset();
                                      retry_.arm_after(env_.backoff_after(tries_++));
                                    },
                                .message = message_});
  }

 private:
  redis_environment& env_;
  const redis_backend& backend_;
  const std::vector<std::string> channels_;
  const on_message message_;
  const std::function<void()> again_;
  std::unique_ptr<redis_connection> connection_;
  bool subscribed_before_ = false;
  unsigned tries_ = 0;
  timer retry_;
};

}  // namespace sluice::runtime
