# What the store remembers of a former incarnation takes the place of the one that lives.
set(file src/cluster/core/registry_contest.cpp)
set(old [==[return goes_on || o.told_at >= told_at;]==])
set(new [==[return goes_on && o.told_at > now;]==])
