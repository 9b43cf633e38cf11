#!/usr/bin/env python3
"""Holds the comments of stomp_ws.h's declarations to what they must say of each public symbol.

    tests/tools/check_interface.py [HEADER]

A comment stands before the declarations that it explains, and is part of the manual that `make
docs` prints. A line in it that begins with a call is the head of an entry, whose text is behind it
or indented below it. What is in no entry is the group's, and holds for each of its calls; so does
what a section begins with. "Said" is what stands in any of these. After STWS_ERR_WS_PROTOCOL, _UTF8
is a code's name, too.
"""

import re
import sys
from pathlib import Path

from check_header import ROOT, Header, functions, report

CALL = re.compile(r"\b(stws_\w+)\(([^()]*)\)")
PROTOTYPE = re.compile(r"^STOMP_WS_API\s+([^;(]*?)\b(stws_\w+)\(([^;]*?)\);", re.MULTILINE)
PARAMETER = re.compile(r"\s*(.*?)\b(\w+)(?:\[\d*\])?$", re.DOTALL)
STRUCT = re.compile(r"^typedef struct (\w+) \{(.*?)\} \1;", re.MULTILINE | re.DOTALL)
TYPE = re.compile(r"^typedef .*?\(\*(stws_\w+)\)|^typedef struct (\w+)(?= \{)", re.MULTILINE)
ENUM = re.compile(r"^enum (\w*) ?\{([^}]*)\}", re.MULTILINE)

# A call may end with any error, where its entry says "the error"; with "an error" it is one of the
# connection or the session, which have sentences of their own. What is the caller's is named.
THE_ERROR = re.compile(r"\b(?:the|another|final|last) error\b")
AN_ERROR = re.compile(r"\ban error\b")
CALLERS = re.compile(r"STWS_CLOSED|STWS_ERR_(?:USAGE|STATE|MEMORY|SPACE|FULL|LIMIT|TIMEOUT|STALE"
                     r"|FRAME_BUILD)")

# How an entry says what comes back: by a value, or by beginning with a name for it.
RESULT = re.compile(r"\b(?:0|1|NULL|STWS_\w+|how many)\b|\"|"
                    r"^(?:An?|The|Octets|Milliseconds|Who|Of) ")
# Parameters that mean the same wherever they stand.
EVERYWHERE = {"client", "clients"}
# What is behind a call, by its name; and what STOMP has a section on.
SPECIFICATIONS = {r"stws_(frame|command)_": r"STOMP 1\.\d", r"stws_utf8_": "RFC 3629",
                  r"stws_(ws|url|http|handshake)_(?!status)": "RFC 6455, section"}
COMMANDS = ("SUBSCRIBE", "UNSUBSCRIBE", "SEND", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT",
            "DISCONNECT")


class Call:
    """A public function with what is said of it."""

    def __init__(self, prototype, comment, section):
        self.result, self.name = prototype[1].strip(), prototype[2]
        parameters = [] if prototype[3] == "void" else prototype[3].split(",")
        self.parameters = [PARAMETER.match(text).group(1, 2) for text in parameters]
        self.heads, self.entry = entry_of(self.name, comment)
        self.group = "\n".join([section, *(text for head, text in comment if not head)])
        self.said = f"{self.entry}\n{self.group}"


class Interface:
    def __init__(self, path):
        header = Header(path)
        begin = header.text.index("#ifndef STOMP_WS_H\n")
        self.text = header.text[begin:header.text.index("#ifdef STOMP_WS_IMPLEMENTATION\n")]
        self.comments = " ".join(re.findall(r"/\*.*?\*/", self.text, re.DOTALL))
        self.calls = [Call(match, blocks(self.comment_before(match)), self.section_of(match))
                      for match in PROTOTYPE.finditer(self.text)]
        self.bodies = {name: "\n".join(header.code_lines[number - 1:number - 1 + lines])
                       for name, number, lines in functions(header)}

    def comment_before(self, match):
        """The last comment of several lines before a match in the text."""
        comments = re.findall(r"/\*.*?\*/", self.text[:match.start()], re.DOTALL)
        return [comment for comment in comments if "\n" in comment][-1]


    def section_of(self, match):
        """The first paragraph of the section that a match lies in."""
        banner = self.text.rindex("/* ==== >>", 0, match.start())
        first = re.compile(r"/\*(?! ====)(.*?)(?:\n\n|\n   stws_|\*/)", re.DOTALL)
        return first.search(self.text, banner)[1]


