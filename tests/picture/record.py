#!/usr/bin/env python3
"""Records a session at the terminal while it runs, and draws it as an SVG. Its lines appear at the
times at which they were printed. Uses only the loopback interface.

    tests/picture/record.py PICTURE

The session shows three things: a notification arrives; the broker dies and comes back; a URL is
wrong.
"""

import io
import os
import pathlib
import re
import subprocess
import sys
import time

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

BUILD = pathlib.Path("build")
WIDTH = 100
TOPIC = "/topic/notifications"
LIMIT = 30  # time limit in seconds for an event
READING = 0.9  # seconds that a reader needs for a line that appears immediately


class Recording:
    """Lines with the time of each. All output goes through one pipe, as on a terminal."""

    def __init__(self):
        self.lines, self._now = [], 0.0
        self._output, self.input = os.pipe()
        os.set_blocking(self._output, False)
        self._rest, self.processes = "", []

    def show(self, text, style="", pause=READING):
        self._now += pause
        self.lines.append((self._now, Text(text, style=style)))

    def run(self, command, shown):
        """Starts a command, and shows it as it would be typed."""
        self.show(f"$ {shown}", "bold green")
        process = subprocess.Popen([str(BUILD / command[0]), *command[1:]],
                                   stdin=subprocess.DEVNULL, stdout=self.input, stderr=self.input)
        self.processes.append(process)
        return process

    def take(self, unseen=None):
        """Shows what has been printed since the last call, except lines with these words. Returns
        all of it."""
        try:
            self._rest += os.read(self._output, 65536).decode()
        except BlockingIOError:
            time.sleep(0.02)
        *lines, self._rest = self._rest.split("\n")
        for line in lines:
            if unseen is None or unseen not in line:
                self.show(line)
        return lines

    def wait_for(self, words):
        """Shows what is printed, until these words appear."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            if any(words in line for line in self.take()):
                return
        sys.exit(f"picture: nothing printed {words!r}")

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()


def broker(port="0"):
    """Starts a broker that is not shown. Returns its URL."""
    process = subprocess.Popen([str(BUILD / "mini_broker"), "--quiet", "--port", port],
                               stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split()[-1]


def wait_for_subscriber(recording, url):
    """Sends until the client prints the text, because a topic stores nothing. Shows nothing of
    this."""
    words = "Is anybody there?"
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        subprocess.run([str(BUILD / "stomp_cat"), url, "-d", TOPIC, "-m", words], check=False,
                       timeout=LIMIT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.2)
        if any(words in line for line in recording.take(unseen=words)):
            return
    sys.exit("picture: the client did not subscribe")


def publish(recording, url, text):
    recording.run(["stomp_cat", url, "-d", TOPIC, "-m", text],
                  f"stomp_cat $url -d {TOPIC} -m '{text}'").wait(LIMIT)
    recording.wait_for(text)


def play(recording):
    server, url = broker()
    recording.processes.append(server)
    recording.show(f"$ url={url}", "bold green")
    client = recording.run(["minimal", url], "minimal $url &")
    wait_for_subscriber(recording, url)
    publish(recording, url, "Build 4711 is green")
    publish(recording, url, "Café au lait: 3,50 €")

    recording.show("")
    recording.show("# the broker is killed, and comes back", "dim")
    server.kill()
    server.wait()
    recording.wait_for("trying again")
    recording.processes.append(broker(re.search(r":(\d+)/", url)[1])[0])
    wait_for_subscriber(recording, url)
    publish(recording, url, "Still here, and still subscribed")
    client.kill()

    recording.show("")
    recording.show("# the URL of a Spring endpoint, one word too short", "dim")
    wrong = url.removesuffix("/websocket")
    recording.run(["minimal", wrong], f"minimal {wrong}")
    recording.wait_for("/websocket")
    recording.show("", pause=2 * READING)


def rows(recording):
    """The lines as the terminal wraps them, each with its time."""
    console = Console(width=WIDTH, file=io.StringIO())
    for at, text in recording.lines:
        for row in text.wrap(console, WIDTH) or [Text()]:
            yield at, row


def draw(recording, path):
    console = Console(width=WIDTH, record=True, file=io.StringIO(), force_terminal=True)
    times = []
    for at, row in rows(recording):
        console.print(row, highlight=False, no_wrap=True)
        times.append(at)
    svg = console.export_svg(title="stomp_ws.h", theme=MONOKAI, unique_id="picture")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg,
    flags=re.DOTALL)  # nothing is loaded from other servers
    svg = svg.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace")
    svg = re.sub(r'(<text class="[^"]*") (x="[^"]*" y="[^"]*" textLength="[^"]*" '
                 r'clip-path="url\(#picture-line-(\d+)\)")',
                 lambda m: f'{m[1]} style="animation-delay: {times[int(m[3])]:.1f}s" {m[2]}', svg)
    appear = ("@media (prefers-reduced-motion: no-preference) { .picture-matrix text { "
              "animation: appear .2s both } } @keyframes appear { from { opacity: 0 } }")
    svg = svg.replace("</style>", f"    {appear}\n    </style>", 1)
    path.write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE), encoding="utf-8")


def main():
    recording = Recording()
    try:
        play(recording)
    finally:
        recording.end()
    draw(recording, pathlib.Path(sys.argv[1]))
    print(f"{sys.argv[1]}: {len(recording.lines)} lines")


main()
