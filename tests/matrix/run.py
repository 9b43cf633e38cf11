#!/usr/bin/env python3
"""The header on other systems, processors and C libraries: which of them it compiles for, and where
its tests run.

    tests/matrix/run.py [NAME...]

Each target compiles the header strictly with each set of configuration macros, and links a program.
If Debian has an emulator, or none is needed, the unit and fault tests and the conformance vectors
are built for the target and run. zig comes from PyPI (build/venv-matrix), everything else from
Debian. A missing tool is a failure. The last line counts the compilations and the checks of the
tests.
"""

import concurrent.futures
import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "build" / "matrix"
PROGRAM = "tests/compile/one_call.c"
ZIG = [str(ROOT / "build/venv-matrix/bin/python"), "-m", "ziglang", "cc"]
STRICT = [*(ROOT / "tests/warnings").read_text().split(), "-Wstrict-prototypes", "-Werror"]
SETS = {"all": [], "no SIMD": ["-DSTOMP_WS_NO_SIMD"], "no threads": ["-DSTOMP_WS_NO_THREADS"],
        "no I/O": ["-DSTOMP_WS_NO_IO"]}
STEP_SECONDS = 280
WORKERS = 2

UNIT = sorted(ROOT.glob("tests/unit/test_*.c"))
FAULT = sorted(ROOT.glob("tests/fault/test_*.c"))
VECTORS = ROOT / "tests/conformance/run_vectors.c"
IMPLEMENTATION = ROOT / "tests/implementation.c"  # for tests without their own implementation


def without(tests, *words):
    return [test for test in tests if not any(word in test.read_text() for word in words)]


# Tests that start programs in build/ by name are left out, because these programs are for this
# machine.
EVERYTHING = [*without(UNIT + FAULT, "build/"), VECTORS]
# NO_IO leaves only the codecs. NO_THREADS refuses a client without `single_thread`. So it leaves
# out tests that choose this option themselves, and stomp_cat's --request.
CODECS = [*without(UNIT, "STWS_IDLE", "stws_options", "stws_p_page"), VECTORS]
SINGLE = [*without(UNIT + FAULT, "build/", "single_thread", "stws_options_default",
                   "test_defaults.c", "stomp_cat.c"), VECTORS]


@dataclasses.dataclass
class Target:
    """tests=None: only compile. emulator: the command that runs a program."""

    name: str
    compiler: list
    sets: tuple = tuple(SETS)
    link: bool = True
    tests: list = None
    emulator: list = dataclasses.field(default_factory=list)
    flags: list = dataclasses.field(default_factory=list)  # for building the programs
    warnings: list = dataclasses.field(default_factory=lambda: STRICT)
    why_not_run: str = ""
    implementation: concurrent.futures.Future = None  # set when a build has begun: its error, or ""


def zig(name, target, *flags, **settings):
    return Target(name, [*ZIG, "-target", target, *flags], **settings)


def emulated(name, triple, emulator, *flags):
    # static, because qemu-i386 7.2 hangs in pthread_create of a dynamic program; so no target needs
    # -L
    return Target(name, [f"{triple}-gcc"], tests=EVERYTHING, emulator=[emulator],
                  flags=["-static", *flags])


