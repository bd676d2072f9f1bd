# An announcement of a lower epoch than is known, late or doubled, is taken for the owner.
set(file src/cluster/core/owner_table_store.cpp)
set(old [==[  if (s.owner && owner.epoch <= s.owner->epoch) return;  // late, doubled, or our own
  const bool is_proposed = s.op != 0 && s.proposed == owner.epoch;
  if (is_proposed || is_uncommitted(s, owner.epoch)) return;  // our own: the answer decides
  if (owner.epoch < elsewhere(key, {})) return;               // a higher epoch at a living origin is the owner]==])
set(new [==[  if (s.owner && owner.epoch == s.owner->epoch) return;  // late, doubled, or our own
  const bool is_proposed = s.op != 0 && s.proposed == owner.epoch;
  if (is_proposed || is_uncommitted(s, owner.epoch)) return;  // our own: the answer decides]==])
