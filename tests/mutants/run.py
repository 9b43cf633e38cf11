#!/usr/bin/env python3
"""Defects of defects.py, put into a copy of stomp_ws.h one at a time: a test has to fail for each.

    run.py [SECTION | NAME]...      all defects, or those of a section, or those with that name

tests/sim/mutants.py has defects of a session, for the simulator. These here are for the other tests:
unit, conformance and fault, and tests/tls for the sections "tls" and "bearssl". They run without sanitizers first, which
is quick to build, and then, if all have passed, with ASan and UBSan. A defect counts as found when a test
fails, crashes or hangs. One that does not apply any more, or does not compile, is a
failure: the code has moved on, and the defect has to follow it.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

from defects import DEFECTS

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "sim"))
from mutants import edit, replace_once  # pylint: disable=wrong-import-position

OUT = ROOT / "build" / "mutants" / "tests"
SECONDS = 100  # for one test program
FLAGS = ["-O0", "-g", "-w"]
STAGES = ([], ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"])
TLS_SECTIONS = ("tls", "bearssl")
TLS = ["build/bearssl/examples/stomp_cat", "build/bearssl_tsan/tests/tls/threads"]
HAS_IMPLEMENTATION = re.compile("(?m)^#define STOMP_WS_IMPLEMENTATION")

# The test programs that look at a section come first; those that take long come last.
FIRST = {"url": "codecs_url", "handshake": "codecs_http", "websocket": "codecs_ws|codecs_mask|ws_header",
         "frame": "codecs_frame|codecs_diff", "utf8": "utf8", "sha1": "hash", "base64": "hash",
         "dedup": "details|guarantees", "proxy": "proxy", "diagnosis": "diagnosis",
         "attempt": "staying|attempts|resume|details|sockets", "dispatch": "staying", "answer": "staying", "timers": "staying|details", "transport": "sockets|threads",
         "queue": "resume|threads|guarantees", "copy": "memory", "options": "session|names|sizes|manners"}
OTHERS = {"test_stomp_cat", "test_stomp_cat_memory", "test_broker"}  # of other programs than the header
LAST = "calls|notifications|manners|diagnosis|vectors|utf8|differential"


def compile_c(source, program, *words):
    """None, or what the compiler says."""
    made = subprocess.run(["cc", *FLAGS, "-o", program, source, *words, "-pthread"], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    return made.stderr if made.returncode else None


def sources(section):
    """The tests, in the order in which they shall run."""
    found = [at for folder in ("unit/test_*", "fault/test_*", "conformance/run_vectors")
             for at in sorted(ROOT.glob(f"tests/{folder}.c")) if at.stem not in OTHERS]
    first = re.compile(FIRST.get(section, "$."))
    last = re.compile(LAST)
    return sorted(found, key=lambda at: 0 if first.search(at.stem) else 2 if last.search(at.stem) else 1)


def implements(source):
    return HAS_IMPLEMENTATION.search(source.read_text())


def prepare():
    """What does not depend on the implementation is compiled once: a sentence about what failed."""
    OUT.mkdir(parents=True, exist_ok=True)
    linked = [source for source in sources("") if not implements(source)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = pool.map(lambda source: compile_c(source, OUT / f"{source.stem}.o", "-I.", "-c"), linked)
    made = subprocess.run(["make", "-s", "build/mini_broker", *TLS], cwd=ROOT, check=False)
    return [text for text in wrong if text] + ["make"] * bool(made.returncode)


def run(command):
    """None when it passes, or how it fails."""
    environment = os.environ | {"MINI_BROKER": str(ROOT / "build/mini_broker")}
    try:
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace",
                             timeout=SECONDS, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return f"not done in {SECONDS} s"
    if ran.returncode == 0:
        return None
    said = re.search("(?m)^FAILED .*|ERROR: AddressSanitizer: [a-z-]*|runtime error: .*|^HANGS",
                     ran.stdout + ran.stderr)
    return said.group(0)[:100] if said else f"status {ran.returncode}"


class Unusable(Exception):
    """The header with the defect cannot be tested."""


def test_programs(section, place, stage):
    """(Name, command) of each test program, built against the header in that place when it is its turn."""
    def build(*words):
        said = compile_c(*words, *stage)
        if said:
            raise Unusable(f"does not compile\n{said[:500]}")

    include = [f"-I{place}", "-I."]
    if section in TLS_SECTIONS:
        build("tests/fault/test_tls.c", place / "test_tls", *include)
        yield "test_tls", [place / "test_tls"]
        build("tests/tls/test_der.c", place / "test_der", *include, "-DSTOMP_WS_BEARSSL", "-lbearssl")
        yield "test_der", [place / "test_der"]
        build("tests/tls/probe.c", place / "probe", *include, "-lbearssl")
        yield "tests/tls", [sys.executable, "tests/tls/run.py", "bearssl", place / "probe", *TLS]
        return
    build("tests/implementation.c", place / "implementation.o", *include, "-c")
    for source in sources(section):
        program = place / source.stem
        if implements(source):
            build(source, program, *include)
        else:
            build(OUT / f"{source.stem}.o", program, place / "implementation.o")
        yield source.stem, [program, *["tests/conformance"] * (source.stem == "run_vectors")]
        program.unlink()


def first_failure(section, header, place):
    """"test_x: FAILED test_y", or None when all pass."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "stomp_ws.h").write_text(header)
    for stage in STAGES:
        for name, command in test_programs(section, place, stage):
            failure = run(command)
            if failure:
                return f"{name}: {failure}"
    return None


def plant(header, function, old, new):
    """The header with that defect, or None if it does not apply."""
    if function:
        return edit(header, function, old, new)
    return replace_once(header, old, new)


def is_found(section, name, edits):
    """Does a test fail?"""
    header = (ROOT / "stomp_ws.h").read_text()
    for function, old, new in edits if isinstance(edits, list) else [edits]:
        header = header and plant(header, function, old, new)
    where = f"{section}: {name}"
    try:
        if not header:
            raise Unusable("does not apply any more")
        failure = first_failure(section, header, OUT / re.sub(r"\W+", "_", where))
    except Unusable as error:
        print(f"FAILED {where}: {error}", flush=True)
        return False
    print(f"{where}: {failure}" if failure else f"FAILED {where}: no test fails", flush=True)
    return bool(failure)


def main():
    everything = [(section, name, edits) for section, defects in DEFECTS.items()
                  for name, edits in defects.items()]
    wanted = sys.argv[1:]
    chosen = [each for each in everything if not wanted or each[0] in wanted or each[1] in wanted]
    wrong = prepare()
    header = (ROOT / "stomp_ws.h").read_text()
    for section in ("tls", ""):  # with no defect at all
        if not wrong and (section != "tls" or any(each[0] in TLS_SECTIONS for each in chosen)):
            failure = first_failure(section, header, OUT / f"none{section}")
            wrong += [f"without a defect: {failure}"] * bool(failure)
    if wrong or not chosen:
        print("\n".join(["FAILED before a defect was planted", *wrong]), "\n0 passed, 1 failed", sep="")
        return 1
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda each: is_found(*each), chosen))
    print(f"{found.count(True)} passed, {found.count(False)} failed")
    return 1 if False in found else 0


if __name__ == "__main__":
    sys.exit(main())
