#include <fmt/format.h>

#include <boost/asio/ip/tcp.hpp>

#include "runtime/tcp.hpp"

namespace sluice::runtime {

namespace {

using resolver = boost::asio::ip::basic_resolver<boost::asio::ip::tcp, boost::asio::io_context::executor_type>;
using on_resolved = std::function<void(base::result<std::vector<base::endpoint>>)>;

base::endpoint to_endpoint(const boost::asio::ip::tcp::endpoint& e) {
  const auto address = e.address();
  if (address.is_v4()) return {base::ip_address::v4(address.to_v4().to_bytes()), e.port()};
  return {base::ip_address::v6(address.to_v6().to_bytes()), e.port()};
}

}  // namespace

void resolve(loop& l, const std::string& host, uint16_t port, on_resolved done) {
  if (const auto address = base::ip_address::parse(host)) {
    l.post([done = std::move(done), found = base::endpoint{*address, port}] { done(std::vector{found}); });
    return;
  }
  // getaddrinfo() on a thread that Asio keeps for this context; the resolver lives in its own handler.
  const auto failed = [host](std::string_view why) {
    return base::fail("no_such_host", fmt::format("cannot resolve {}: {}", host, why));
  };
  const auto to = std::make_shared<on_resolved>(std::move(done));
  try {
    auto lookup = std::make_shared<resolver>(l.context().get_executor());
    lookup->async_resolve(
        host, std::to_string(port), resolver::numeric_service,
        [&l, lookup, failed, to](const boost::system::error_code& error, const resolver::results_type& found) {
          l.refresh();
          if (error || found.empty()) return (*to)(failed(error.message()));
          std::vector<base::endpoint> endpoints;
          for (const auto& entry : found) endpoints.push_back(to_endpoint(entry.endpoint()));
          (*to)(std::move(endpoints));
        });
  } catch (const std::exception& e) {
    l.post([to, outcome = failed(e.what())] { (*to)(outcome); });  // no descriptors, or no thread
  }
}

}  // namespace sluice::runtime
