# An announcement of a lower epoch, late or doubled, is taken for the owner.
set(file src/cluster/core/owner_table_store.cpp)
set(old [==[if (s.owner && owner.epoch <= s.owner->epoch) return;]==])
set(new [==[if (s.owner && owner.epoch == s.owner->epoch) return;]==])
