# A player who finds no owner makes one.
set(file src/cluster/core/owner_table_held.cpp)
set(old [==[  ask.what = store_request::kind::find;
  ask.key = *s.key;
  s.op_claim.reset();]==])
set(new [==[  ask.what = store_request::kind::find;
  const moment at{cold_until_, highest_seen_};
  if (const auto all = origins_.candidates(at.now, {}); !all.empty() && !s.owner) {
    ask.what = store_request::kind::claim;
    ask.ttl = config_.stream_ttl;
    ask.record = owner_record{std::string(all.front().origin_id), next_epoch(s, at), config_.proxy_id, at.wall_ms};
  }
  ask.key = *s.key;
  s.op_claim.reset();]==])
