#include "load/server_url.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <utility>

namespace sluice::bench {

std::optional<server_url> server_url::parse(std::string_view text, std::string_view scheme) {
  constexpr std::string_view mark = "://";
  if (!text.starts_with(scheme)) return {};
  text.remove_prefix(scheme.size());
  if (!text.starts_with(mark)) return {};
  text.remove_prefix(mark.size());
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos || slash + 1 == text.size()) return {};
  server_url url;
  url.authority = text.substr(0, slash);
  url.path = text.substr(slash + 1);
  const size_t colon = url.authority.rfind(':');
  if (colon == std::string::npos) return {};
  uint16_t port = 0;
  const char* end = url.authority.data() + url.authority.size();
  if (std::from_chars(url.authority.data() + colon + 1, end, port).ec != std::errc()) return {};
  auto& v4 = reinterpret_cast<sockaddr_in&>(url.address);
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  url.address_size = sizeof v4;
  if (inet_pton(AF_INET, url.authority.substr(0, colon).c_str(), &v4.sin_addr) != 1) return {};
  return url;
}

std::string server_url::path_of(int stream) const {
  const size_t at = path.find("%d");
  if (at == std::string::npos) return path;
  return path.substr(0, at) + std::to_string(stream) + path.substr(at + 2);
}

int server_url::dial(int receive_buffer) const {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (receive_buffer > 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), address_size) == 0 || errno == EINPROGRESS) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

}  // namespace sluice::bench
