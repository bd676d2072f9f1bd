#include "relay/prober.hpp"

#include <fmt/format.h>

#include <array>
#include <boost/json.hpp>
#include <memory>
#include <utility>
#include <vector>

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

/// C0 C1 out, S0 S1 in (RTMP 1.0 §5.2). Reports once, and is to be destroyed later than in the report.
class handshake_probe final : runtime::io_handler {
 public:
  handshake_probe(runtime::loop& l, const base::endpoint& to, base::duration timeout, probe_done done)
      : loop_(l),
        to_(to),
        timeout_(timeout),
        done_(std::move(done)),
        timer_(l, [this] { finish(probe_answer::silent); }),
        redial_(l, [this] { dial(); }) {
    timer_.arm_after(timeout_);
    dial();
  }
  ~handshake_probe() { close(); }

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
    timer_.cancel();
    redial_.cancel();
    close();
    if (const auto done = std::exchange(done_, nullptr)) done({answer, std::nullopt});
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
};

probe_outcome outcome_of(const base::result<runtime::http_response>& response) {
  if (!response) {
    const bool gone = response.error().reason == "refused";
    return {gone ? probe_answer::gone : probe_answer::silent, std::nullopt};
  }
  if (response->status != 200) return {probe_answer::silent, std::nullopt};
  return {probe_answer::ok, incarnation_of(response->body)};
}

/// Asks several targets, and puts their outcomes together: the first that is ok, or what all failures together say.
class race : public std::enable_shared_from_this<race> {
 public:
  race(runtime::loop& l, probe_done done) : loop_(l), done_(std::move(done)) {}

  void start(const cluster::action::probe& p) {
    left_ = p.targets.size();
    if (left_ == 0) return end({});
    for (const auto& target : p.targets) {
      // From the callbacks of a probe, which must outlive them.
      const auto report = [weak = weak_from_this()](probe_outcome outcome) {
        if (const auto self = weak.lock()) self->report(std::move(outcome));
      };
      if (p.kind != cluster::probe_kind::api_versions) {
        handshakes_.push_back(std::make_unique<handshake_probe>(loop_, target, p.timeout, report));
        continue;
      }
      runtime::http_client_request request;
      request.url = fmt::format("http://{}/api/v1/versions", target.to_string());
      request.timeout = p.timeout;
      runtime::http_fetch(loop_, std::move(request), [report](const base::result<runtime::http_response>& response) {
        report(outcome_of(response));
      });
    }
  }

 private:
  void report(probe_outcome outcome) {
    --left_;
    if (outcome.answer != probe_answer::gone) all_gone_ = false;
    if (outcome.answer != probe_answer::ok) {
      if (left_ > 0) return;
      outcome.answer = all_gone_ ? probe_answer::gone : probe_answer::silent;
    }
    end(std::move(outcome));
  }

  void end(probe_outcome outcome) {
    loop_.post([weak = weak_from_this(), outcome = std::move(outcome)]() mutable {
      const auto self = weak.lock();
      if (!self || !self->done_) return;
      self->handshakes_.clear();
      std::exchange(self->done_, nullptr)(std::move(outcome));
    });
  }

  runtime::loop& loop_;
  probe_done done_;
  std::vector<std::unique_ptr<handshake_probe>> handshakes_;
  size_t left_ = 0;
  bool all_gone_ = true;
};

}  // namespace

probe_under_way probe_origin(runtime::loop& l, const cluster::action::probe& p, probe_done done) {
  auto all = std::make_shared<race>(l, std::move(done));
  all->start(p);
  return all;
}

}  // namespace sluice::relay
