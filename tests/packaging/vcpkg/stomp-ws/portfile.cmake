# An overlay port. It installs the header of the checkout that contains it:
#     vcpkg install stomp-ws --overlay-ports=stomp_ws/tests/packaging/vcpkg
# In a registry, vcpkg_from_git would set SOURCE_PATH, and the rest would stay the same.
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../../.." ABSOLUTE)

file(INSTALL "${SOURCE_PATH}/stomp_ws.h" DESTINATION "${CURRENT_PACKAGES_DIR}/include")
file(INSTALL
    "${SOURCE_PATH}/tests/packaging/cmake/stomp_ws-config.cmake"
    "${SOURCE_PATH}/tests/packaging/cmake/stomp_ws-config-version.cmake"
    DESTINATION "${CURRENT_PACKAGES_DIR}/share/cmake/stomp_ws")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
