#include "roles/proxy_rtc.hpp"

#include <unistd.h>

#include <algorithm>
#include <mutex>

#include "runtime/process.hpp"
#include "runtime/udp.hpp"

namespace sluice::roles {
namespace {

relay::rtc_config rtc_of(const proxy_config& c, runtime::session_budget& sessions) {
  relay::rtc_config r;
  r.trusted = c.trusted_networks;
  r.advertise = c.advertise;
  r.sessions = &sessions;
  r.play_wait = c.play_wait;
  return r;
}

uint64_t random_seed() {
  uint64_t seed = 0;
  runtime::random_bytes({reinterpret_cast<uint8_t*>(&seed), sizeof seed});
  return seed;
}

}  // namespace

/// Of one shard. Made, used and destroyed on its thread.
struct proxy_rtc::shard_part {
  shard_part(runtime::shard& s, const surroundings& around, const relay::rtc_config& config, base::duration interval,
             relay::rtc_reports& reports, const std::vector<relay::rtc_relay*>& all, uint64_t seed)
      : io(s.loop(), around.shard_metrics[s.index()], interval),
        relay({static_cast<unsigned>(s.index()), s.loop(), io, around.shard_metrics[s.index()], config,
               &around.budgets.descriptors, reports, all, seed}) {}
  runtime::udp_io io;
  relay::rtc_relay relay;
};

proxy_rtc::proxy_rtc(const proxy_config& config, const surroundings& around)
    : here_(around),
      listen_(config.webrtc),
      config_(rtc_of(config, around.budgets.sessions)),
      interval_(config.webrtc_interval),
      at_(listen_.at),
      sessions_({around.control, around.owners, around.store, config_, around.log, around.metrics}),
      signalling_({around.control, around.owners, sessions_, config_, around.vhosts, around.log, around.metrics,
                   &around.budgets.descriptors}),
      parts_(around.shards.size()),
      relays_(around.shards.size()) {
  signalling_.set_media(at_);
}

proxy_rtc::~proxy_rtc() {
  if (reserved_ >= 0) ::close(reserved_);
}

base::result<void> proxy_rtc::reserve() {
  const auto reserved = runtime::reserve_udp_port(listen_.at);
  if (!reserved) return tl::unexpected(reserved.error());
  at_ = reserved->first;
  reserved_ = reserved->second;
  signalling_.set_media(at_);
  return {};
}

void proxy_rtc::add_routes(admin::router& api) {
  using relay::rtc_form;
  using relay::rtc_kind;
  using relay::rtc_place;
  using relay::rtc_signalling;
  const struct {
    const char* path;
    rtc_kind kind;
    rtc_form form;
    rtc_place place;
  } calls[] = {{"/rtc/v1/whip", rtc_kind::publish, rtc_form::sdp, rtc_place::whip},
               {"/rtc/v1/whep", rtc_kind::play, rtc_form::sdp, rtc_place::whep},
               {"/rtc/v1/publish", rtc_kind::publish, rtc_form::json, rtc_place::older_call},
               {"/rtc/v1/play", rtc_kind::play, rtc_form::json, rtc_place::older_call}};
  const auto options = [&](const char* path, rtc_place place) {
    api.add({"OPTIONS", path, admin::access::everyone,
             [place](const auto&, auto, const auto& done) { done(rtc_signalling::options(place)); }});
  };
  const auto changes = [&](const char* path) {
    api.add({"GET", path, admin::access::token_holders,
             [](const auto&, auto, const auto& done) { done(rtc_signalling::no_content()); }});
    for (const char* method : {"DELETE", "PATCH"})
      api.add({method, path, admin::access::token_holders,
               [this](const auto& request, auto, auto done) { signalling_.change(request, std::move(done)); }});
  };
  for (const auto& c : calls) {
    api.add({"POST", c.path, admin::access::token_holders, [this, c](const auto& request, auto, auto done) {
               signalling_.begin(c.kind, c.form, request, std::move(done));
             }});
    if (c.form == rtc_form::sdp) changes(c.path);
    options(c.path, c.place);
  }
  changes("/rtc/v1/resource/{}");
  options("/rtc/v1/resource/{}", rtc_place::session);
  api.add_headers("/rtc/v1/", relay::rtc_page_headers());
}

void proxy_rtc::start() {
  const uint64_t seed = random_seed();
  here_.shards.run_on_all([&](runtime::shard& s) {
    parts_[s.index()] = std::make_unique<shard_part>(s, here_, config_, interval_, sessions_, relays_, seed);
    relays_[s.index()] = &parts_[s.index()]->relay;
  });
  sessions_.attach(relays_);
}

base::result<void> proxy_rtc::open() {
  base::result<void> all;
  std::mutex mutex;
  here_.shards.run_on_all([&](runtime::shard& s) {
    const auto opened = parts_[s.index()]->relay.listen(at_);
    const std::lock_guard lock(mutex);
    if (!opened) all = opened;
  });
  ::close(std::exchange(reserved_, -1));
  return all;
}

void proxy_rtc::for_each_viewer(const std::function<void(const std::string& stream)>& visit) const {
  sessions_.for_each([&](const relay::rtc_session& s) {
    if (s.kind == relay::rtc_kind::play) visit(s.key.str());
  });
}

void proxy_rtc::close(std::string_view reason) {
  signalling_.close();
  // The relays first: what they hear or ask from now on would be about sessions that are no more.
  here_.shards.run_on_all([&](runtime::shard& s) {
    if (parts_[s.index()]) parts_[s.index()]->relay.stop();
  });
  sessions_.close(reason);
  // What has been posted to a shard is gone when the parts are.
  here_.shards.run_on_all([](runtime::shard&) {});
  here_.shards.run_on_all([&](runtime::shard& s) { parts_[s.index()].reset(); });
}

}  // namespace sluice::roles
