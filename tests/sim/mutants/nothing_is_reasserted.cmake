# A store that is back is not told what is published: renewals come in their own time.
set(file src/cluster/core/owner_table_store.cpp)
set(old [==[  spread(written, at.now, &stream::renew_at);]==])
set(new [==[]==])
