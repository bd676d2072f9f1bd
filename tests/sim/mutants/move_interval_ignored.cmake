# A stream moves off a silent owner as often as that falls silent.
set(file src/cluster/core/owner_table_claim.cpp)
set(old [==[if (s.moved_at + config_.move_interval <= at.now) return false;]==])
set(new [==[if (s.moved_at <= at.now) return false;]==])
