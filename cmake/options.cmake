# Compiler settings that hold for every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

option(SLUICE_BENCH "build the benchmark programs" OFF)
set(SLUICE_SANITIZE "" CACHE STRING "sanitizers: empty, address, thread or fuzzer")

# What is compiled for its tests alone, without optimisation, takes most of its time to read the standard library.
# Not for what is shipped: there, each file compiles by its own includes.
option(SLUICE_PCH "precompile the headers that nearly every file reads" OFF)
if(SLUICE_PCH)
  # clang forgets that libstdc++ may name what it deprecates itself.
  add_compile_options(-Wno-deprecated-declarations)
endif()

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_NOHASHDIR=1)
  if(SLUICE_PCH)  # ccache(1), "Precompiled headers"
    list(APPEND CMAKE_CXX_COMPILER_LAUNCHER CCACHE_SLOPPINESS=pch_defines,time_macros)
  endif()
  list(APPEND CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
                    -Wimplicit-fallthrough -Wno-unused-parameter -Wno-missing-field-initializers -Werror=return-type -Werror=switch
                    -fno-omit-frame-pointer)
add_link_options(-fuse-ld=lld)
add_compile_definitions(SLUICE_VERSION="${PROJECT_VERSION}" BOOST_ASIO_NO_DEPRECATED FMT_ENFORCE_COMPILE_STRING=0)

if(SLUICE_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
elseif(SLUICE_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
elseif(SLUICE_SANITIZE STREQUAL "fuzzer")
  add_compile_options(-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
endif()
