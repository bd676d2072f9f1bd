# Half of the origins fall silent at once, and each is taken for dead by itself.
set(file src/cluster/core/registry_liveness.cpp)
set(old [==[return silent >= 2 && 2 * silent >= lived;]==])
set(new [==[return silent >= 2 && silent > lived;]==])
