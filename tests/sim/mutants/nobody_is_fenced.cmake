# Replies to heartbeats do not say which copies must go.
# Publishers who hear of another owner leave by themselves; those of proxies of another make do not.
set(options --deaf-publishers)
set(file src/cluster/core/holders.cpp)
set(old [==[if (held.origin_id == owner || held.epoch >= e || held.fenced_by >= e) continue;]==])
set(new [==[if (!owner.empty()) continue;]==])
