"""stomp_ws.h for Conan 2: `conan create tests/packaging/conan`."""

import os
import re

from conan import ConanFile
from conan.tools.files import copy, load

ROOT = os.path.join("..", "..", "..")


class StompWs(ConanFile):
    name = "stomp_ws"
    description = "STOMP over WebSocket for C, in one header"
    license = "MIT OR Unlicense"
    topics = ("stomp", "websocket", "header-only", "messaging")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"with_bearssl": [True, False]}
    default_options = {"with_bearssl": False}
    no_copy_source = True

    def set_version(self):
        header = load(self, os.path.join(self.recipe_folder, ROOT, "stomp_ws.h"))
        self.version = re.search(r'#define STOMP_WS_VERSION "(.*)"', header)[1]

    def export_sources(self):
        for name in ("stomp_ws.h", "LICENSE"):
            copy(self, name, os.path.join(self.recipe_folder, ROOT), self.export_sources_folder)

    def package(self):
        copy(self, "stomp_ws.h", self.source_folder, os.path.join(self.package_folder, "include"))
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))

    def package_id(self):
        self.info.clear()

    def package_info(self):
        self.cpp_info.bindirs = self.cpp_info.libdirs = []
        self.cpp_info.system_libs = ["pthread"]
        if self.options.with_bearssl:  # libraries of the system, for which there is no package
            self.cpp_info.defines = ["STOMP_WS_BEARSSL"]
            self.cpp_info.system_libs.append("bearssl")
