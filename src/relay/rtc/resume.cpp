#include "relay/rtc/record.hpp"
#include "relay/rtc/sessions.hpp"

// Sessions that were begun at another proxy of the cluster (or at this one, in its former life): their clients' checks
// arrive here now.
namespace sluice::relay {
namespace {

constexpr size_t lookups_max = 64;  // under way at once
constexpr base::duration owner_wait = std::chrono::seconds(1);

}  // namespace

struct rtc_sessions::resumption {
  std::string username;
  base::endpoint from;
  unsigned shard = 0;
  rtc_record record{};
  cluster::stream_key key{};
  uint64_t claim = 0;
};

void rtc_sessions::look_up(const std::string& username, const base::endpoint& from, unsigned shard) {
  post([username, from, shard](rtc_sessions& self) { self.look_up_here({username, from, shard}); });
}

void rtc_sessions::look_up_here(resumption r) {
  if (const auto known = by_username_.find(r.username); known != by_username_.end()) {
    // Its client was quicker than what the shard was told.
    for (const auto& c : entries_.at(known->second).credentials) tell(entries_.at(known->second), c);
    return;
  }
  if (resuming_.size() >= lookups_max || !resuming_.insert(r.username).second) return;
  here_.store.get(rtc_username_key(r.username),
                  [this, alive = std::weak_ptr<bool>(alive_), r](base::result<std::optional<std::string>> value) {
                    if (alive.expired()) return;
                    if (value && *value) return resume(r, **value);
                    missed(r, value ? "unknown_name" : value.error().reason);
                  });
}

void rtc_sessions::resume(resumption r, const std::string& value) {
  auto record = parse_rtc_record(value);
  auto key = record ? cluster::parse_key(record->stream_url) : base::fail("bad_record");
  if (!key) return missed(r, "bad_record");
  r.record = std::move(*record);
  r.key = std::move(*key);
  const auto shared = std::make_shared<resumption>(std::move(r));
  auto done = [this, alive = std::weak_ptr<bool>(alive_), shared](const base::result<cluster::assignment>& found) {
    if (alive.expired()) return;
    if (const auto ok = resumed(*shared, found); !ok) missed(*shared, ok.error().reason);
  };
  if (shared->record.kind == rtc_kind::publish) {
    // The owner there is; that this proxy renews it now is the point of asking so.
    shared->claim = here_.owners.claim(here_.control, shared->key, {.session = shared->username}, std::move(done));
  } else {
    here_.owners.find(here_.control, shared->key, owner_wait, std::move(done));
  }
}

base::result<void> rtc_sessions::resumed(resumption& r, const base::result<cluster::assignment>& found) {
  base::result<void> ok;
  std::optional<base::endpoint> origin;
  if (!found) {
    ok = tl::unexpected(found.error());
  } else if (!r.record.origin.empty() && found->origin_id != r.record.origin) {
    ok = base::fail("stream_moved");
  } else if (auto room = admit(r.from.address); !room) {
    ok = room;
  } else {
    if (!found->rtc_udp.empty()) origin = found->rtc_udp.front();
    if (const auto told = base::endpoint::parse(r.record.rtc)) origin = told;
    if (!origin) ok = base::fail("no_endpoint");
  }
  if (!ok) {
    if (r.claim != 0 && found) here_.owners.cancel(r.claim);
    return ok;
  }
  resuming_.erase(r.username);
  here_.log.info("rtc_resumed", {{"peer", r.from.to_string()}, {"stream", r.key.str()}, {"origin", found->origin_id}});
  open({.id = next_id(),
        .kind = r.record.kind,
        .key = r.key,
        .client = r.from,
        .to = *found,
        .origin = *origin,
        .credentials = {r.username, r.record.password},
        .location = {},
        .resource = {}});
  return {};
}

void rtc_sessions::missed(const resumption& r, std::string_view reason) {
  resuming_.erase(r.username);
  here_.metrics
      .counter("sluice_rtc_lookups_failed_total", "Checks with a name that no proxy knows, or knows no more.",
               {{"reason", std::string(reason)}})
      .add();
  auto* relay = relays_[r.shard];
  relay->loop().post([relay, name = r.username] { relay->miss(name); });
}

void rtc_sessions::find_stored(const std::string& username, std::function<void(const std::string& stream)> done) {
  here_.store.get(rtc_username_key(username),
                  [done = std::move(done)](const base::result<std::optional<std::string>>& value) {
                    const auto record = value && *value ? parse_rtc_record(**value) : std::nullopt;
                    done(record ? record->stream_url : std::string());
                  });
}

}  // namespace sluice::relay
