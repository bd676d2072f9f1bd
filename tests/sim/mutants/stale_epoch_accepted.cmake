# An origin takes a publish of an epoch below the highest that it has seen.
set(file src/cluster/core/fence.cpp)
set(old [==[if (e != epoch{} && e < highest) return]==])
set(new [==[if (e != epoch{} && e < highest && e == epoch{}) return]==])
