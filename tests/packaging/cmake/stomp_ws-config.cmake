# For find_package(stomp_ws): finds the header that `make install` installed next to this file.
include(CMakeFindDependencyMacro)
find_dependency(Threads)

get_filename_component(stomp_ws_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET stomp_ws::stomp_ws)
    add_library(stomp_ws::stomp_ws INTERFACE IMPORTED)
    set_target_properties(stomp_ws::stomp_ws PROPERTIES
        INTERFACE_INCLUDE_DIRECTORIES "${stomp_ws_prefix}/include"
        INTERFACE_LINK_LIBRARIES Threads::Threads)
endif()
