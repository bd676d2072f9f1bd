#include "relay/prober.hpp"

#include <fmt/format.h>

#include <array>
#include <boost/json.hpp>
#include <memory>

#include "runtime/http_server.hpp"
#include "runtime/tcp.hpp"

namespace sluice::relay {
namespace {

using cluster::probe_answer;

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

/// C0 C1 out, S0 S1 in (RTMP 1.0 §5.2). Lives until it has reported, by a reference to itself.
class handshake_probe final : runtime::io_handler, public std::enable_shared_from_this<handshake_probe> {
 public:
  handshake_probe(runtime::loop& l, const base::endpoint& to, base::duration timeout, probe_done done)
      : loop_(l),
        to_(to),
        timeout_(timeout),
        done_(std::move(done)),
        timer_(l, [this] { finish(probe_answer::silent); }),
        redial_(l, [this] { dial(); }) {}

  void start() {
    self_ = shared_from_this();
    timer_.arm_after(timeout_);
    dial();
  }

 private:
  void dial() {
    connector_ = std::make_unique<runtime::tcp_connector>(
        loop_, to_, timeout_, [this](base::result<runtime::tcp_stream> stream) { on_dialled(std::move(stream)); });
  }

  void on_dialled(base::result<runtime::tcp_stream> stream) {
    if (!stream) {
      const auto reason = stream.error().reason;
      // Our own lack of descriptors says nothing of the origin.
      if (reason == "resources") return finish(probe_answer::ok);
      return finish(reason == "refused" ? probe_answer::gone : probe_answer::silent);
    }
    stream_ = std::move(*stream);
    std::array<uint8_t, 1 + 1536> hello{};
    hello[0] = 3;
    if (stream_.write(base::bytes_view(hello)).status != runtime::io_status::ok) return hung_up();
    if (!loop_.watch(stream_.fd(), *this)) return finish(probe_answer::ok);
  }

  void on_io(runtime::io_ready) override {
    for (;;) {
      const auto got = stream_.read(loop_.read_buffer(), runtime::loop::read_buffer_size);
      if (got.status == runtime::io_status::would_block) return;
      if (got.status != runtime::io_status::ok) return hung_up();
      received_ += got.bytes;
      if (received_ >= 1 + 1536) return finish(probe_answer::ok);
    }
  }

  void hung_up() {
    close();
    if (++hung_up_ > redials_max) return finish(probe_answer::silent);
    received_ = 0;
    redial_.arm_after(redial_pause);
  }

  void close() {
    if (!stream_.is_open()) return;
    loop_.unwatch(stream_.fd(), *this);
    stream_.abort();  // leaves nothing in TIME_WAIT: probes are many
  }

  void finish(probe_answer answer) {
    if (!self_) return;
    timer_.cancel();
    redial_.cancel();
    close();
    loop_.post([self = std::exchange(self_, nullptr), answer] { self->done_({answer, std::nullopt}); });
  }

  runtime::loop& loop_;
  const base::endpoint to_;
  const base::duration timeout_;
  probe_done done_;
  runtime::timer timer_, redial_;
  std::unique_ptr<runtime::tcp_connector> connector_;
  runtime::tcp_stream stream_;
  size_t received_ = 0;
  unsigned hung_up_ = 0;
  std::shared_ptr<handshake_probe> self_;
};

probe_outcome outcome_of(const base::result<runtime::http_response>& response) {
  if (!response) {
    const bool gone = response.error().reason == "refused";
    return {gone ? probe_answer::gone : probe_answer::silent, std::nullopt};
  }
  if (response->status != 200) return {probe_answer::silent, std::nullopt};
  return {probe_answer::ok, incarnation_of(response->body)};
}

/// Puts the outcomes of several targets together: the first that is ok, or what all failures together say.
class race {
 public:
  race(size_t targets, probe_done done) : left_(targets), done_(std::move(done)) {}
  void report(probe_outcome outcome) {
    --left_;
    if (outcome.answer != probe_answer::gone) all_gone_ = false;
    if (!done_ || (outcome.answer != probe_answer::ok && left_ > 0)) return;
    if (outcome.answer != probe_answer::ok) outcome.answer = all_gone_ ? probe_answer::gone : probe_answer::silent;
    std::exchange(done_, nullptr)(std::move(outcome));
  }

 private:
  size_t left_;
  bool all_gone_ = true;
  probe_done done_;
};

}  // namespace

void probe_origin(runtime::loop& l, const cluster::action::probe& p, probe_done done) {
  if (p.targets.empty()) return l.post([done = std::move(done)] { done({}); });
  auto shared = std::make_shared<race>(p.targets.size(), std::move(done));
  const auto report = [shared](probe_outcome outcome) { shared->report(std::move(outcome)); };
  for (const auto& target : p.targets) {
    if (p.kind != cluster::probe_kind::api_versions) {
      std::make_shared<handshake_probe>(l, target, p.timeout, report)->start();
      continue;
    }
    runtime::http_client_request request;
    request.url = fmt::format("http://{}/api/v1/versions", target.to_string());
    request.timeout = p.timeout;
    runtime::http_fetch(l, std::move(request), [report](const base::result<runtime::http_response>& response) {
      report(outcome_of(response));
    });
  }
}

}  // namespace sluice::relay
