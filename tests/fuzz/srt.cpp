#include <cstdint>
#include <cstdlib>

#include "base/bytes.hpp"
#include "proto/srt/cookie.hpp"
#include "proto/srt/relay_session.hpp"

using namespace sluice;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check_handshake(base::bytes_view datagram) {
  const auto h = srt::parse_handshake(datagram);
  if (!h) return;
  const auto written = srt::write_handshake(*h);
  require(written.size() == datagram.size());
  const auto id = srt::check_conclusion(*h);
  require(!id || (!id->empty() && id->size() <= srt::stream_id_bytes_max));
  if (!id) srt::reject_of(id.error());
  // Nothing that is answered without a session makes more of it than came.
  require(srt::answer_induction(*h, 1, {}).size() <= datagram.size());
  require(srt::refuse_conclusion(*h, srt::reject::rogue, {}).size() <= datagram.size());
}

}  // namespace

/// Input: datagrams, each behind a byte that says whose it is (the highest bit: the origin's) and how much time passes,
/// and two bytes of length. The first is the caller's conclusion.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  base::byte_reader in({data, size});
  base::time_point now(std::chrono::seconds(100));
  std::optional<srt::relay_session> session;
  while (in.remaining() >= 3) {
    const uint8_t how = in.u8();
    const auto datagram = in.bytes(std::min<size_t>(in.u16(), in.remaining()));
    check_handshake(datagram);
    now += std::chrono::milliseconds(how & 0x7f);
    if (!session) {
      const auto h = srt::parse_handshake(datagram);
      if (!h || !srt::check_conclusion(*h)) continue;
      session.emplace(srt::session_limits{}, base::ip_address(), datagram, srt::reject::not_found, now);
      session->dial(now);
    } else if ((how & 0x80) != 0) {
      session->from_origin(datagram, now);
    } else {
      session->from_client(datagram, now);
    }
    if (session->next_deadline() <= now) session->on_timeout(now);
    size_t outputs = 0;
    while (auto o = session->poll()) {
      require(o->bytes.size() >= srt::header_bytes && o->bytes.size() <= srt::handshake_datagram_bytes_max);
      require(++outputs <= 4);
    }
    require(session->state() != srt::session_state::ended || !session->end_reason().empty());
  }
  return 0;
}
