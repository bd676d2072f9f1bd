#include "load/http_client.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>

namespace sluice::bench {
namespace {

constexpr size_t read_bytes = 1u << 20;
// When bodies are skipped: what is read to find a head, and with it the first bytes of the body.
constexpr size_t head_read_bytes = 2048;
constexpr size_t head_bytes_max = 16 * 1024;
constexpr uint64_t until_closed = std::numeric_limits<uint64_t>::max();
uint8_t read_buffer[read_bytes];  // one thread

/// The value of a header in a whole head; names in any case.
std::optional<std::string_view> header(std::string_view head, std::string_view name) {
  for (size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at + 2)) {
    const std::string_view line = head.substr(at + 2);
    if (line.size() <= name.size() || line[name.size()] != ':') continue;
    const auto same = [](char a, char b) {
      return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
    };
    if (!std::equal(name.begin(), name.end(), line.begin(), same)) continue;
    const size_t begin = line.find_first_not_of(' ', name.size() + 1);
    return line.substr(begin, line.find("\r\n") - begin);
  }
  return {};
}

}  // namespace

void http_client::open(const server_url& url, int receive_buffer) {
  shut();
  authority_ = url.authority;
  opened_at_ = now_ns();
  fd_ = url.dial(receive_buffer);
  if (fd_ < 0) return lost(std::strerror(errno));
  phase_ = phase::connecting;
  loop_.watch(fd_, EPOLLOUT, this);
}

void http_client::shut() {
  if (fd_ >= 0) {
    loop_.unwatch(fd_);
    close(fd_);
  }
  fd_ = -1;
  phase_ = phase::closed;
  head_.clear();
}

void http_client::lost(const char* why) {
  shut();
  on_lost(why);
}

void http_client::get(std::string_view path) {
  if (phase_ != phase::idle) return;
  std::string request = "GET /";
  request.append(path).append(" HTTP/1.1\r\nHost: ").append(authority_);
  request.append("\r\nUser-Agent: sluice-bench\r\nAccept: */*\r\n\r\n");
  phase_ = phase::head;
  // A socket that has nothing on its way takes so little at once.
  if (send(fd_, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
    lost("the server does not read");
}

void http_client::on_io(uint32_t) {
  if (fd_ < 0) return;
  if (phase_ == phase::connecting) return connected();
  if (phase_ == phase::body && skipping_) return skip_ready();
  read_ready();
}

void http_client::connected() {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return lost(std::strerror(error));
  phase_ = phase::idle;
  loop_.change(fd_, EPOLLIN, this);
  on_connected();
}

void http_client::read_ready() {
  const ssize_t n = recv(fd_, read_buffer, skipping_ ? head_read_bytes : read_bytes, 0);
  if (n == 0) {
    const bool whole = phase_ == phase::body && left_ == until_closed;
    return lost(whole ? "the answer has ended" : "closed by the server");
  }
  if (n < 0) {
    if (errno != EAGAIN) lost(std::strerror(errno));
    return;
  }
  take({read_buffer, static_cast<size_t>(n)});
}

void http_client::skip_ready() {
  const ssize_t n = recv(fd_, read_buffer, std::min<uint64_t>(left_, read_bytes), MSG_TRUNC);
  if (n == 0) return lost("closed by the server");
  if (n < 0) {
    if (errno != EAGAIN) lost(std::strerror(errno));
    return;
  }
  on_skipped(static_cast<size_t>(n));
  count_body(static_cast<uint64_t>(n));
}

void http_client::take(bytes in) {
  if (phase_ == phase::head) {
    const size_t before = head_.size();
    head_.append(reinterpret_cast<const char*>(in.data()), in.size());
    const size_t end = head_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
    if (end == std::string::npos) return head_.size() > head_bytes_max ? lost("no end of the head") : void();
    in = in.subspan(end + 4 - before);
    head_.resize(end + 2);
    if (!take_head()) return;
  }
  if (phase_ != phase::body) return in.empty() ? void() : lost("more than was asked for");
  if (in.size() > left_) return lost("more than Content-Length");
  if (skipping_) {
    on_skipped(in.size());
  } else if (!in.empty() && !on_body(in)) {
    return lost("bad body");
  }
  count_body(in.size());
}

/// False if the connection is gone.
bool http_client::take_head() {
  int status = 0;
  const std::string_view head = head_;
  constexpr std::string_view version = "HTTP/1.1 ";
  if (head.starts_with(version)) std::from_chars(head.data() + version.size(), head.data() + head.size(), status);
  if (status == 0 || header(head, "transfer-encoding")) {
    lost(status == 0 ? "no HTTP/1.1 answer" : "a chunked answer");
    return false;
  }
  left_ = until_closed;
  if (const auto length = header(head, "content-length"))
    std::from_chars(length->data(), length->data() + length->size(), left_);
  head_.clear();
  phase_ = phase::body;
  on_head(status);
  return fd_ >= 0;
}

void http_client::count_body(uint64_t bytes) {
  if (fd_ < 0 || left_ == until_closed) return;
  left_ -= bytes;
  if (left_ > 0) return;
  phase_ = phase::idle;
  on_end();
}

}  // namespace sluice::bench
