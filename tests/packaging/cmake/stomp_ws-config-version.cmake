# Reads the version from the header. Before 1.0 a minor version may break compatibility, later only
# a major version.
file(STRINGS "${CMAKE_CURRENT_LIST_DIR}/../../../include/stomp_ws.h" stomp_ws_line
    REGEX "^#define STOMP_WS_VERSION \"")
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" PACKAGE_VERSION "${stomp_ws_line}")
string(REGEX MATCH "^(0\\.[0-9]+|[1-9][0-9]*)" stomp_ws_series "${PACKAGE_VERSION}")

if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
endif()
if(PACKAGE_FIND_VERSION VERSION_LESS_EQUAL PACKAGE_VERSION
        AND "${PACKAGE_FIND_VERSION}." MATCHES "^${stomp_ws_series}\\.")
    set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