NO_EMULATOR = "Debian has no emulator for it"
NO_LIBRARY = "zig would have to build its C library"  # half a minute to a minute for each
NO_IO = ("no I/O",)
# So that readdir in the vectors works on a disk with 64-bit inodes.
LARGE_FILES = "-D_FILE_OFFSET_BITS=64"
TARGETS = [
    emulated("Linux s390x, glibc: 64 bits, big-endian", "s390x-linux-gnu", "qemu-s390x"),
    emulated("Linux aarch64, glibc: NEON", "aarch64-linux-gnu", "qemu-aarch64"),
    emulated("Linux powerpc, glibc: 32 bits, big-endian", "powerpc-linux-gnu", "qemu-ppc",
             LARGE_FILES),
    emulated("Linux arm, glibc: 32 bits, Thumb-2", "arm-linux-gnueabihf", "qemu-arm", LARGE_FILES),
    emulated("Linux i386, glibc: 32 bits", "i686-linux-gnu", "qemu-i386", LARGE_FILES),
    Target("Linux x86-64, musl", ["musl-gcc"], tests=EVERYTHING, flags=["-static"]),
    Target("Linux x86-64, glibc, tcc", ["tcc"], tests=EVERYTHING, warnings=["-Wall", "-Werror"]),
    Target("Linux x86-64, glibc, no SIMD", ["gcc"], ("no SIMD",), tests=EVERYTHING,
           flags=SETS["no SIMD"]),
    Target("Linux x86-64, glibc, no threads", ["gcc"], ("no threads",), tests=SINGLE,
           flags=SETS["no threads"]),
    Target("Linux x86-64, glibc, no I/O", ["gcc"], NO_IO, tests=CODECS, flags=SETS["no I/O"]),
    zig("Linux aarch64, musl", "aarch64-linux-musl", link=False, why_not_run=NO_LIBRARY),
    zig("Linux arm, musl: 32 bits", "arm-linux-musleabihf", link=False, why_not_run=NO_LIBRARY),
    zig("Linux thumb, musl: 32 bits", "thumb-linux-musleabihf", link=False, why_not_run=NO_LIBRARY),
    zig("Linux riscv64, musl", "riscv64-linux-musl", link=False, why_not_run=NO_LIBRARY),
    zig("Linux riscv32, musl: 32 bits", "riscv32-linux-musl", link=False, why_not_run=NO_LIBRARY),
    zig("macOS arm64", "aarch64-macos", why_not_run=NO_EMULATOR),
    zig("macOS x86-64", "x86_64-macos", why_not_run=NO_EMULATOR),
    zig("FreeBSD x86-64", "x86_64-freebsd", why_not_run=NO_EMULATOR),
    zig("FreeBSD aarch64", "aarch64-freebsd", why_not_run=NO_EMULATOR),
    zig("NetBSD x86-64", "x86_64-netbsd", why_not_run=NO_EMULATOR),
    zig("OpenBSD x86-64", "x86_64-openbsd", why_not_run=NO_EMULATOR),
    zig("OpenBSD aarch64", "aarch64-openbsd", why_not_run=NO_EMULATOR),
    zig("Windows x86-64", "x86_64-windows-gnu", sets=NO_IO, link=False, why_not_run=NO_EMULATOR),
    zig("WASI wasm32", "wasm32-wasi", sets=NO_IO, link=False, why_not_run=NO_EMULATOR),
    zig("no system, Cortex-M0 (Thumb)", "thumb-freestanding-eabi", "-mcpu=cortex_m0", "-isystem",
        "tests/matrix/freestanding", sets=NO_IO, link=False, why_not_run="no system to run on"),
]

# Targets that do not work. Each is tried, and printed with the first words of the compiler's error.
TRIED = [
    zig("Windows x86-64, with I/O", "x86_64-windows-gnu"),
    zig("WASI wasm32, with I/O", "wasm32-wasi"),
    zig("Android aarch64", "aarch64-linux-android"),
    zig("DragonFly BSD x86-64", "x86_64-dragonfly"),
    zig("illumos x86-64", "x86_64-illumos"),
    zig("Haiku x86-64", "x86_64-haiku"),
]


