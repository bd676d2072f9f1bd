# A publisher is refused when the store does not answer.
set(file src/cluster/core/owner_table_claim.cpp)
set(old [==[if (why.reason == "store_unavailable") {]==])
set(new [==[if (why.reason == "store_unavailable" && why.reason.empty()) {]==])
