// micro: what the parsers, the wire form, the fan-out log and placement cost without any socket (Google Benchmark).
// Bytes and items per second are per CPU second.

#include <benchmark/benchmark.h>

#include <array>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "cluster/core/placement.hpp"
#include "load/stream_shape.hpp"
#include "media/bridge/flv.hpp"
#include "media/bridge/ts.hpp"
#include "media/byte_log.hpp"
#include "media/hub.hpp"
#include "media/reader.hpp"
#include "media/splicer.hpp"
#include "proto/amf0/value.hpp"
#include "proto/flv/file.hpp"
#include "proto/flv/tag.hpp"
#include "proto/rtmp/chunk_reader.hpp"
#include "proto/rtmp/wire.hpp"

namespace {

using namespace sluice;

/// Ten seconds of the load tool's stream as an encoder sends it: type 1 headers, chunks of 4,096 bytes.
const std::vector<uint8_t>& encoder_bytes() {
  static const std::vector<uint8_t> all = [] {
    bench::stream_shape shape;
    bench::stream_position at;
    std::vector<uint8_t> out;
    bench::append_message(out, 2, bench::set_chunk_size, 0, 0, std::vector<uint8_t>{0, 0, 16, 0}, 128);
    const std::vector<uint8_t> preamble = shape.preamble(1);
    out.insert(out.end(), preamble.begin(), preamble.end());
    while (shape.due_ns(at) < 10'000'000'000) {
      const bench::bytes next = shape.next(at, 0);
      out.insert(out.end(), next.begin(), next.end());
    }
    return out;
  }();
  return all;
}

struct collect final : rtmp::message_sink {
  std::vector<rtmp::message> messages;
  base::result<void> on_message(rtmp::message&& m) override {
    messages.push_back(std::move(m));
    return {};
  }
};

/// The same stream as whole messages, fresh: their payloads may be serialised (once).
std::vector<rtmp::message> messages() {
  collect sink;
  rtmp::chunk_reader reader(8u << 20, 64);
  if (!reader.receive(encoder_bytes(), sink)) std::abort();
  return std::move(sink.messages);
}

struct discard final : rtmp::message_sink {
  size_t count = 0;
  base::result<void> on_message(rtmp::message&& m) override {
    count += m.payload.size();
    return {};
  }
};

/// Argument: bytes per receive(), as reads from a socket would give them.
void chunk_reader(benchmark::State& state) {
  const base::bytes_view all = encoder_bytes();
  const auto step = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    rtmp::chunk_reader reader(8u << 20, 64);
    discard sink;
    for (size_t at = 0; at < all.size(); at += step) {
      if (!reader.receive(all.subspan(at, std::min(step, all.size() - at)), sink)) state.SkipWithError("refused");
    }
    benchmark::DoNotOptimize(sink.count);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * all.size()));
}
BENCHMARK(chunk_reader)->Arg(1448)->Arg(8192)->Arg(65536);

void amf0_decode_connect(benchmark::State& state) {
  std::vector<uint8_t> payload;
  bench::amf_writer w(payload);
  w.text("connect").number(1).begin_object().key("app").text("live").key("type").text("nonprivate");
  w.key("flashVer").text("FMLE/3.0 (compatible; Lavf59)").key("swfUrl").text("rtmp://localhost/live");
  w.key("tcUrl").text("rtmp://localhost:1935/live").key("capabilities").number(15).key("fpad").boolean(false).end();
  for (auto _ : state) {
    auto values = amf0::decode_all(payload);
    benchmark::DoNotOptimize(values);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * payload.size()));
}
BENCHMARK(amf0_decode_connect);

void flv_tag_parse(benchmark::State& state) {
  const std::vector<rtmp::message> all = messages();
  for (auto _ : state) {
    for (const rtmp::message& m : all) {
      if (m.type == rtmp::video) {
        auto tag = flv::parse_video_tag(m.payload.view());
        benchmark::DoNotOptimize(tag);
      } else if (m.type == rtmp::audio) {
        auto tag = flv::parse_audio_tag(m.payload.view());
        benchmark::DoNotOptimize(tag);
      }
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * all.size()));
}
BENCHMARK(flv_tag_parse);

