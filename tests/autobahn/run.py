#!/usr/bin/env python3
"""Runs the Autobahn WebSocket cases with the client, and also checks its bytes on the wire.

    tests/autobahn/run.py [--client PATH] [--jobs N] [--cases '6.4.*'] [--strict] [--wire]

The fuzzing server is kosoku, which runs the original case files. It is installed from PyPI into
build/venv-autobahn. Each case has its own client process, started as `CLIENT URL`, so a crash
affects only one case. The client must echo every message until the connection ends, and exit with
0. A relay between client and server passes on all bytes unchanged, and wire.py checks them, because
the server does not check everything.

A case has three checks: the suite's verdict, the exit status, and the bytes on the wire. A case
without a verdict has failed. The report is build/autobahn/report/index.html.
"""

import argparse
import asyncio
import base64
import collections
import contextlib
import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import wire

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REQUIREMENTS = HERE / "requirements.txt"

HOST = "127.0.0.1"
AGENT = "stomp_ws.h"
CHUNK = 256 * 1024

# Groups 12 and 13 test compression, which the library does not support.
GROUPS = {
    "1": ("framing", 16),
    "2": ("pings and pongs", 11),
    "3": ("reserved bits", 7),
    "4": ("opcodes", 10),
    "5": ("fragmentation", 20),
    "6": ("UTF-8", 145),
    "7": ("closing", 37),
    "9": ("limits and speed", 54),
    "10": ("automatic fragmentation", 1),
}

# The suite counts these as passed. NON-STRICT violates a SHOULD. INFORMATIONAL marks the few cases
# whose outcome RFC 6455 leaves open. There is no better verdict for these.
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}
PASSED_STRICTLY = {"OK", "INFORMATIONAL"}

SANITIZER_STATUS = 99
LINES_OF_OUTPUT_SHOWN = 15


class SetupError(Exception):
    """The cases could not be run. The text tells the reason."""


def parse_arguments():
    parser = argparse.ArgumentParser(
        description="Run the Autobahn WebSocket cases against the client.")
    parser.add_argument("--client", type=Path, default=ROOT / "build/autobahn_client",
                        help="the echo client, started with a URL (build/autobahn_client)")
    parser.add_argument("--cases", action="append", metavar="GLOB",
                        help="only the cases that match, such as '6.4.*'; may be repeated")
    parser.add_argument("--jobs", type=int, default=2, metavar="N",
                        help="number of cases at the same time (2)")
    parser.add_argument("--timeout", type=float, default=30, metavar="SECONDS",
                        help="time limit for one case (30)")
    parser.add_argument("--time-limit", type=float, default=300, metavar="SECONDS",
                        help="time limit for all cases (300); cases that have not begun by then "
                             "have failed")
    parser.add_argument("--strict", action="store_true",
                        help="NON-STRICT is a failure, too, and so is a connection that the client"
                             " had to fail, but ended without a close code")
    parser.add_argument("--wire", action="store_true",
                        help="keep a list of all frames of each case in OUT/wire")
    parser.add_argument("--out", type=Path, default=ROOT / "build/autobahn",
                        help="the folder for reports and logs (build/autobahn)")
    parser.add_argument("--venv", type=Path, default=ROOT / "build/venv-autobahn",
                        help="the folder in which the suite is installed (build/venv-autobahn)")
    return parser.parse_args()


