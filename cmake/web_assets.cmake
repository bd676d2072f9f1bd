# sluice_web_assets(TARGET) -- builds web/ (nothing to do if it is built) and adds a table of its files to TARGET, as all_assets() of
# src/web_assets/assets.hpp. The contents come in by .incbin: the compiler does not see them, and a debugger does not copy them.
function(sluice_web_assets target)
  execute_process(COMMAND ${CMAKE_SOURCE_DIR}/scripts/build-web.sh RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "scripts/build-web.sh: the pages of web/ cannot be built (see above)")
  endif()
  # Configure anew, and so build anew, when an input changes.
  file(GLOB_RECURSE inputs CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/web/src/*)
  list(APPEND inputs ${CMAKE_SOURCE_DIR}/web/index.html ${CMAKE_SOURCE_DIR}/web/package-lock.json
       ${CMAKE_SOURCE_DIR}/web/vite.config.ts ${CMAKE_SOURCE_DIR}/scripts/build-web.sh)
  set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${inputs})

  set(dist ${CMAKE_SOURCE_DIR}/build/web/dist)
  set(types_html "text/html; charset=utf-8")
  set(types_js "text/javascript; charset=utf-8")
  set(types_css "text/css; charset=utf-8")
  set(types_svg "image/svg+xml")
  set(blobs "")
  set(declarations "")
  set(rows "")
  set(contents "")
  set(number 0)
  file(GLOB_RECURSE paths RELATIVE ${dist} ${dist}/*)
  list(FILTER paths EXCLUDE REGEX "\\.gz$")
  list(SORT paths)
  foreach(path IN LISTS paths)
    string(REGEX REPLACE ".*\\." "" extension "${path}")
    if(NOT DEFINED types_${extension})
      message(FATAL_ERROR "cmake/web_assets.cmake: no content type for ${path}")
    endif()
    file(SHA256 ${dist}/${path} hash)
    string(SUBSTRING ${hash} 0 32 hash)
    file(SIZE ${dist}/${path} bytes)
    file(SIZE ${dist}/${path}.gz gzip_bytes)
    set(variants body)
    set(gzip_text "{}")
    if(gzip_bytes LESS bytes)
      list(APPEND variants gzip)
      set(gzip_text "{web_${number}_gzip, ${gzip_bytes}}")
    endif()
    foreach(variant IN LISTS variants)
      set(file ${dist}/${path})
      if("${variant}" STREQUAL "gzip")
        string(APPEND file .gz)
      endif()
      string(APPEND blobs "asm(\".section .rodata\\nweb_${number}_${variant}: .incbin \\\"${file}\\\"\\n.previous\");\n")
      string(APPEND declarations "extern const char web_${number}_${variant}[] asm(\"web_${number}_${variant}\");\n")
      list(APPEND contents ${file})
    endforeach()
    set(immutable false)
    if(path MATCHES "^assets/")
      set(immutable true)
    endif()
    string(APPEND rows "    {\"/${path}\", \"${types_${extension}}\", \"${hash}\", ${immutable}, {web_${number}_body, ${bytes}}, ${gzip_text}},\n")
    math(EXPR number "${number} + 1")
  endforeach()

  set(table ${CMAKE_BINARY_DIR}/web_assets_table.cpp)
  file(CONFIGURE OUTPUT ${table} @ONLY CONTENT [[// Written by cmake/web_assets.cmake.
#include "web_assets/assets.hpp"

@blobs@
extern "C" {
@declarations@}

namespace sluice::web_assets {

std::span<const asset> all_assets() {
  static constexpr asset all[] = {
@rows@  };
  return all;
}

}  // namespace sluice::web_assets
]])
  set_source_files_properties(${table} PROPERTIES OBJECT_DEPENDS "${contents}")
  target_sources(${target} PRIVATE ${table})
endfunction()
