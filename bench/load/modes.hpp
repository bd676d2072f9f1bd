#pragma once

#include "load/options.hpp"

namespace sluice::bench {

/// Publishers in real time, spread over the GOP so that keyframes do not coincide. A member is up when the server said
/// Publish.Start.
int run_publish(const load_options& options);

/// Players that count, measure and throw away. A member is up at its first coded picture (or at Play.Start: `--await
/// start`).
int run_play(const load_options& options);

/// Connect, play until the first coded picture, close; `repeat` times, `concurrency` at once.
int run_setup(const load_options& options);

/// Players of HTTP-FLV: as run_play().
int run_flv(const load_options& options);

/// Players of HTTP-TS; messages are packets. A member is up at its first bytes.
int run_ts(const load_options& options);

/// Connections that ask for the segments of one live HLS playlist, in turn, each as soon as it has the last; messages
/// are segments, latency is the time of one. A member is up at its first segment.
int run_hls(const load_options& options);

}  // namespace sluice::bench
