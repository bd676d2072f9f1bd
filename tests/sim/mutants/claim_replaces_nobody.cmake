# A claim does not name the record that it replaces: that of a dead owner stays for ever.
set(file src/cluster/core/owner_table_claim.cpp)
set(old [==[if (s.owner && !keep) ask.replaces = s.stored.value_or(s.owner->epoch);]==])
set(new [==[]==])
