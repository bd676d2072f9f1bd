#pragma once

#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "relay/rtc/relay.hpp"

// Inside of rtc_relay: included by its source alone.
namespace sluice::relay {

/// A socket to an origin that is on no loop, and its place among the descriptors.
class rtc_descriptor {
 public:
  explicit rtc_descriptor(runtime::descriptor_budget* budget = nullptr, int fd = -1) : budget_(budget), fd_(fd) {}
  rtc_descriptor(rtc_descriptor&& other) noexcept : budget_(other.budget_), fd_(std::exchange(other.fd_, -1)) {}
  rtc_descriptor& operator=(rtc_descriptor&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~rtc_descriptor();
  int release() { return std::exchange(fd_, -1); }

 private:
  runtime::descriptor_budget* budget_;
  int fd_;
};

/// The connected socket between a session and its origin. Holds one of the descriptors.
struct rtc_relay::upstream final : runtime::udp_handler {
  upstream(rtc_relay& relay, local_session& s) : relay_(relay), session_(s) {}
  ~upstream();
  static base::result<void> open(rtc_relay& relay, local_session& s);
  static base::result<void> adopt(rtc_relay& relay, local_session& s, rtc_descriptor& from);
  rtc_descriptor release();

  std::unique_ptr<runtime::udp_socket> socket;

 private:
  void on_datagrams(runtime::udp_socket&, std::span<const runtime::datagram> batch) override {
    relay_.to_client(session_, batch);
  }
  void on_unreachable(runtime::udp_socket&, int error) override;

  rtc_relay& relay_;
  local_session& session_;
  bool reported_ = false;
};

struct rtc_relay::local_session {
  explicit local_session(std::shared_ptr<rtc_session> s) : session(std::move(s)) {}
  const std::shared_ptr<rtc_session> session;
  std::vector<base::endpoint> peers;  ///< its entries in peers_, oldest first
  // If it is at home here:
  std::unique_ptr<upstream> up;
  rtc_paths paths;
};

/// A session on its way to another shard.
struct rtc_relay::moving {
  std::shared_ptr<rtc_session> session;
  rtc_descriptor descriptor;
  rtc_paths paths;
};

}  // namespace sluice::relay
