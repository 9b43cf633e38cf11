#!/usr/bin/env python3
"""Holds the declarations of stomp_ws.h to what a reader needs, as libclang sees them.

    tests/tools/check_interface.py [HEADER]

Every public symbol (function, type, field, enumerator, macro) has a comment of its own, so that an
editor shows it when the pointer rests on the symbol. What a function's comment must tell may also
stand in the comment that its section begins with: threads, allocation, blocking, errors and the
specification. The number of symbols is printed.

It needs Debian's python3-clang, so lint.sh runs it with Debian's python3.
"""

import re
import sys
from pathlib import Path

try:
    from clang import cindex
except ModuleNotFoundError:
    sys.exit("check_interface.py: Python has no module clang: apt-get install python3-clang")

from check_header import ROOT, Header, functions, report

PARSE = ["-x", "c", "-std=c99", "-fparse-all-comments", "-I", str(ROOT)]
PUBLIC = re.compile(r"stws(_(?!p_)\w+)?$|STWS_(?!P_)\w+$|STOMP_WS_VERSION\w*$")
MACRO = re.compile(r"^#define (STWS_(?!P_)\w+|STOMP_WS_VERSION\w*)\b", re.MULTILINE)
SECTION = re.compile(r"/\* ==== >>(\w+): .*?\*/", re.DOTALL)
KINDS = {"FUNCTION_DECL": "functions", "STRUCT_DECL": "structs", "FIELD_DECL": "fields",
         "ENUM_DECL": "enums", "ENUM_CONSTANT_DECL": "enumerators", "TYPEDEF_DECL": "types"}

# A call may end with any error of the connection, if its comment tells so. The caller's are named.
AN_ERROR = re.compile(r"\b(?:the|an|final|last|that) (?:final )?error\b")
CALLERS = re.compile(r"STWS_CLOSED|STWS_ERR_(?:USAGE|STATE|MEMORY|SPACE|FULL|LIMIT|TIMEOUT|STALE"
                     r"|FRAME_BUILD)")
# Behind which calls a specification stands, and how a comment names it.
SPECIFICATIONS = {r"stws_(frame|command)_": r"STOMP 1\.\d", r"stws_utf8_": "RFC 3629",
                  r"stws_(ws|url|http|handshake)_(?!status)": "RFC 6455, section"}
COMMANDS = ("SUBSCRIBE", "UNSUBSCRIBE", "SEND", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT",
            "DISCONNECT")


class Symbol:
    """A public name with its comment, and with the comment that its section begins with."""

    def __init__(self, cursor, interface):
        self.cursor = cursor
        self.kind = KINDS[cursor.kind.name]
        parent = cursor.semantic_parent
        self.name = cursor.spelling
        if self.kind == "fields":
            self.name = f"{parent.spelling}.{cursor.spelling}"
        self.line = cursor.location.line
        self.comment, self.at = interface.comment_of(cursor)
        self.comment = flat(self.comment)
        self.section = interface.section_at(cursor.extent.start.offset)
        self.said = flat(f"{self.comment} {self.section}")

    def is_private(self):
        return self.kind == "fields" and re.search(r"\bprivate\b", self.comment)

    def result(self):
        return self.cursor.result_type.spelling

    def parameters(self):
        return [(p.type.spelling, p.spelling) for p in self.cursor.get_arguments()]


