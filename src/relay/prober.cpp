#include "relay/prober.hpp"

#include <fmt/format.h>

#include <array>
#include <boost/json.hpp>
#include <memory>

#include "runtime/http_server.hpp"
#include "runtime/tcp.hpp"

namespace sluice::relay {
namespace {

using done_fn = std::function<void(probe_outcome)>;

// SRS answers {"code":0,"server":"…","service":"…","pid":"…",…}.
std::optional<std::string> incarnation_of(std::string_view body) {
  boost::system::error_code code;
  const auto json = boost::json::parse(body, code);
  const auto* object = code ? nullptr : json.if_object();
  if (!object) return std::nullopt;
  std::string id;
  for (const char* key : {"server", "service", "pid"}) {
    const auto* part = object->if_contains(key);
    if (!part || !part->is_string()) return std::nullopt;
    id += id.empty() ? "" : "-";
    id += std::string_view(part->get_string());
  }
  return id;
}

// C0 C1 out, S0 S1 in (RTMP 1.0 §5.2). Lives until it has reported, by a reference to itself.
class handshake_probe final : runtime::io_handler, public std::enable_shared_from_this<handshake_probe> {
 public:
  handshake_probe(runtime::loop& l, done_fn done)
      : loop_(l), done_(std::move(done)), timer_(l, [this] { finish(false); }) {}

  void start(const base::endpoint& to, base::duration timeout) {
    self_ = shared_from_this();
    timer_.arm_after(timeout);
    connector_ =
        std::make_unique<runtime::tcp_connector>(loop_, to, timeout, [this](base::result<runtime::tcp_stream> stream) {
          // Our own lack of descriptors says nothing of the origin.
          if (!stream) return finish(stream.error().reason == "resources");
          stream_ = std::move(*stream);
          std::array<uint8_t, 1 + 1536> hello{};
          hello[0] = 3;
          if (stream_.write(base::bytes_view(hello)).status != runtime::io_status::ok) return finish(false);
          if (!loop_.watch(stream_.fd(), *this)) return finish(false);
        });
  }

 private:
  void on_io(runtime::io_ready) override {
    for (;;) {
      const auto got = stream_.read(loop_.read_buffer(), runtime::loop::read_buffer_size);
      if (got.status == runtime::io_status::would_block) return;
      if (got.status != runtime::io_status::ok) return finish(false);
      received_ += got.bytes;
      if (received_ >= 1 + 1536) return finish(true);
    }
  }

  void finish(bool ok) {
    if (!self_) return;
    timer_.cancel();
    if (stream_.is_open()) {
      loop_.unwatch(stream_.fd(), *this);
      stream_.abort();  // leaves nothing in TIME_WAIT: probes are many
    }
    loop_.post([self = std::exchange(self_, nullptr), ok] { self->done_({ok, std::nullopt}); });
  }

  runtime::loop& loop_;
  done_fn done_;
  runtime::timer timer_;
  std::unique_ptr<runtime::tcp_connector> connector_;
  runtime::tcp_stream stream_;
  size_t received_ = 0;
  std::shared_ptr<handshake_probe> self_;
};

}  // namespace

void probe_origin(runtime::loop& l, const cluster::action::probe& p, done_fn done) {
  if (p.targets.empty()) return l.post([done = std::move(done)] { done({}); });
  // One of several endpoints will do: the last failure, or the first success, is the outcome.
  struct race {
    done_fn done;
    size_t left;
  };
  auto shared = std::make_shared<race>(race{std::move(done), p.targets.size()});
  const auto report = [shared](probe_outcome outcome) {
    --shared->left;
    if (shared->done && (outcome.ok || shared->left == 0)) std::exchange(shared->done, nullptr)(std::move(outcome));
  };
  for (const auto& target : p.targets) {
    if (p.kind == cluster::probe_kind::rtmp_handshake) {
      std::make_shared<handshake_probe>(l, report)->start(target, p.timeout);
      continue;
    }
    runtime::http_client_request request;
    request.url = fmt::format("http://{}/api/v1/versions", target.to_string());
    request.timeout = p.timeout;
    runtime::http_fetch(l, std::move(request), [report](base::result<runtime::http_response> response) {
      const bool ok = response && response->status == 200;
      report({ok, ok ? incarnation_of(response->body) : std::nullopt});
    });
  }
}

}  // namespace sluice::relay
