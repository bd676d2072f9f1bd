# An origin that hears of a higher epoch keeps its copy, publisher and viewers.
set(file src/cluster/core/fence.cpp)
set(old [==[return seen.held && seen.copy < e;]==])
set(new [==[return seen.held && seen.copy < e && e == epoch{};]==])
