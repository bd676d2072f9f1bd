#include <cstdlib>
#include <string>

#include "proto/stun/message.hpp"

using namespace sluice;

// Whatever is taken for a STUN message lies within the datagram, and says the same when it is written anew.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const base::bytes_view datagram(data, size);
  const auto check = [](bool ok) {
    if (!ok) std::abort();
  };
  stun::kind_of(datagram);
  const auto m = stun::parse(datagram);
  if (!m) return 0;
  check(stun::kind_of(datagram) != stun::packet_kind::dtls);
  check(size >= stun::header_bytes && size <= stun::message_bytes_max && size % 4 == 0);
  check(m->transaction.size() == stun::transaction_bytes);
  check(m->username.size() <= stun::username_bytes_max);
  check(m->integrity_at + 24 <= size || m->integrity_at == 0);
  stun::integrity_holds(datagram, *m, "key");
  if (const auto parts = stun::parse_username(m->username))
    check(parts->local.size() + parts->remote.size() + 1 == m->username.size());

  const stun::draft again{
      m->cls, std::string(base::as_text(m->transaction)), std::string(m->username), "key", m->use_candidate, true};
  const auto written = stun::write(again);
  const auto bytes = base::as_bytes(written);
  if (written.size() > stun::message_bytes_max) return 0;
  const auto back = stun::parse(bytes);
  check(back && back->username == m->username && back->use_candidate == m->use_candidate && back->cls == m->cls);
  check(stun::integrity_holds(bytes, *back, "key") && !stun::integrity_holds(bytes, *back, "kez"));
  return 0;
}
