# An origin that was stopped itself goes on sending, though others may have its streams by now.
set(file src/cluster/core/fence.cpp)
set(old [==[if (proxies_ && now - woke_at_ > stop_max)]==])
set(new [==[if (proxies_ && now - woke_at_ > 1000 * stop_max)]==])
