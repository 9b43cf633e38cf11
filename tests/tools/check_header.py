#!/usr/bin/env python3
"""Holds stomp_ws.h to the style that no compiler checks.

    tests/tools/check_header.py [HEADER]
    tests/tools/check_header.py --numbers [HEADER]     # lists them, for who looks for nameless ones

A rule is one check; what breaks it is printed line by line. "Used" means by a test.
"The manual" is the comment that the header begins with. The lines of its contents table begin with
the ">>tag" of a section, or with several.
"""

import re
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TESTS = ("*.c", "*.h")

MAX_CODE_LINES = 8520
MAX_SECTION_LINES = 400
LEAST_COMMENT_SHARE = 0.2
MAX_COLUMNS = 100
MAX_FUNCTION_LINES = 80
MAX_MEDIAN_LINES = 12

BANNER = re.compile(r"/\* ==== >>([\w.]+): \S.* ====(?: \*/)?")
COMMENT_OR_LITERAL = re.compile(r"""/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)
PUBLIC_FUNCTION = re.compile(r"^STOMP_WS_API\b[^;{]*?\b(\w+)\(", re.MULTILINE)
DEFINITION = re.compile(r"^[A-Za-z][^;{}=#]*?\b(\w+)\([^;{}=#]*\)\s*\{", re.MULTILINE)
PUBLIC_NAME = re.compile(r"stws(_(?!p_)\w+)?|STWS_(?!P_)\w+|STOMP_WS_\w+")
PROMISE = r"\[[A-Z]\d+\]"
PRIVATE_NAME = re.compile(r"stws_p_\w+|STWS_P_\w+")


class Header:
    """The text, and the code: the text without comments and strings, with the same lines."""

    def __init__(self, path):
        self.text = path.read_text(encoding="utf-8")
        self.lines = self.text.splitlines()
        self.code = COMMENT_OR_LITERAL.sub(blank_out, self.text)
        self.code_lines = self.code.splitlines()
        self.manual = self.text[:self.text.index("*/")]
        self.implementation_at = self.line_of("#ifdef STOMP_WS_IMPLEMENTATION")

    def line_of(self, line):
        """The index of the first line that is exactly this one."""
        return self.lines.index(line)

    def is_declared(self, match):
        """Whether a match in the text or the code lies in the declarations."""
        return match.string.count("\n", 0, match.start()) < self.implementation_at

    def declarations(self):
        return "\n".join(self.code_lines[:self.implementation_at])

    def implementation(self):
        """The code lines of the implementation with their numbers."""
        return list(enumerate(self.code_lines, 1))[self.implementation_at:]


def blank_out(match):
    """A comment becomes its line ends, a literal an empty one."""
    text = match[0]
    return "\n" * text.count("\n") if text.startswith("/*") else text[0] + text[-1]


def functions(header):
    """The definitions in the file, as (name, number of the first line, number of lines).

    One begins with a name in the first column and ends with a brace there, or in its first line.
    """
    found = []
    for match in DEFINITION.finditer(header.code):
        end = re.compile(r".*\}$|(?:.*\n)+?\}", re.MULTILINE).match(header.code, match.end())
        lines = header.code.count("\n", match.start(), end.end()) + 1
        found.append((match[1], header.code.count("\n", 0, match.start()) + 1, lines))
    return found


def enumerators(header):
    """The constants that the declarations define."""
    code = header.declarations()
    names = []
    for body in re.findall(r"\benum\b[^;{]*\{([^}]*)\}", code):
        names += re.findall(r"\b(STWS_(?!P_)\w+)\b(?! *\()", re.sub(r"=[^,]*", "", body))
    return names


def struct_names(header):
    return re.findall(r"^typedef struct (\w+)", header.declarations(), re.MULTILINE)


def option_names(header):
    """The fields of stws_options."""
    body = re.search(r"^typedef struct stws_options \{(.*?)^\}", header.code, re.M | re.S)[1]
    return re.findall(r"(\w+)\)?[,;]", re.sub(r"\)\([^)]*\)", ")", body))


def public_macros(header):
    """Macros of the declarations that are for users: not what the library sets for itself."""
    names = re.findall(r"^#define (STWS_(?!P_)\w+|STOMP_WS_VERSION\w*)", header.declarations(),
                       re.MULTILINE)
    return list(dict.fromkeys(names))


def configuration_macros(header):
    """All other STOMP_WS_ names: a user may define them."""
    names = re.findall(r"\bSTOMP_WS_[A-Z_]+", header.code)
    own = {"STOMP_WS_H", "STOMP_WS_IMPLEMENTED", *public_macros(header)}
    return [name for name in dict.fromkeys(names) if name not in own]


def public_functions(header):
    return list(dict.fromkeys(PUBLIC_FUNCTION.findall(header.declarations())))


def words_of_tests():
    """Every word in the tests."""
    words = set()
    for pattern in TESTS:
        for path in sorted((ROOT / "tests").rglob(pattern)):
            words.update(re.findall(r"\w+", path.read_text(encoding="utf-8", errors="replace")))
    return words


# ---- the rules: each yields what breaks it ----

def size(header):
    """The implementation's lines of code, without comments and blank lines, stay below a bar. A macro
    is one line."""
    lines = sum(1 for _, line in header.implementation() if line.strip() and line[-1] != "\\")
    if lines > MAX_CODE_LINES:
        yield f"{lines} lines of code, more than {MAX_CODE_LINES}"


def columns(header):
    """No line has more than 100 columns, a tab, or a space at its end."""
    for number, line in enumerate(header.lines, 1):
        if len(line) > MAX_COLUMNS:
            yield f"line {number}: {len(line)} columns"
        if "\t" in line or line != line.rstrip():
            yield f"line {number}: a tab, or a space at the end"


def longest_function(header):
    """No function has more than 80 lines."""
    for name, number, lines in functions(header):
        if lines > MAX_FUNCTION_LINES:
            yield f"line {number}: {name} has {lines} lines"


def median_function(header):
    """Half of the functions have 12 lines or fewer."""
    median = statistics.median(lines for _, _, lines in functions(header))
    if median > MAX_MEDIAN_LINES:
        yield f"the median is {median:g} lines"


def sections(header):
    """The sections of the implementation, as (tag, number of the first line, number of lines)."""
    begins = [(number, banner[1]) for number, banner in
              enumerate(map(BANNER.match, header.lines), 1)
              if banner and number > header.implementation_at]
    ends = [number for number, _ in begins[1:]] + [len(header.lines) + 1]
    return [(tag, number, end - number) for (number, tag), end in zip(begins, ends)]


def section_sizes(header):
    """No section of the implementation has more than 400 lines."""
    for tag, number, lines in sections(header):
        if lines > MAX_SECTION_LINES:
            yield f"line {number}: >>{tag} has {lines} lines"


def section_openings(header):
    """Each section of the implementation opens with a paragraph: what it owns and who calls it."""
    for tag, number, _ in sections(header):
        if not header.lines[number - 1].endswith("===="):
            yield f"line {number}: >>{tag} has only a title"


def comment_share(header):
    """At least one line in five of the implementation is a comment, not counting blank lines."""
    text = header.lines[header.implementation_at:]
    code = header.code_lines[header.implementation_at:]
    comments = sum(1 for line, rest in zip(text, code) if line.strip() and not rest.strip())
    lines = sum(1 for line in text if line.strip())
    if comments < LEAST_COMMENT_SHARE * lines:
        yield f"{comments} of {lines} lines, {100 * comments / lines:.1f} %"


def order(header):
    """Calls only go up the file: a function stands before all of its uses."""
    defined = {}
    for name, number, _ in functions(header):
        if number > header.implementation_at and name.startswith("stws_p_"):
            defined.setdefault(name, number)
    first = {}
    for number, line in header.implementation():
        for name in re.findall(r"\bstws_p_\w+", line):
            first.setdefault(name, number)
    for name, number in defined.items():
        is_definition = re.match(rf"static\b.*\b{name}\(.*[^;]$", header.lines[first[name] - 1])
        if first[name] < number and not is_definition:
            yield f"line {first[name]}: {name}, which line {number} defines"


def gaps(header):
    """A blank line, or a comment, stands before each function of the implementation."""
    for name, number, _ in functions(header):
        above = header.lines[number - 2].rstrip()
        if number > header.implementation_at and above and not above.endswith("*/"):
            if not above.startswith("#") and not above.startswith("__attribute__"):
                yield f"line {number}: {name}"


def state_writers(header):
    """One function writes the state of the connection."""
    writers = set()
    write = re.compile(r"\bc->state = |STORE\(&c->state,")
    for name, number, lines in functions(header):
        body = "\n".join(header.code_lines[number - 1:number - 1 + lines])
        if number > header.implementation_at and write.search(body):
            writers.add(name)
    if len(writers) != 1:
        yield ", ".join(sorted(writers)) or "no function does"


def banner_form(header):
    """Sections begin with a banner of one form, and no tag comes twice."""
    seen = set()
    for number, line in enumerate(header.lines, 1):
        banner = BANNER.fullmatch(line)
        if "====" not in line:
            continue
        if not banner:
            yield f"line {number}: not of the form /* ==== >>tag: title ==== */"
        elif banner[1] in seen:
            yield f"line {number}: a second >>{banner[1]}"
        else:
            seen.add(banner[1])


def contents_table(header):
    """The manual's contents table lists the sections in their order."""
    sections = [banner[1] for banner in map(BANNER.fullmatch, header.lines) if banner]
    lines = re.findall(r"^ *((?:>>[\w.]+ *)+)", header.manual, re.MULTILINE)
    table = re.findall(r">>([\w.]+)", " ".join(lines))
    if table != sections:
        yield "the table has: " + (" ".join(table) or "nothing")
        yield "the file has:  " + " ".join(sections)


def signposts(header):
    """A function that the manual names is one step away: its first place in the code defines it."""
    defined = {name: number for name, number, _ in functions(header)}
    for name in dict.fromkeys(re.findall(r"\bstws_p_\w+", header.manual)):
        places = (number for number, line in header.implementation()
                  if re.search(rf"\b{name}\b", line))
        if defined.get(name) != next(places, None) or name not in defined:
            yield name


def pragmas(header):
    """There is no pragma."""
    for number, line in enumerate(header.code_lines, 1):
        if re.search(r"# *pragma|\b_Pragma\b", line):
            yield f"line {number}: a pragma"


def uses(header):
    """Every public function, struct, option, constant and macro is used."""
    words = words_of_tests()
    public = (public_functions(header) + struct_names(header) + option_names(header)
              + enumerators(header) + public_macros(header))
    yield from (name for name in public if name not in words)


def manual_names_macros(header):
    """The manual names every configuration macro."""
    named = set(re.findall(r"\w+", header.manual))
    yield from (name for name in configuration_macros(header) if name not in named)


def promises(header):
    """Every promise of the manual has a test that bears its tag, and every tag is a promise's."""
    promised = set(re.findall(PROMISE, header.manual.partition("\n## ")[2]))
    tested = set()
    for path in sorted((ROOT / "tests").rglob("test_*.c")):
        for tags in re.findall(rf"RUN\(\w+\);\s*/\* ((?:{PROMISE} )+)\*/", path.read_text("utf-8")):
            tested.update(re.findall(PROMISE, tags))
    yield from (f"{tag} has no test" for tag in sorted(promised - tested))
    yield from (f"{tag} is not in the manual" for tag in sorted(tested - promised))


def private_names(header):
    """What the implementation defines for itself is named stws_p_ or STWS_P_."""
    public = set(public_functions(header)) | set(struct_names(header))
    public |= set(configuration_macros(header)) | {"STOMP_WS_IMPLEMENTED"}
    for number, line in header.implementation():
        for name in names_defined_by(line):
            if name not in public and not PRIVATE_NAME.fullmatch(name):
                yield f"line {number}: {name}"


def names_defined_by(line):
    """Names that a line of the implementation brings into the file's scope."""
    patterns = (
        r"#define (\w+)",
        r"(?:STOMP_WS_API|static)\b[^=;({]*?\b(\w+) *[\[(=;]",
        r"(?:typedef )?(?:struct|union|enum) (\w+) \{",
        r"typedef .*?\b(\w+);",
        r"\} (\w+);",
    )
    return [match[1] for match in (re.match(pattern, line) for pattern in patterns) if match]


def private_enumerators(header):
    """The implementation's enumeration constants are named STWS_P_."""
    code = "\n".join(line for _, line in header.implementation())
    for body in re.findall(r"^(?:typedef )?enum\b[^;{]*\{([^}]*)\}", code, re.MULTILINE):
        for name in re.findall(r"(?:^|,)\s*(\w+)", body):
            if not PRIVATE_NAME.fullmatch(name):
                yield name


def underscores(header):
    """Outside of the private names there is no new stws_ name, and none begins or ends with _."""
    public = set(public_functions(header)) | set(struct_names(header)) | set(enumerators(header))
    for name in sorted(public):
        if not PUBLIC_NAME.fullmatch(name) or "__" in name or name.endswith(("_", "_t")):
            yield name


def undefined_macros(header):
    """Private macros are undefined again."""
    defined = dict.fromkeys(re.findall(r"^ *# *define (STWS_P_\w+)", header.code, re.MULTILINE))
    undefined = set(re.findall(r"^ *# *undef (STWS_P_\w+)", header.code, re.MULTILINE))
    yield from (name for name in defined if name not in undefined)


def things_to_do(header):
    """Nothing is left undone."""
    for number, line in enumerate(header.lines, 1):
        mark = re.search(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b", line)
        if mark:
            yield f"line {number}: {mark[1]}"


RULES = (size, columns, longest_function, median_function, section_sizes, section_openings,
         comment_share, order, gaps, state_writers, banner_form, contents_table, signposts,
         pragmas, uses, manual_names_macros, promises, private_names,
         private_enumerators, underscores, undefined_macros, things_to_do)


# Where numbers are the algorithm's own.
ALGORITHMS = re.compile(r"stws_p_(?:sha1|base64|utf8|rotate|skip_ascii|mask_16|key_word|digits)")


def numbers(header):
    """The numbers in functions, other than 0, 1 and 2: which of them want a name?"""
    found = {}
    for name, number, lines in functions(header):
        if number <= header.implementation_at or ALGORITHMS.match(name):
            continue
        body = "\n".join(header.code_lines[number - 1:number - 1 + lines])
        literals = set(re.findall(r"(?<![\w.])(0[xX]\w+|\d+)[uUlL]*\b", body))
        for literal in literals - {"0", "1", "2"}:
            found.setdefault(literal, []).append(f"{name}:{number}")
    for literal, places in sorted(found.items(), key=lambda item: (len(item[0]), item[0])):
        yield f"{literal}: {' '.join(places)}"


def report(subject, rules):
    """Print what breaks the rules, and how many hold: exit status."""
    failed = 0
    for rule in rules:
        findings = list(rule(subject))
        if findings:
            failed += 1
            print(f"FAILED {rule.__doc__}")
            print(*(f"    {finding}" for finding in findings), sep="\n")
    print(f"{len(rules) - failed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--numbers"]
    header = Header(Path(arguments[0]) if arguments else ROOT / "stomp_ws.h")
    if "--numbers" in sys.argv:
        print(*numbers(header), sep="\n")
        return 0
    return report(header, RULES)


if __name__ == "__main__":
    sys.exit(main())