def blocks(comment):
    """A comment as entries and the rest: (head, text), where the rest has no head."""
    found = [("", "")]
    for line in re.sub(r"^/\*|\*/$", "  ", comment).splitlines():
        line = line.removeprefix("   ")
        head, text = found[-1]
        if re.match(r"stws_\w+\(", line):
            head, _, text = line.partition(")  ")
            found.append((head, text))
        elif head.endswith(",") and line[:1] != " ":
            found[-1] = (f"{head} {line}", text)
        elif head and line[:1] != " ":
            found.append(("", line))
        else:
            found[-1] = (head, f"{text}\n{line.strip()}")
    return found


def entry_of(name, comment):
    """The calls that an entry explains, as {name: parameters}, and its text."""
    for head, text in comment:
        calls = dict(CALL.findall(f"{text} {head})"))
        if head and name in calls:
            return calls, text.strip()
    return {}, ""


def names(word, text):
    return re.search(rf"(?<![\w]){re.escape(word)}(?!\w)", text)


def names_code(code, text):
    """Whether a text has a code's name, its family with a star, or its end after a sibling."""
    parts = code.split("_")
    return names(code, text) or any(
        names("_".join(parts[:n]) + "_*", text)
        or names("_" + "_".join(parts[n:]), text) and "_".join(parts[:n]) in text
        for n in range(1, len(parts)))


def members(body):
    """The public members of a struct."""
    body = re.sub(r"[^;]*; /\* private( from here on .*|\b.*?\n)", "", body + "\n", flags=re.DOTALL)
    body = re.sub(r"\)\([^)]*\)", ")", re.sub(r"/\*.*?\*/", "", body))
    return re.findall(r"(\w+)\)?[,;]", body)


def explains(comment, member):
    """Whether a comment names a member, or what X_len and X_count are the length and number of."""
    counted = re.sub(r"_len$", "", re.sub(r"_count$", "s", member))
    return names(member, comment) or counted != member and names(counted, comment)


def errors_in_tests():
    """The errors that tests see a call return, as pairs."""
    seen = re.compile(r"CHECK_INT\((STWS_ERR_\w+|STWS_CLOSED),\s*(stws_(?!p_)\w+)\(")
    for path in sorted((ROOT / "tests").rglob("*.[ch]")):
        yield from ((name, code) for code, name in seen.findall(path.read_text(errors="replace")))


# ---- the rules: each yields what breaks it ----

def entries(interface):
    """Every call has an entry, and its head has the names of the parameters."""
    for call in interface.calls:
        parameters = ", ".join(name for _, name in call.parameters)
        if call.heads.get(call.name) not in (parameters, "..."):
            yield f"{call.name}({parameters}), but: {call.heads.get(call.name, 'nothing')}"


def parameters(interface):
    """Every parameter is said, but for the client, and what has a type of its own."""
    for call in interface.calls:
        for kind, name in call.parameters:
            if name not in EVERYWHERE and "stws_" not in kind and not names(name, call.said):
                yield f"{call.name}: {name}"


def units(interface):
    """A size is said to be bytes, unless it is a count of something."""
    for call in interface.calls:
        sizes = [name for kind, name in [*call.parameters, (call.result, "the result")]
                 if "size_t" in kind and name not in ("count", "offset")]
        if sizes and not re.search(r"\b(?:[Oo]ctet|[Bb]yte)s?\b", call.said):
            yield f"{call.name}: {', '.join(sizes)}"


