#pragma once

#include "base/result.hpp"
#include "proto/rtmp/chunk_reader.hpp"
#include "proto/rtmp/message.hpp"

namespace sluice::rtmp {

/// Takes an aggregate message (type 22) apart (RTMP 1.0 §7.1.6) and gives its parts to `sink` in order, each in a block
/// of its own. Their timestamps are shifted so that the first has the aggregate's; all get its stream id. Control
/// messages, commands and aggregates have no business inside and are left out. Errors: bad_aggregate, or what the sink
/// returns.
base::result<void> split_aggregate(const message& aggregate, message_sink& sink);

}  // namespace sluice::rtmp
