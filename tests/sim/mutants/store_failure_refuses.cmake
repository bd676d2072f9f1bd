# A publisher is refused when the store does not answer.
set(file src/cluster/core/owner_table_claim.cpp)
set(old [==[  if (may_be_done) {]==])
set(new [==[  if (may_be_done && why.reason.empty()) {]==])