def results(interface):
    """Every entry says what comes back."""
    for call in interface.calls:
        if call.result != "void" and not RESULT.search(call.entry):
            yield call.name


def errors(interface):
    """An error that a call's own lines or a test of it have is said."""
    calls = {call.name: call for call in interface.calls}
    own = {(name, code) for name in calls for code in
           re.findall(r"(?<![!=]= )(STWS_ERR_\w+|STWS_CLOSED)", interface.bodies.get(name, ""))}
    for name, code in sorted(own | set(errors_in_tests())):
        said = calls[name].said
        of_the_connection = AN_ERROR.search(said) and not CALLERS.fullmatch(code)
        if not (names_code(code, said) or THE_ERROR.search(said) or of_the_connection):
            yield f"{name}: {code}"


def behaviour(interface):
    """Threads, allocation and blocking: by the entry, or by a group that has a word on threads."""
    for call in interface.calls:
        said = call.entry + (call.group if "Threads:" in call.group else "")
        missing = [word for word, form in (("threads", "Threads:"), ("allocation", "[Aa]llocat"),
                                           ("blocking", r"(?<!one )\b[Bb]lock(?:s|ing)?\b"))
                   if not re.search(form, said)]
        if missing:
            yield f"{call.name}: {', '.join(missing)}"


def sections(interface):
    """A call that a specification stands behind names its section: of the RFC, or of STOMP."""
    for call in interface.calls:
        command = call.name.removeprefix("stws_").removesuffix("_in").upper()
        yield from (f"{call.name}: {named}" for prefix, named in SPECIFICATIONS.items()
                    if re.match(prefix, call.name) and not re.search(named, call.said))
        if command in COMMANDS and f'"{command}"' not in call.entry:
            yield f'{call.name}: "{command}"'


def struct_members(interface):
    """Every struct with its public members, and every type of callback, is explained before it."""
    for match in TYPE.finditer(interface.text):
        if not names(match[1] or match[2], interface.comment_before(match)):
            yield match[1] or match[2]
    for match in STRUCT.finditer(interface.text):
        comment = interface.comment_before(match)
        yield from (f"{match[1]}.{name}" for name in members(match[2])
                    if not explains(comment, name))


def constants(interface):
    """Every constant is explained: by its name, with its family (STWS_WS_*), or with its enum."""
    for match in ENUM.finditer(interface.text):
        comment = " ".join(interface.comment_before(match).split())
        body = re.sub(r"=[^,]*", "", match[2])
        constants = re.findall(r"\bSTWS_(?!EVENT_|P_)\w+\b(?! *\()", body)
        if not names(f"enum {match[1]}", comment):
            yield from (name for name in constants if not names_code(name, comment))


def events(interface):
    """Every event has a line that says what comes with it."""
    for match in re.finditer(r"\bSTWS_EVENT_(\w+)", interface.text):
        line = re.compile(rf"^ {{7}}.*\b{match[1]}\b.*  ", re.MULTILINE)
        if not (line.search(interface.comments) or names(match[0], interface.comments)):
            yield match[0]


def codes(interface):
    """Every result code has a sentence, and a remedy in README.md."""
    remedies = (ROOT / "README.md").read_text().partition("Every code, and what to do")[2]
    for code, sentence in re.findall(r'^ *X\((\w+), -?\d+, "(.*)"\)', interface.text, re.MULTILINE):
        if code != "STWS_OK" and (len(sentence.split()) < 3 or not names_code(code, remedies)):
            yield code


def main():
    interface = Interface(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "stomp_ws.h")
    return report(interface, (entries, parameters, units, results, errors, behaviour, sections,
                              struct_members, constants, events, codes))


if __name__ == "__main__":
    sys.exit(main())
