#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "loop_test_tools.hpp"
#include "runtime/http_server.hpp"
#include "unit/runtime/recording_log.hpp"

namespace sluice::runtime {

using namespace std::chrono_literals;

/// Sends bytes as they are and collects what comes until the server closes.
class raw_client final : io_handler {
 public:
  raw_client(loop& l, const base::endpoint& to, std::string bytes, std::function<void()> done)
      : loop_(l), bytes_(std::move(bytes)), done_(std::move(done)), connector_(l, to, 5s, [this](auto s) {
          ASSERT_TRUE(s);
          stream_ = std::move(*s);
          loop_.watch(stream_.fd(), *this);
        }) {}
  ~raw_client() { loop_.unwatch(stream_.fd(), *this); }
  std::string received;

 private:
  void on_io(io_ready) override {
    while (!bytes_.empty()) {
      const auto r = stream_.write(base::as_bytes(bytes_));
      if (r.status != io_status::ok) break;
      bytes_.erase(0, r.bytes);
    }
    for (;;) {
      const auto r = stream_.read(loop_.read_buffer(), loop::read_buffer_size);
      if (r.status == io_status::would_block) return;
      if (r.status != io_status::ok) return std::exchange(done_, [] {})();
      received.append(reinterpret_cast<const char*>(loop_.read_buffer()), r.bytes);
    }
  }
  loop& loop_;
  std::string bytes_;
  std::function<void()> done_;
  tcp_stream stream_;
  tcp_connector connector_;
};

/// `text` without its first Date.
inline std::string undated(std::string text) {
  const size_t at = text.find("Date: ");
  return at == std::string::npos ? text : text.erase(at, text.find('\n', at) + 1 - at);
}

class http : public loop_test {
 protected:
  void open(http_server::handler handle) {
    auto s = http_server::open(loop_, any_port(), limits_, log_, std::move(handle));
    ASSERT_TRUE(s) << s.error().text;
    server_ = std::move(*s);
  }
  void open_echo() {
    open([this](const http_request& r, http_server::respond respond) {
      seen_.push_back(r);
      respond({.content_type = "text/plain", .body = r.method + " " + r.path + " " + r.body});
    });
  }
  /// All that the server answers to these bytes until it closes.
  std::string raw(std::string bytes) {
    raw_client client(loop_, server_->local(), std::move(bytes), [this] { loop_.stop(); });
    run();
    return client.received;
  }
  base::result<http_response> fetch(http_client_request request) {
    std::optional<base::result<http_response>> outcome;
    bool within = true;
    http_fetch(loop_, std::move(request), [&](base::result<http_response> r) {
      EXPECT_FALSE(within);
      EXPECT_FALSE(outcome) << "called twice";
      outcome = std::move(r);
      loop_.stop();
    });
    within = false;
    run();
    return *outcome;
  }
  std::string url(std::string_view target) const {
    return "http://" + server_->local().to_string() + std::string(target);
  }

  http_server::limits limits_;
  recording_log log_;
  std::vector<http_request> seen_;
  std::unique_ptr<http_server> server_;
};

}  // namespace sluice::runtime
