#include "runtime/interfaces.hpp"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <cstring>
#include <memory>
#include <string_view>

namespace sluice::runtime {
namespace {

std::optional<base::ip_address> address_of(const sockaddr* a) {
  if (a == nullptr) return std::nullopt;
  if (a->sa_family == AF_INET) {
    std::array<uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in*>(a)->sin_addr, bytes.size());
    return base::ip_address::v4(bytes);
  }
  if (a->sa_family == AF_INET6) {
    std::array<uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6*>(a)->sin6_addr, bytes.size());
    return base::ip_address::v6(bytes);
  }
  return std::nullopt;
}

}  // namespace

std::optional<base::ip_address> v4_beside(const base::ip_address& address) {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return std::nullopt;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> all(first, &::freeifaddrs);
  for (const ifaddrs* own = first; own != nullptr; own = own->ifa_next) {
    if (address_of(own->ifa_addr) != address) continue;
    for (const ifaddrs* other = first; other != nullptr; other = other->ifa_next) {
      if (std::string_view(other->ifa_name) != own->ifa_name) continue;
      const auto found = address_of(other->ifa_addr);
      if (found && found->is_v4() && !found->is_link_local()) return found;
    }
  }
  return std::nullopt;
}

}  // namespace sluice::runtime
