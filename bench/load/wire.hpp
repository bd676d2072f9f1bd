#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace sluice::bench {

using bytes = std::span<const uint8_t>;

/// RTMP message types that the load tool speaks (RTMP 1.0 §5.4, §7.1).
enum message_type : uint8_t {
  set_chunk_size = 1,
  acknowledgement = 3,
  user_control = 4,
  window_ack_size = 5,
  audio = 8,
  video = 9,
  data_amf0 = 18,
  command_amf0 = 20
};

void put_u24(std::vector<uint8_t>& out, uint32_t v);
void put_u32(std::vector<uint8_t>& out, uint32_t v);

/// Just enough AMF0 to write commands and metadata.
class amf_writer {
 public:
  explicit amf_writer(std::vector<uint8_t>& out) : out_(out) {}
  amf_writer& number(double v);
  amf_writer& text(std::string_view v);
  amf_writer& boolean(bool v);
  amf_writer& null();
  amf_writer& begin_object();
  amf_writer& begin_ecma_array(uint32_t count);
  amf_writer& key(std::string_view name);
  amf_writer& end();

 private:
  void raw_text(std::string_view v);
  std::vector<uint8_t>& out_;
};

/// One whole message with a type 0 header, cut into chunks.
void append_message(std::vector<uint8_t>& out, uint8_t chunk_stream, uint8_t type, uint32_t timestamp,
                    uint32_t stream_id, bytes payload, size_t chunk_size);

/// The transaction id and whether the command is `name`, from the head of a command message.
struct command_head {
  std::string_view name;
  double transaction = 0;
};
command_head read_command(bytes payload);

}  // namespace sluice::bench
