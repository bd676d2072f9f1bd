#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "proto/resp/parser.hpp"
#include "proto/resp/replies.hpp"
#include "proto/resp/session.hpp"

namespace {

using namespace sluice;
using namespace std::chrono_literals;

constexpr resp::limits small{1024, 4096, 64, 4, 256};

void check(bool ok) {
  if (!ok) std::abort();
}

struct outcome {
  std::vector<resp::value> values;
  std::string_view failure;
};

outcome read(base::bytes_view bytes, size_t step) {
  outcome o;
  resp::parser p(small);
  for (size_t at = 0; at < bytes.size(); at += step) {
    auto in = bytes.subspan(at, std::min(step, bytes.size() - at));
    while (true) {
      auto v = p.read(in);
      if (!v) {
        o.failure = v.error().reason;
        return o;
      }
      if (!*v) break;
      o.values.push_back(std::move(**v));
    }
    check(in.empty());
  }
  return o;
}

size_t elements_of(const resp::value& v, size_t depth) {
  check(depth <= small.depth_max && v.text.size() <= small.bulk_bytes_max);
  check(v.type != resp::kind::push || depth == 0);
  check(v.type != resp::kind::map || v.elements.size() % 2 == 0);
  size_t n = v.elements.size();
  for (const auto& e : v.elements) n += elements_of(e, depth + 1);
  return n;
}

/// A whole conversation: the input is what the server says.
void converse(base::bytes_view bytes, size_t step, bool subscriber) {
  base::time_point now{1h};
  resp::session_config config{.username = "u", .password = "hush", .db = 1, .master_wanted = true};
  config.reply_limits = small;
  if (subscriber) config.channels = {"a", "b"};
  resp::session s(config, now);
  uint64_t asked = 0, answered = 0;
  const std::vector<std::string> get{"GET", "a"};
  const auto drain = [&] {
    while (const auto e = s.next_event()) {
      if (const auto* done = std::get_if<resp::call_done>(&*e)) check(done->id <= asked && ++answered <= asked);
    }
  };
  for (size_t at = 0; at < bytes.size(); at += step) {
    const auto ok = s.receive(bytes.subspan(at, std::min(step, bytes.size() - at)), now);
    drain();
    check(ok || ok.error().text.find("hush") == std::string::npos);
    if (!ok) return;
    if (s.call(asked + 1, get, now + 50ms, at % 2 == 0)) ++asked;
    now += 10ms;
    if (!s.on_timeout(now)) return;
    drain();
    s.output().consume(s.output().size());
  }
}

}  // namespace

// The first byte: the size of the pieces, and what kind of connection; the rest: what a server sends.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const base::bytes_view bytes(data + 1, size - 1);
  const size_t step = 1 + data[0] % 64;
  const auto whole = read(bytes, SIZE_MAX / 2), pieces = read(bytes, step);
  check(whole.failure == pieces.failure && whole.values.size() == pieces.values.size());
  for (size_t i = 0; i < whole.values.size(); ++i) {
    const auto& v = whole.values[i];
    check(elements_of(v, 0) <= small.elements_max);
    check(to_string(v) == to_string(pieces.values[i]));
    (void)resp::parse_cluster_slots(v);
    (void)resp::parse_master_address(v);
    (void)resp::parse_role(v);
    (void)resp::kind_of_error(v.text);
    (void)resp::parse_switch_master(v.text);
    if (const auto r = resp::parse_redirection(v.text)) check(r->slot < 16384 && r->to.port != 0);
  }
  converse(bytes, step, (data[0] & 0x80) != 0);
  return 0;
}