@dataclasses.dataclass
class Outcome:
    passed: int
    failed: int
    text: str = ""
    skipped: int = 0

    def line(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def run(*command):
    """Runs a command with a time limit. Returns its status and output."""
    try:
        done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True,
                              text=True, errors="replace", check=False, timeout=STEP_SECONDS,
                              stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return 124, f"not done after {STEP_SECONDS} s"
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout + done.stderr


def place(target, name):
    folder = OUT / re.sub(r"\W+", "-", target.name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def compile_set(target, name):
    """Compiles one set of macros. The first set is also linked, unless zig would have to build a C
    library for that."""
    what = [] if target.link and name == "all" else ["-c"]
    threads = [] if what else ["-pthread"]
    status, text = run(*target.compiler, *target.warnings, *SETS[name], "-O1", "-I.", *what, "-o",
                       place(target, name.replace("/", "")), PROGRAM, *threads)
    return Outcome(int(not status), int(bool(status)), text if status else "")


def counts(text):
    """Returns passed, failed and skipped from the last line of a test program."""
    found = re.findall(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", text, re.MULTILINE)
    return map(int, found[-1]) if found else (0, 0, 0)


def build(target, *words):
    status, text = run(*target.compiler, *target.flags, "-w", "-O1", "-I.", *words)
    return text or f"status {status}" if status else ""


def own_implementation(test):
    return re.search("^#define STOMP_WS_IMPLEMENTATION", test.read_text(), re.MULTILINE)


def run_test(target, test):
    program = place(target, test.stem)
    linked = [] if own_implementation(test) else [place(target, "implementation.o")]
    text = target.implementation.result() if linked else ""
    text = text or build(target, "-o", program, test, *linked, "-pthread")
    if text:
        return Outcome(0, 1, text)
    arguments = [VECTORS.parent] if test == VECTORS else []
    status, text = run(*target.emulator, program, *arguments)
    passed, failed, skipped = counts(text)
    if not failed and (status or not passed):
        failed, text = 1, f"status {status}\n{text}"
    return Outcome(passed, failed, text if failed or skipped else "", skipped)


def missing(target):
    """Returns a sentence if a compiler or an emulator is not installed."""
    tools = [target.compiler[0], *target.emulator]
    absent = [tool for tool in tools if not shutil.which(tool)]
    return f"not installed: {' '.join(absent)} (.ci/run names the packages)" if absent else ""


def add(outcomes):
    """Adds up the counts of several outcomes."""
    return Outcome(sum(outcome.passed for outcome in outcomes),
                   sum(outcome.failed for outcome in outcomes),
                   skipped=sum(outcome.skipped for outcome in outcomes))


def cell(target, compiled, tested):
    """Returns the two columns of a target."""
    builds, tests = add(compiled), add(tested)
    names = ", ".join(target.sets) if len(target.sets) < len(SETS) else f"all {len(SETS)} sets"
    left = f"{names}{', linked' if target.link and 'all' in target.sets else ''}"
    if builds.failed:
        left = f"{builds.failed} of {builds.passed + builds.failed} failed"
    return left, tests.line() if target.tests else target.why_not_run


def report(target, compiled, tested):
    left, right = cell(target, compiled, tested)
    print(f"{target.name:44} {left:20} {right}", flush=True)
    for outcome in compiled + tested:
        if outcome.failed or outcome.skipped:
            print("    " + "\n    ".join(outcome.text.strip().splitlines()[:12]))


def check(target, pool):
    """The running jobs of a target: compilations and tests."""
    sentence = missing(target)
    if sentence:
        done = concurrent.futures.Future()
        done.set_result(Outcome(0, 1, sentence))
        return [done], []
    compiled = [pool.submit(compile_set, target, name) for name in target.sets]
    if target.tests:  # before the tests in the queue, so no test waits for a job that has not begun
        target.implementation = pool.submit(build, target, "-c", "-o",
                                            place(target, "implementation.o"), IMPLEMENTATION)
    return compiled, [pool.submit(run_test, target, test) for test in target.tests or ()]


def show_tried(pool):
    print("\nTried, but not supported here:")
    for target, future in [(target, pool.submit(compile_set, target, "all")) for target in TRIED]:
        words = re.search(r"error: (.*)", future.result().text)
        print(f"{target.name:44} {words[1] if words else 'it works now: add it to the targets'}")


def main():
    chosen = [target for target in TARGETS
              if not sys.argv[1:] or any(word in target.name for word in sys.argv[1:])]
    outcomes = []
    print(f"{'target':44} {'compiles':20} tests")
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        for target, work in [(target, check(target, pool)) for target in chosen]:
            compiled, tested = ([future.result() for future in part] for part in work)
            report(target, compiled, tested)
            outcomes += compiled + tested
        if not sys.argv[1:]:
            show_tried(pool)
    total = add(outcomes)
    print(total.line())
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
