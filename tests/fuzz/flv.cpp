#include <cstdlib>

#include "proto/flv/file.hpp"
#include "proto/flv/script.hpp"
#include "proto/flv/tag.hpp"

namespace {

using namespace sluice;

void check(bool ok) {
  if (!ok) std::abort();
}

void classify(base::bytes_view body) {
  if (const auto v = flv::parse_video_tag(body)) {
    check(v->header_size + v->payload_size <= body.size());
    check(!v->keyframe || v->coded);
    (void)flv::name(v->codec);
  }
  if (const auto a = flv::parse_audio_tag(body)) check(a->header_size + a->payload_size <= body.size());
  const auto s = flv::parse_script(body);
  check(s.value.size() <= s.message.size() && s.message.size() <= body.size());
}

}  // namespace

// The input is a message body, and also a file: fed whole and byte by byte, which must give the same tags.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const base::bytes_view bytes(data, size);
  classify(bytes);

  flv::reader whole(4096), dripped(4096);
  base::bytes_view rest = bytes;
  size_t fed = 0;
  for (;;) {
    const auto t = whole.next(rest);
    base::bytes_view nothing;
    auto d = dripped.next(nothing);
    while (d && !*d && fed < size) {
      base::bytes_view drop = bytes.subspan(fed++, 1);
      d = dripped.next(drop);
      check(drop.empty() || !d || *d);
    }
    check(t.has_value() == d.has_value());
    if (!t || !*t) {
      check(!t || (rest.empty() && !*d));
      return 0;
    }
    check((*t)->type == (*d)->type && (*t)->timestamp == (*d)->timestamp);
    const auto a = (*t)->body.view(), b = (*d)->body.view();
    check(std::equal(a.begin(), a.end(), b.begin(), b.end()));
    classify(a);
  }
}
