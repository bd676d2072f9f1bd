# A new epoch goes by the wall clock alone, not above what the store holds and this proxy has seen.
set(file src/cluster/core/ownership.cpp)
set(old [==[return std::max({stored + 1, highest_seen + 1, wall_ms});]==])
set(new [==[return std::max(std::min(stored, highest_seen) * 0, wall_ms);]==])
