# Who watches a stream does not learn that it has another owner.
set(file src/cluster/core/owner_table_held.cpp)
set(old [==[  s.told = to;
  out_.push_back(action::owner_changed{*s.key, to});]==])
set(new [==[  s.told = to;]==])
