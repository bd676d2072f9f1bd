#include <algorithm>

#include "proto/stun/message.hpp"
#include "relay/rtc/sessions.hpp"

// Sessions that were begun at another proxy of the cluster (or at this one, in its former life): their clients' checks
// arrive here now. Nothing is claimed, opened or answered before a check has proved, by the password that the store
// has, to be the client's.
namespace sluice::relay {
namespace {

// Checks that wait at once. What each holds is its datagram, some 100 bytes, 1,500 at most; and a question to the store
// under way, pipelined with all others, unless its name is being asked for already.
constexpr size_t lookups_max = 4096;
constexpr size_t checks_of_name_max = 8;  // of these: a stranger's may be among them, and come first
constexpr base::duration owner_wait = std::chrono::seconds(1);

/// Whether the check was made with that password. Where that is not known (empty) it is taken on trust, as at the
/// shards.
bool is_made_with(const rtc_lookup& check, std::string_view password) {
  if (password.empty()) return true;
  const auto bytes = base::as_bytes(check.bytes);
  const auto m = stun::parse(bytes);
  return m && stun::integrity_holds(bytes, *m, password);
}

}  // namespace

void rtc_sessions::look_up(rtc_lookup check) {
  post([check = std::move(check)](rtc_sessions& self) { self.look_up_here(check); });
}

void rtc_sessions::look_up_here(rtc_lookup check) {
  // Its client was quicker than what the shard was told, and has been told by now.
  if (by_username_.contains(check.username)) return retry({std::move(check)});
  const auto under_way = resuming_.find(check.username);
  const bool is_new = under_way == resuming_.end();
  if (lookups_waiting_ >= lookups_max || (!is_new && under_way->second.checks.size() >= checks_of_name_max))
    return rtc_dropped(here_.metrics, "busy").add();
  ++lookups_waiting_;
  const auto name = check.username;
  resuming_[name].checks.push_back(std::move(check));
  if (!is_new) return;
  here_.store.get(rtc_username_key(name),
                  [this, alive = std::weak_ptr<bool>(alive_), name](base::result<std::optional<std::string>> value) {
                    if (alive.expired()) return;
                    if (value && *value) return resume(name, **value);
                    missed(name, value ? "unknown_name" : value.error().reason);
                  });
}

void rtc_sessions::resume(const std::string& name, const std::string& value) {
  auto& r = resuming_.at(name);
  auto record = parse_rtc_record(value);
  auto key = record ? cluster::parse_key(record->stream_url) : base::fail("bad_record");
  if (!key) return missed(name, "bad_record");
  r.record = std::move(*record);
  r.key = std::move(*key);
  const auto clients = std::find_if(r.checks.begin(), r.checks.end(),
                                    [&](const rtc_lookup& c) { return is_made_with(c, r.record.password); });
  if (clients == r.checks.end()) return forged(name);
  std::swap(*clients, r.checks.front());
  auto done = [this, alive = std::weak_ptr<bool>(alive_), name](const base::result<cluster::assignment>& found) {
    if (alive.expired()) return;
    if (const auto ok = resumed(name, found); !ok) missed(name, ok.error().reason);
  };
  // A publisher's owner is there; that this proxy renews it now is the point of claiming it.
  r.asked =
      r.record.kind == rtc_kind::publish
          ? here_.owners.claim(here_.control, r.key, {.session = name, .by = cluster::transport::rtc}, std::move(done))
          : here_.owners.find(here_.control, r.key, owner_wait, std::move(done));
}

base::result<void> rtc_sessions::resumed(const std::string& name, const base::result<cluster::assignment>& found) {
  const auto& r = resuming_.at(name);
  const auto client = r.checks.front().from.peer;
  base::result<void> ok;
  std::optional<base::endpoint> origin;
  if (!found) {
    ok = tl::unexpected(found.error());
  } else if (!r.record.origin.empty() && found->origin_id != r.record.origin) {
    ok = base::fail("stream_moved");
  } else if (auto room = admit(client.address); !room) {
    ok = room;
  } else {
    if (!found->rtc_udp.empty()) origin = found->rtc_udp.front();
    if (const auto told = base::endpoint::parse(r.record.rtc)) origin = told;
    if (!origin) ok = base::fail("no_endpoint");
  }
  if (!ok) {
    if (found && r.record.kind == rtc_kind::publish) here_.owners.cancel(r.asked);
    return ok;
  }
  auto done = take_resumption(name);
  here_.log.info("rtc_resumed",
                 {{"peer", client.to_string()}, {"stream", done.key.str()}, {"origin", found->origin_id}});
  open({.id = next_id(),
        .kind = done.record.kind,
        .key = done.key,
        .client = client,
        .to = *found,
        .origin = *origin,
        .credentials = {name, done.record.password},
        .location = done.record.location,
        .resource = done.record.resource});
  // Its client is answered now, not when it asks again.
  retry(std::move(done.checks));
  return {};
}

void rtc_sessions::missed(const std::string& name, std::string_view reason) {
  const auto r = take_resumption(name);
  here_.metrics
      .counter("sluice_rtc_lookups_failed_total", "Checks with a name that no proxy knows, or knows no more.",
               {{"reason", std::string(reason)}})
      .add();
  std::map<unsigned, size_t> at;
  for (const auto& check : r.checks) ++at[check.shard];
  for (const auto& [shard, checks] : at) {
    auto* relay = relays_[shard];
    relay->loop().post([relay, name, checks] { relay->miss(name, checks); });
  }
}

/// There is such a session, and strangers asked for it. Its client may come at any time, and is looked up then.
void rtc_sessions::forged(const std::string& name) {
  const auto r = take_resumption(name);
  rtc_dropped(here_.metrics, "bad_integrity").add(static_cast<int64_t>(r.checks.size()));
}

rtc_sessions::resumption rtc_sessions::take_resumption(const std::string& name) {
  auto r = std::move(resuming_.extract(name).mapped());
  lookups_waiting_ -= r.checks.size();
  return r;
}

/// After whatever the shards have been told so far.
void rtc_sessions::retry(std::vector<rtc_lookup> checks) {
  for (auto& check : checks) {
    auto* relay = relays_[check.shard];
    relay->loop().post([relay, check = std::move(check)] { relay->retry(check); });
  }
}

void rtc_sessions::stop_resuming() {
  for (const auto& [name, r] : resuming_)
    if (r.asked != 0) here_.owners.cancel(r.asked);
  resuming_.clear();
  lookups_waiting_ = 0;
}

void rtc_sessions::find_stored(const std::string& username,
                               std::function<void(const std::optional<rtc_record>& record)> done) {
  here_.store.get(rtc_username_key(username),
                  [done = std::move(done)](const base::result<std::optional<std::string>>& value) {
                    done(value && *value ? parse_rtc_record(**value) : std::nullopt);
                  });
}

}  // namespace sluice::relay
