#!/usr/bin/env python3
"""Asks clangd what an editor shows when the pointer rests on public symbols of stomp_ws.h.

    tests/tools/check_hover.py [SYMBOL]...      # prints what is shown, and checks it

A program that uses each symbol is opened, as an editor does. What is shown must hold the first
words of the comment at the symbol's declaration.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# How a program uses the symbol.
USES = {
    "stws_send": "stws_send(client, \"/topic/a\", \"x\", 1);",
    "stws_next": "stws_next(client, &event, -1);",
    "heartbeat_in_ms": "options.heartbeat_in_ms = 1000;",
    "retry_ms": "event.retry_ms = 0;",
    "STWS_ACK_ON_RETURN": "subscribe.ack_on = STWS_ACK_ON_RETURN;",
    "STWS_ERR_LOST": "event.result = STWS_ERR_LOST;",
    "stws_message_fn": "stws_message_fn function = 0;",
    "stws_queue_pop": "stws_queue_pop(0, 0, 0);",
}
PROGRAM = """#include "{header}"
void use(stws *client, stws_options options, stws_event event, stws_subscribe_options subscribe);
void use(stws *client, stws_options options, stws_event event, stws_subscribe_options subscribe) {{
{uses}
}}
"""


class Editor:
    """The editor's end of the Language Server Protocol."""

    def __init__(self):
        # pylint: disable-next=consider-using-with
        self.server = subprocess.Popen(["clangd", "--log=error", "--background-index=false"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.number = 0
        self.ask("initialize", {"processId": None, "rootUri": None, "capabilities": {
            "textDocument": {"hover": {"contentFormat": ["plaintext"]}}}})
        self.tell("initialized", {})

    def write(self, message):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.server.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.server.stdin.flush()

    def read(self):
        length = 0
        while (line := self.server.stdout.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if not length:
            sys.exit("clangd has ended")
        return json.loads(self.server.stdout.read(length))

    def tell(self, method, parameters):
        self.write({"method": method, "params": parameters})

    def ask(self, method, parameters):
        self.number += 1
        self.write({"id": self.number, "method": method, "params": parameters})
        while (answer := self.read()).get("id") != self.number:
            pass
        return answer["result"]

    def end(self):
        self.ask("shutdown", None)
        self.tell("exit", None)
        self.server.wait()


def hover(symbols):
    """What is shown for each symbol."""
    text = PROGRAM.format(header=ROOT / "stomp_ws.h",
                          uses="\n".join(f"    {USES[symbol]}" for symbol in symbols))
    uri = (ROOT / "build" / "hover.c").as_uri()
    editor = Editor()
    editor.tell("textDocument/didOpen", {"textDocument": {
        "uri": uri, "languageId": "c", "version": 1, "text": text}})
    shown = {}
    for symbol in symbols:
        line = next(n for n, code in enumerate(text.splitlines()) if USES[symbol] in code)
        column = text.splitlines()[line].index(symbol)
        answer = editor.ask("textDocument/hover", {
            "textDocument": {"uri": uri}, "position": {"line": line, "character": column}})
        shown[symbol] = answer["contents"]["value"] if answer else ""
    editor.end()
    return shown


def first_words(symbol):
    """The first words of the comment at a declaration: before it, or behind it in its line."""
    text = (ROOT / "stomp_ws.h").read_text()
    text = text[text.index("#ifndef STOMP_WS_H"):text.index("#ifdef STOMP_WS_IMPLEMENTATION\n")]
    declaration = re.search(
        rf"^(?:STOMP_WS_API .*\b{symbol}\(|typedef .*\(\*{symbol}\)|#define {symbol}\b"
        rf"|    (?:[\w ]*[ *])?\b{symbol}(?: = -?\d+)?[;,]?(?= /\*|$)).*", text, re.MULTILINE)
    behind = re.search(r"/\* (.*) \*/", declaration[0])
    if behind:
        return behind[1]
    before = text[:declaration.start()].rstrip()
    assert before.endswith("*/"), symbol
    return " ".join(before[before.rindex("/*") + 3:-3].split())[:50]


def main():
    symbols = sys.argv[1:] or list(USES)
    failed = 0
    for symbol, shown in hover(symbols).items():
        words = first_words(symbol)
        is_good = words in " ".join(shown.split())
        failed += not is_good
        if not is_good or sys.argv[1:]:
            print(f"{'' if is_good else 'FAILED '}{symbol}: {shown}\n")
    print(f"{len(symbols) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