def run_or_explain(*command):
    """Returns the output of a command that must succeed."""
    try:
        done = subprocess.run(command, check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        raise SetupError(f"{command[0]} cannot be started: {error.strerror}") from error
    if done.returncode:
        line = shlex.join(str(word) for word in command)
        raise SetupError(f"`{line}` failed with {done.returncode}:\n{done.stdout.rstrip()}")
    return done.stdout


def install_suite(venv):
    """Installs the suite into a virtual environment, unless the same suite is installed already."""
    # This file is written last. If an installation was interrupted, the next run repeats it.
    installed = venv / "installed.txt"
    wanted = f"Python {sys.version}\n{REQUIREMENTS.read_text()}"
    if installed.exists() and installed.read_text() == wanted:
        return
    shutil.rmtree(venv, ignore_errors=True)
    run_or_explain(sys.executable, "-m", "venv", venv)
    run_or_explain(venv / "bin/python", "-m", "pip", "install", "--quiet",
                   "--disable-pip-version-check", "--requirement", REQUIREMENTS)
    installed.write_text(wanted)


def group_of(case_id):
    return case_id.partition(".")[0]


def select_cases(venv, patterns):
    """Returns the ids of the cases to run, in the suite's order."""
    listing = run_or_explain(venv / "bin/python", "-c",
                             "from kosoku.cases import CASES; print(*CASES)")
    known = [case_id for case_id in listing.split() if group_of(case_id) in GROUPS]
    counts = collections.Counter(map(group_of, known))
    for group, (_, expected) in GROUPS.items():
        if counts[group] != expected:
            raise SetupError(
                f"the suite has {counts[group]} cases in group {group}, not {expected}")
    chosen = [case_id for case_id in known
              if any(fnmatch.fnmatchcase(case_id, pattern) for pattern in patterns or ["*"])]
    if not chosen:
        raise SetupError(f"no case matches {' or '.join(patterns)}")
    return chosen


class Server:
    """The fuzzing server. It numbers its cases from 1, in their order."""

    def __init__(self, process, log, report):
        self.process = process
        self.log = log
        self.report = report
        self.port = None

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls, venv, case_ids, out):
        log, report = out / "server.log", out / "report"
        includes = [word for case_id in case_ids for word in ("--include", case_id)]
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                venv / "bin/kosoku", "--mode", "fuzzingserver", "--outdir", report, *includes,
                f"{HOST}:0", stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        server = cls(process, log, report)
        try:
            await server._wait_for_port()
            yield server
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _wait_for_port(self, seconds=20, pause=0.05):
        """The server listens on a free port and prints it in its first line."""
        for _ in range(int(seconds / pause)):
            named = re.search(r"listening on \S+:(\d+)\s", self.log.read_text(errors="replace"))
            if named:
                self.port = int(named[1])
                return
            if self.process.returncode is not None:
                break
            await asyncio.sleep(pause)
        raise SetupError(f"the fuzzing server did not start:\n{self.log.read_text()}")

    async def finish(self, seconds=60):
        """Requests the report, after which the server ends. Returns the report's index.

        The index contains the two verdicts of each case that was begun, and the file with the
        details.
        """
        try:
            await asyncio.wait_for(self._ask_for_report(), seconds)
            await asyncio.wait_for(self.process.wait(), seconds)
            return json.loads((self.report / "index.json").read_text()).get(AGENT, {})
        except FileNotFoundError:
            # if no case was begun, the server writes no report
            return {}
        except (OSError, ValueError, asyncio.TimeoutError) as error:
            raise SetupError(f"the fuzzing server wrote no report ({error!r}):\n"
                             f"{self.log.read_text(errors='replace')}") from error

    async def _ask_for_report(self):
        """Opens the URL that means "all done", and waits until the server closes the connection."""
        key = base64.b64encode(os.urandom(16)).decode()
        reader, writer = await asyncio.open_connection(HOST, self.port)
        writer.write((f"GET /updateReports?agent={AGENT} HTTP/1.1\r\n"
                      f"Host: {HOST}:{self.port}\r\n"
                      "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                      f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()


class Relay:
    """A listener for one case. It connects the client to the server and checks the bytes."""

    def __init__(self, server_port, target, log):
        self.server_port = server_port
        self.target = target
        self.log = log
        self.conversations = []
        self.port = None
        self._tasks = []
        self._writers = []

    async def __aenter__(self):
        self._listener = await asyncio.start_server(self._join, HOST, 0, limit=CHUNK)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._listener.close()
        # A relay ends when its connections are lost. asyncio would print a traceback if the
        # callback of a listener is cancelled.
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def drain(self, seconds=5):
        """Waits until the connections have ended, which they do when the client's process has
        ended."""
        if self._tasks:
            ended, _ = await asyncio.wait(self._tasks, timeout=seconds)
            for task in ended:
                task.result()  # An error in the checking code must not count as a correct wire.

    def faults(self):
        """The faults on the wire, one sentence each."""
        if len(self.conversations) != 1:
            return [f"the client connected {len(self.conversations)} times"]
        return self.conversations[0].faults()

    async def _join(self, client_reader, client_writer):
        self._tasks.append(asyncio.current_task())
        self._writers.append(client_writer)
        conversation = wire.Conversation(f"{HOST}:{self.port}", self.target, self.log)
        self.conversations.append(conversation)
        # If the server is gone, its cases have no verdict. The client's connection is closed here.
        with contextlib.closing(client_writer), contextlib.suppress(OSError):
            server_reader, server_writer = await asyncio.open_connection(
                HOST, self.server_port, limit=CHUNK)
            self._writers.append(server_writer)
            with contextlib.closing(server_writer):
                await asyncio.gather(
                    pump(client_reader, server_writer, conversation.from_client),
                    pump(server_reader, client_writer, conversation.from_server))


async def pump(reader, writer, watch):
    """Passes on bytes until their sender ends, and then the end itself.

    If one side breaks the connection, the other side is closed. Otherwise a client that still sends
    to a lost server would wait for its time-out.
    """
    try:
        while data := await reader.read(CHUNK):
            watch(data)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()


class Case:
    """One case: the result of the client's process, and the observations on the wire."""

    def __init__(self, case_id, number):
        self.id = case_id
        self.number = number
        self.exit_fault = "it was not begun within the time limit"
        self.wire_faults = ["nothing was sent"]
        self.conversations = []
        self.output = None

    async def run(self, arguments, server_port):
        target = f"/runCase?case={self.number}&agent={AGENT}"
        self.output = arguments.out / "output" / f"{self.id}.txt"
        frames = arguments.out / "wire" / f"{self.id}.txt"
        with frames.open("w") if arguments.wire else contextlib.nullcontext() as log:
            async with Relay(server_port, target, log) as relay:
                await self._run_client(
                    arguments.client, f"ws://{HOST}:{relay.port}{target}", arguments.timeout)
                await relay.drain()
                self.conversations = relay.conversations
                self.wire_faults = relay.faults()

    async def _run_client(self, client, url, seconds):
        try:
            with self.output.open("wb") as output:
                process = await asyncio.create_subprocess_exec(
                    client, url, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        except OSError as error:
            raise SetupError(f"{client} cannot be started: {error.strerror}") from error
        try:
            self.exit_fault = explain_status(await asyncio.wait_for(process.wait(), seconds))
        except asyncio.TimeoutError:
            self.exit_fault = f"the client did not end within {seconds:g} seconds"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def last_output(self):
        """The end of the client's output, where a sanitizer prints its report."""
        if self.output is None:
            return []
        return self.output.read_text(errors="replace").splitlines()[-LINES_OF_OUTPUT_SHOWN:]


def explain_status(status):
    """The fault that an exit status shows, or None."""
    if status == 0:
        return None
    if status == SANITIZER_STATUS:
        return f"the client exited with {status}: a sanitizer found an error"
    if status < 0:
        return f"the client was killed by {signal.Signals(-status).name}"
    return f"the client exited with {status}"


class Verdict:
    """The suite's verdict on a case: for the messages, and for the closing of the connection."""

    def __init__(self, server, entry):
        self.behavior = entry["behavior"]
        self.closing = entry["behaviorClose"]
        self.details = json.loads((server.report / entry["reportfile"]).read_text())

    @property
    def label(self):
        """One word if both verdicts are equal, else both verdicts."""
        if self.behavior == self.closing:
            return self.behavior
        return f"{self.behavior}/{self.closing}"

    def explanation(self):
        results = (self.details[name].rstrip(".") for name in ("result", "resultClose"))
        return "; ".join(dict.fromkeys(results))

    def fault(self, strict):
        """The reason why this is not a pass, or None."""
        passed = PASSED_STRICTLY if strict else PASSED
        if not {self.behavior, self.closing} <= passed:
            return f"{self.label}: {self.explanation()}"
        # The suite accepts that a client only drops the connection after a protocol error. RFC 6455
        # (7.1.7) requires a close frame, because only that tells the other side what was wrong.
        by_client = self.details["expectedClose"].get("closedByMe") is False
        if strict and by_client and self.details["remoteCloseCode"] is None:
            return "the client failed the connection without a close code"
        return None


async def run_all(cases, arguments, server_port):
    """Runs the cases, `--jobs` at a time. Cases that have not begun when the time is over keep
    their state."""
    waiting = iter(cases)
    end = asyncio.get_running_loop().time() + arguments.time_limit

    async def work():
        for case in waiting:
            if asyncio.get_running_loop().time() > end:
                return
            await case.run(arguments, server_port)

    await asyncio.gather(*(work() for _ in range(arguments.jobs)))


def judge_case(case, verdict, strict):
    """The three checks of a case: the fault of each, or None."""
    suite_fault = verdict.fault(strict) if verdict else "the suite has no verdict"
    return [suite_fault, case.exit_fault, "; ".join(case.wire_faults) or None]


def judge_run(cases):
    """The checks that need all cases together: random values must not repeat."""
    clients = [talk.client for case in cases for talk in case.conversations]
    handshake_keys = [client.handshake_key for client in clients if client.handshake_key]
    return ["; ".join(faults) or None for faults in (
        wire.masking_key_faults([client.masking_keys for client in clients]),
        wire.handshake_key_faults(handshake_keys))]


def print_groups(cases, verdicts):
    for group, (name, _) in GROUPS.items():
        members = [case for case in cases if group_of(case.id) == group]
        if members:
            labels = collections.Counter(
                verdicts[case.id].label if case.id in verdicts else "no verdict"
                for case in members)
            counts = ", ".join(f"{count} {label}" for label, count in labels.most_common())
            print(f"group {group}, {name}: {len(members)} cases: {counts}")
    clean = sum(not case.wire_faults for case in cases)
    print(f"wire: {len(cases)} cases: {clean} clean")


def report(cases, verdicts, strict):
    """Prints the results and returns the number of failed checks."""
    print_groups(cases, verdicts)
    for case in cases:
        verdict = verdicts.get(case.id)
        if verdict and verdict.label != "OK" and not verdict.fault(strict):
            print(f"{case.id}: {verdict.label}: {verdict.explanation()}")

    passed = failed = 0
    for case in cases:
        faults = judge_case(case, verdicts.get(case.id), strict)
        passed += faults.count(None)
        for fault in filter(None, faults):
            failed += 1
            print(f"FAILED {case.id}: {fault}")
        if case.exit_fault:
            for line in case.last_output():
                print(f"    {line}")
    for fault in judge_run(cases):
        if fault:
            failed += 1
            print(f"FAILED all cases together: {fault}")
        else:
            passed += 1
    print(f"{passed} passed, {failed} failed")
    return failed


async def run(arguments):
    """Runs and checks everything. Returns the number of failed checks."""
    case_ids = select_cases(arguments.venv, arguments.cases)
    # Remove the results of an earlier run.
    for name in ("report", "output", "wire"):
        shutil.rmtree(arguments.out / name, ignore_errors=True)
        (arguments.out / name).mkdir(parents=True)
    cases = [Case(case_id, number) for number, case_id in enumerate(case_ids, 1)]
    async with Server.start(arguments.venv, case_ids, arguments.out) as server:
        # SIGTERM must end the program as Ctrl-C does: through the `finally` blocks that end clients
        # and server.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
        await run_all(cases, arguments, server.port)
        index = await server.finish()
        verdicts = {case_id: Verdict(server, entry) for case_id, entry in index.items()}
    return report(cases, verdicts, arguments.strict)


def main():
    arguments = parse_arguments()
    try:
        if not os.access(arguments.client, os.X_OK):
            raise SetupError(f"there is no client program at {arguments.client}")
        install_suite(arguments.venv)
        return 1 if asyncio.run(run(arguments)) else 0
    except SetupError as error:
        print(f"{error}\n0 passed, 1 failed")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


if __name__ == "__main__":
    sys.exit(main())