class Interface:
    """The declarations of the header."""

    def __init__(self, path):
        self.header = Header(path)
        text = path.read_bytes()
        self.text = text.decode()
        self.end = self.text.index("#ifdef STOMP_WS_IMPLEMENTATION\n")
        self.unit = cindex.Index.create().parse(str(path), args=PARSE)
        self.symbols = [Symbol(cursor, self) for cursor in self.cursors(self.unit.cursor)]
        self.calls = [symbol for symbol in self.symbols if symbol.kind == "functions"]
        self.bodies = {name: "\n".join(self.header.code_lines[number - 1:number - 1 + lines])
                       for name, number, lines in functions(self.header)}

    def cursors(self, parent):
        """The public declarations: a struct or an enum once, by its definition."""
        for cursor in parent.get_children():
            here = cursor.location.file and cursor.location.file.name == self.unit.spelling
            if not here or cursor.kind.name not in KINDS:
                continue
            is_alias = cursor.kind.name == "TYPEDEF_DECL" and self.defines(cursor)
            is_mention = (cursor.kind.name in ("STRUCT_DECL", "ENUM_DECL")
                          and not cursor.is_definition())
            is_unnamed = cursor.kind.name == "ENUM_DECL" and not PUBLIC.match(cursor.spelling)
            if not (is_alias or is_mention or is_unnamed):
                yield cursor
            if cursor.kind.name in ("STRUCT_DECL", "ENUM_DECL"):
                yield from self.cursors(cursor)

    @staticmethod
    def defines(cursor):
        """Whether a typedef names the struct or enum that it defines."""
        declared = cursor.underlying_typedef_type.get_declaration()
        return declared.is_definition() and declared.spelling == cursor.spelling

    @staticmethod
    def comment_of(cursor):
        """The comment that belongs to a declaration, and where it is."""
        comment_range = cindex.conf.lib.clang_Cursor_getCommentRange
        comment_range.argtypes, comment_range.restype = [cindex.Cursor], cindex.SourceRange
        at = comment_range(cursor)
        return cursor.raw_comment or "", (at.start.offset, at.end.offset)

    def section_at(self, offset):
        """The comment that the section begins with in which an offset lies."""
        before = [match[0] for match in SECTION.finditer(self.text, 0, self.end)
                  if match.start() < offset]
        return before[-1] if before else ""


def flat(comment):
    """A comment as one line."""
    return " ".join(comment.split())


def names(word, text):
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)


def names_code(code, text):
    """Whether a text names a result, or its family with a star."""
    parts = code.split("_")
    return names(code, text) or any(
        re.search(rf"(?<!\w){'_'.join(parts[:n])}_\*", text) for n in range(2, len(parts)))


def others(calls, name):
    """The calls whose errors a call returns, too, as its comment tells."""
    for other in re.findall(r"an error of (stws_\w+)", calls[name].said):
        yield other
        yield from others(calls, other)


def errors_in_tests():
    """The errors that tests see a call return, as pairs."""
    seen = re.compile(r"CHECK_INT\((STWS_ERR_\w+|STWS_CLOSED),\s*(stws_(?!p_)\w+)\((?!.* == )")
    for path in sorted((ROOT / "tests").rglob("*.[ch]")):
        yield from ((name, code) for code, name in seen.findall(path.read_text(errors="replace")))


# ---- the rules: each yields what breaks it ----

def parsed(interface):
    """The declarations compile alone."""
    yield from (str(problem) for problem in interface.unit.diagnostics)


def own_comments(interface):
    """Every public symbol has a comment of its own, directly before it or behind it in its line."""
    seen = {}
    for symbol in interface.symbols:
        if not symbol.comment:
            yield f"line {symbol.line}: {symbol.name} has no comment"
        elif symbol.at in seen:
            yield f"line {symbol.line}: {symbol.name} shares the comment of {seen[symbol.at]}"
        elif "====" in symbol.comment:
            yield f"line {symbol.line}: {symbol.name} has only the comment of its section"
        seen.setdefault(symbol.at, symbol.name)


def macros(interface):
    """Every public macro has a comment, in its line or directly before it."""
    for match in MACRO.finditer(interface.text, 0, interface.end):
        line = interface.text[match.start():interface.text.index("\n", match.start())]
        if "/*" not in line and not interface.text[:match.start()].endswith("*/\n"):
            yield match[1]


def words(interface):
    """A comment has at least two words, or tells that a field is private."""
    yield from (f"line {symbol.line}: {symbol.name}" for symbol in interface.symbols
                if len(re.findall(r"\w+", symbol.comment)) < 2 and not symbol.is_private())


def verbs(interface):
    """A function's comment begins with a verb: it does, makes or returns something."""
    yield from (f"{call.name}: {call.comment[:40]}" for call in interface.calls
                if not re.match(r"/\* [A-Z]\w+(?:s|es|ies)\b", call.comment))


def parameters(interface):
    """A function's comment names its parameters, except the client and those with a type of ours."""
    for call in interface.calls:
        for kind, name in call.parameters():
            if "stws" not in kind and not names(name, call.said):
                yield f"{call.name}: {name}"


def results(interface):
    """A function's comment tells what it returns."""
    for call in interface.calls:
        if call.result() != "void" and not re.search(r"\b[Rr]eturns\b", call.comment):
            yield call.name


