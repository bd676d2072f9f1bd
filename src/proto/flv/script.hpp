#pragma once

#include <string_view>

#include "base/bytes.hpp"

namespace sluice::flv {

/// A data message (RTMP type 18, FLV script tag) taken apart as far as its name. Views into the message.
struct script {
  bool set_data_frame =
      false;                 ///< came as `@setDataFrame`, name, value: a publisher's order to keep it for late players
  std::string_view name;     ///< e.g. onMetaData; empty if the message begins with no AMF0 string
  base::bytes_view message;  ///< what players get: name and value, without `@setDataFrame`
  base::bytes_view value;    ///< the AMF0 values behind the name; of onMetaData: its object or ECMA array
  bool is_metadata() const { return name == "onMetaData"; }
};

/// Never fails: a message that is no script has an empty name. Of an AMF3 data message (type 15) strip the format byte
/// first.
script parse_script(base::bytes_view body);

}  // namespace sluice::flv
