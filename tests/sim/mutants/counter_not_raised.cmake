# The epoch of a claim is any number, not above what the store holds and this proxy has seen.
set(file src/cluster/core/owner_table_claim.cpp)
set(old [==[    record.origin_id = std::move(*origin_id);
    record.epoch = next_epoch(s, at);]==])
set(new [==[    record.origin_id = std::move(*origin_id);
    record.epoch = {1 + random() % 1000, random()};]==])