void flv_file_read(benchmark::State& state) {
  const auto header = flv::file_header(true, true);
  std::vector<uint8_t> file(header.begin(), header.end());
  for (const rtmp::message& m : messages()) flv::write_tag(file, m.type, m.timestamp, m.payload.view());
  for (auto _ : state) {
    flv::reader reader;
    for (size_t at = 0; at < file.size(); at += 8192) {
      auto piece = base::bytes_view(file).subspan(at, std::min<size_t>(8192, file.size() - at));
      for (auto tag = reader.next(piece); tag && *tag; tag = reader.next(piece)) benchmark::DoNotOptimize(*tag);
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * file.size()));
}
BENCHMARK(flv_file_read);

void wire_gather(benchmark::State& state) {
  std::vector<rtmp::wire_message> all;
  size_t bytes = 0;
  for (rtmp::message& m : messages()) {
    all.push_back(rtmp::wire_message::serialise(std::move(m.payload), m.type, m.timestamp, 6, 1, 60'000));
    bytes += all.back().size();
  }
  std::vector<iovec> parts(64);
  for (auto _ : state) {
    size_t count = 0;
    for (const rtmp::wire_message& m : all) {
      if (count + 4 > parts.size()) count = 0;
      size_t taken = 0;
      count = m.gather(0, parts, count, &taken);
      benchmark::DoNotOptimize(taken);
    }
    benchmark::DoNotOptimize(parts.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
}
BENCHMARK(wire_gather);

/// A hub with N readers who take everything at each flush of 24 messages (350 ms): the fan-out without its system
/// calls.
class taker final : public media::reader_owner {
 public:
  explicit taker(media::hub& h) : reader_(h, *this, media::reader_start::keyframe) {}
  size_t taken() const { return taken_; }

 private:
  void on_frames() override {
    for (;;) {
      base::send_buffer prelude;
      reader_.prepare(prelude);
      size_t bytes = 0;
      if (reader_.gather(parts_, &bytes) == 0) return;
      reader_.consume(bytes);
      taken_ += bytes;
    }
  }
  media::reader reader_;
  std::vector<iovec> parts_ = std::vector<iovec>(128);
  size_t taken_ = 0;
};

void hub_fan_out(benchmark::State& state) {
  struct driver final : media::hub_driver {
    void on_frames_pending(media::hub&) override {}
  } quiet;
  const media::hub_limits limits;
  size_t bytes = 0;
  for (auto _ : state) {
    state.PauseTiming();
    std::vector<rtmp::message> all = messages();
    media::hub hub(limits, quiet);
    std::vector<std::unique_ptr<taker>> takers;
    for (int64_t i = 0; i < state.range(0); ++i) takers.push_back(std::make_unique<taker>(hub));
    base::time_point now{};
    hub.begin_source(now);
    state.ResumeTiming();
    size_t pending = 0;
    for (rtmp::message& m : all) {
      now = base::time_point(std::chrono::milliseconds(m.timestamp));
      hub.append(std::move(m), now);
      if (++pending % 24 == 0) hub.flush();
    }
    hub.flush();
    state.PauseTiming();
    for (const auto& t : takers) bytes += t->taken();
    takers.clear();
    state.ResumeTiming();
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes));
}
BENCHMARK(hub_fan_out)->Arg(1)->Arg(500);

/// The same ten seconds as MPEG-TS, into one buffer that keeps its capacity. Bytes are those of the messages; item: a
/// message. The load tool's video has no NAL units, so it is put into one for each frame.
void ts_bridge(benchmark::State& state) {
  std::vector<media::frame> frames;
  size_t bytes = 0;
  const auto add = [&](uint8_t type, uint32_t timestamp, base::bytes_view body) {
    rtmp::message m{timestamp, type, 1, 4, base::slice::copy_of(body, rtmp::message_headroom)};
    frames.push_back(media::make_frame(std::move(m), timestamp, {}, true));
    bytes += body.size();
  };
  constexpr std::array<uint8_t, 24> video_header{0x17, 0,    0,    0,    0,    1, 0x42, 0xC0, 0x1E, 0xFF, 0xE1, 0,
                                                 4,    0x67, 0x42, 0xC0, 0x1E, 1, 0,    4,    0x68, 0xCB, 0x8C, 0xB2};
  add(rtmp::video, 0, video_header);
  add(rtmp::audio, 0, std::array<uint8_t, 4>{0xAF, 0, 0x12, 0x10});
  std::vector<uint8_t> body;
  for (const rtmp::message& m : messages()) {
    if (!rtmp::is_media(m.type) || m.payload.size() < 16) continue;
    body.assign(m.payload.view().begin(), m.payload.view().end());
    if (m.type == rtmp::audio) {
      body[0] = 0xAF;
      body[1] = 1;
    } else if (m.type == rtmp::video) {
      const auto length = static_cast<uint32_t>(body.size() - 9);
      body[1] = 1;
      body[2] = body[3] = body[4] = 0;
      for (size_t i = 0; i < 4; ++i) body[5 + i] = static_cast<uint8_t>(length >> (24 - 8 * i));
      body[9] = 0x41;
    }
    add(m.type, m.timestamp, body);
  }
  std::vector<uint8_t> out;
  size_t written = 0;
  for (auto _ : state) {
    media::ts_bridge bridge({.audio_pes_ms = static_cast<uint32_t>(state.range(0))});
    written = 0;
    for (const media::frame& f : frames) {
      out.clear();
      bridge.write(f, out);
      benchmark::DoNotOptimize(out.data());
      written += out.size();
    }
    if (bridge.broken() > 0) state.SkipWithError("broken");
  }
  state.counters["overhead"] = static_cast<double>(written) / static_cast<double>(bytes) - 1;
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * frames.size()));
}
BENCHMARK(ts_bridge)->Arg(0)->Arg(100);

/// N publishers in turn, a message at a time, each into a reader and a hub that retains 4 s: the parts of ingest and of
/// relay-publish that are ours, with caches as cold as there. Item: a message.
void ingest_path(benchmark::State& state) {
  struct driver final : media::hub_driver {
    void on_frames_pending(media::hub&) override {}
  } quiet;
  struct stream final : rtmp::message_sink {
    stream(const media::hub_limits& limits, media::hub_driver& d) : hub(limits, d) { hub.begin_source({}); }
    base::result<void> on_message(rtmp::message&& m) override {
      hub.append(std::move(m), now);
      return {};
    }
    rtmp::chunk_reader reader{8u << 20, 64};
    media::hub hub;
    base::time_point now{};
    bench::stream_position at;
  };
  media::hub_limits limits;
  limits.retain = std::chrono::seconds(4);
  bench::stream_shape shape;
  std::vector<std::unique_ptr<stream>> streams;
  std::vector<uint8_t> start;
  bench::append_message(start, 2, bench::set_chunk_size, 0, 0, std::vector<uint8_t>{0, 0, 16, 0}, 128);
  const std::vector<uint8_t> preamble = shape.preamble(1);
  start.insert(start.end(), preamble.begin(), preamble.end());
  const auto feed = [&](stream& s) {
    s.now = base::time_point(std::chrono::nanoseconds(shape.due_ns(s.at)));
    if (!s.reader.receive(shape.next(s.at, 0), s)) state.SkipWithError("refused");
    s.hub.flush();
  };
  constexpr int64_t messages_per_gop = 136;
  for (int64_t i = 0; i < state.range(0); ++i) {
    stream& s = *streams.emplace_back(std::make_unique<stream>(limits, quiet));
    if (!s.reader.receive(start, s)) state.SkipWithError("refused");
    // The retention is full, and no two streams are at the same place of their GOP.
    const int64_t ahead = 5 * messages_per_gop + i * messages_per_gop / state.range(0);
    for (int64_t n = 0; n < ahead; ++n) feed(s);
  }
  for (auto _ : state) {
    for (auto& s : streams) feed(*s);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(ingest_path)->Arg(1)->Arg(200);

/// A viewer of HTTP-FLV with a pull of his own, from the bytes of the origin to those that would be written to him.
class private_play final : media::hub_driver, media::byte_log_driver, media::byte_reader_owner {
 public:
  explicit private_play(const media::hub_limits& limits)
      : hub_(limits, *this),
        log_(hub_, std::make_unique<media::flv_muxer>(), log_limits_, *this),
        reader_(log_, *this) {
    hub_.begin_source({});
  }
  void receive(base::bytes_view bytes, uint32_t ahead_ms) {
    for (auto tag = source_.next(bytes); tag && *tag; tag = source_.next(bytes)) {
      const uint32_t timestamp = (*tag)->timestamp + ahead_ms;
      splicer_.take(hub_, {timestamp, (*tag)->type, 0, 0, std::move((*tag)->body)},
                    base::time_point(std::chrono::milliseconds(timestamp)));
    }
    hub_.flush();
    log_.flush(SIZE_MAX);
  }
  size_t taken() const { return taken_; }

 private:
  void on_frames_pending(media::hub&) override {}
  void on_bytes_pending(media::byte_log&) override {}
  void on_bytes() override {
    std::array<iovec, 64> parts;
    for (size_t bytes = 0; reader_.gather(parts, &bytes) > 0; taken_ += bytes) reader_.consume(bytes);
  }
  const media::byte_log_limits log_limits_;
  flv::reader source_{8u << 20, rtmp::message_headroom};
  media::splicer splicer_;
  media::hub hub_;
  media::byte_log log_;
  media::byte_reader reader_;
  size_t taken_ = 0;
};

/// N such viewers in turn, each with a burst of 24 messages (350 ms). Item: a message of one viewer.
void flv_per_viewer(benchmark::State& state) {
  media::hub_limits limits;
  limits.gop_cache = false;
  const auto header = flv::file_header(true, true);
  std::vector<uint8_t> file(header.begin(), header.end());
  std::vector<size_t> ends;
  size_t count = 0;
  for (const rtmp::message& m : messages()) {
    flv::write_tag(file, m.type, m.timestamp, m.payload.view());
    if (++count % 24 == 0) ends.push_back(file.size());
  }
  std::vector<std::unique_ptr<private_play>> all;
  for (int64_t i = 0; i < state.range(0); ++i) all.push_back(std::make_unique<private_play>(limits));
  size_t burst = 0, begin = 0;
  uint32_t ahead_ms = 0;
  for (auto _ : state) {
    const auto bytes = base::bytes_view(file).subspan(begin, ends[burst] - begin);
    for (auto& p : all) p->receive(bytes, ahead_ms);
    begin = ends[burst];
    if (++burst < ends.size()) continue;
    burst = 0;
    begin = header.size();
    ahead_ms += 10'000;
  }
  if (all.front()->taken() == 0) state.SkipWithError("nothing came through");
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * state.range(0) * 24);
}
BENCHMARK(flv_per_viewer)->Arg(1)->Arg(300);

/// 10,000 streams onto 100 origins, each pick counted at once.
void placement_pick(benchmark::State& state) {
  std::vector<std::string> ids;
  for (int i = 0; i < 100; ++i) ids.push_back("origin-" + std::to_string(i));
  std::vector<std::string> keys;
  for (int i = 0; i < 10'000; ++i) keys.push_back("__defaultVhost__/live/stream-" + std::to_string(i));
  std::vector<cluster::candidate> candidates;
  for (auto _ : state) {
    candidates.clear();
    for (const std::string& id : ids) candidates.push_back({.origin_id = id, .server_id = id});
    for (const std::string& key : keys) {
      const auto picked = cluster::pick_origin(key, candidates, {});
      if (!picked) state.SkipWithError("nobody picked");
      ++candidates[*picked].streams;
    }
  }
  uint64_t busiest = 0;
  for (const cluster::candidate& c : candidates) busiest = std::max(busiest, c.streams);
  state.counters["busiest"] = static_cast<double>(busiest) / 100;  // of the mean
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * keys.size()));
}
BENCHMARK(placement_pick)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
