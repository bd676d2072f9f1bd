#include "servers/rtmp/pump.hpp"

#include <array>

namespace sluice::servers {
namespace {
constexpr size_t parts_max = 256;
}

pump_status pump(runtime::tcp_stream& stream, base::send_buffer& control, media::reader* media, uint64_t* sent) {
  std::array<iovec, parts_max> parts;
  for (;;) {
    const bool boundary = !media || media->at_boundary();
    if (media) media->prepare(control);
    size_t count = 0;
    const size_t control_bytes = boundary ? control.size() : 0;
    if (control_bytes > 0) {
      const auto pending = control.pending();
      parts[count++] = {const_cast<uint8_t*>(pending.data()), pending.size()};
    }
    size_t media_bytes = 0;
    if (media) count += media->gather(std::span(parts).subspan(count), &media_bytes, !boundary && !control.empty());
    if (count == 0) return pump_status::drained;

    const auto result = stream.write(std::span<const iovec>(parts).first(count));
    if (result.status == runtime::io_status::would_block) return pump_status::blocked;
    if (result.status != runtime::io_status::ok) return pump_status::failed;
    *sent += result.bytes;
    const size_t of_control = std::min(result.bytes, control_bytes);
    control.consume(of_control);
    if (media) media->consume(result.bytes - of_control);
    // A short write leaves the socket full: the kernel tells when there is room again.
    if (result.bytes < control_bytes + media_bytes) return pump_status::blocked;
  }
}

}  // namespace sluice::servers