def errors(interface):
    """An error that a function's own lines return, or that a test sees, is in its comment."""
    calls = {call.name: call for call in interface.calls if call.name != "stws_error"}
    own = {(name, code) for name in calls for code in
           re.findall(r"(?<![!=]= )(STWS_ERR_\w+|STWS_CLOSED)", interface.bodies.get(name, ""))}
    for name, code in sorted(own | set(errors_in_tests())):
        if name not in calls:
            continue
        said = calls[name].said + "".join(calls[other].said for other in others(calls, name))
        of_the_connection = AN_ERROR.search(said) and not CALLERS.fullmatch(code)
        if not (names_code(code, said) or of_the_connection):
            yield f"{name}: {code}"


def behaviour(interface):
    """Threads, allocation and blocking are told for each function, by it or by its section."""
    for call in interface.calls:
        missing = [word for word, form in (("threads", "Threads:"), ("allocation", "[Aa]llocat"),
                                           ("blocking", r"[Bb]lock(?:s|ing)?\b"))
                   if not re.search(form, call.said)]
        if missing:
            yield f"{call.name}: {', '.join(missing)}"


def specifications(interface):
    """A function that a specification stands behind names its section."""
    for call in interface.calls:
        command = call.name.removeprefix("stws_").removesuffix("_in").upper()
        yield from (f"{call.name}: {named}" for prefix, named in SPECIFICATIONS.items()
                    if re.match(prefix, call.name) and not re.search(named, call.comment))
        if command in COMMANDS and f'"{command}"' not in call.comment:
            yield f'{call.name}: "{command}"'


def one_field_a_line(interface):
    """One declaration a line: a field, an enumerator or a function."""
    seen = {}
    for symbol in interface.symbols:
        if symbol.line in seen and symbol.kind not in ("structs", "enums"):
            yield f"line {symbol.line}: {seen[symbol.line]} and {symbol.name}"
        if symbol.kind in ("fields", "enumerators", "functions"):
            seen[symbol.line] = symbol.name


def result_texts(interface):
    """The implementation's table has the text of each result, and no other."""
    table = re.findall(r"STWS_P_RESULT\(\s*(\w+),", interface.text[interface.end:])
    table = [name for name in table if name.startswith("STWS_")]
    enum = [symbol.name for symbol in interface.symbols if symbol.kind == "enumerators"
            and symbol.cursor.semantic_parent.spelling == "stws_result"]
    enum.remove("STWS_RESULT_END")
    yield from (f"{name} has no text" for name in enum if name not in table)
    yield from (f"{name} is not in the enum" for name in table if name not in enum)
    if len(table) != len(set(table)):
        yield "a result has two texts"


def remedies(interface):
    """The comment of each error says more than its text: what to do, or where to look."""
    for symbol in interface.symbols:
        if re.match(r"STWS_ERR_(?!FRAME_)", symbol.name):
            if not re.search(r"[.:;] ", symbol.comment):
                yield symbol.name


def troubleshooting(interface):
    """Each error stands in the table of examples/troubleshooting.md, in full or behind a sibling."""
    page = (ROOT / "examples" / "troubleshooting.md").read_text(encoding="utf-8")
    table = page.partition("\n## Every code")[2].partition("\n## ")[0]
    for symbol in interface.symbols:
        parts = symbol.name.split("_")
        if re.match(r"STWS_ERR_|STWS_CLOSED", symbol.name):
            if not (names(symbol.name, table) or names(f"_{parts[-1]}", table)):
                yield symbol.name


RULES = (parsed, own_comments, macros, words, verbs, parameters, results, errors, behaviour,
         specifications, one_field_a_line, result_texts, remedies,
         troubleshooting)


def main():
    interface = Interface(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "stomp_ws.h")
    kinds = [symbol.kind for symbol in interface.symbols]
    macro_count = len(MACRO.findall(interface.text, 0, interface.end))
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(KINDS.values()))
    without = len(list(own_comments(interface))) + len(list(macros(interface)))
    print(f"{len(kinds) + macro_count} public symbols ({counts}, {macro_count} macros), "
          f"{without} without a comment of their own")
    return report(interface, RULES)


if __name__ == "__main__":
    sys.exit(main())
