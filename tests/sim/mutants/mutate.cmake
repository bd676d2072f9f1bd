# cmake -DDEFINITION=mutant.cmake -DROOT=source-tree -DOUT=file.cpp -P mutate.cmake
# Writes the source that the definition names (`file`) with `old`, which must occur exactly once, replaced by `new`.
include(${DEFINITION})
file(READ ${ROOT}/${file} text)
string(FIND "${text}" "${old}" first)
string(FIND "${text}" "${old}" last REVERSE)
if(first EQUAL -1)
  message(FATAL_ERROR "${DEFINITION}: ${file} has changed, what is to be broken is not there:\n${old}")
elseif(NOT first EQUAL last)
  message(FATAL_ERROR "${DEFINITION}: what is to be broken is in ${file} more than once:\n${old}")
endif()
string(REPLACE "${old}" "${new}" text "${text}")
file(WRITE ${OUT} "${text}")
