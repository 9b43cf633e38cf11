# The manual of stomp_ws.h as Markdown, out of the header itself: its first comment, which is Markdown
# nearly as it stands, and its declarations with their comments.
#
#     awk -f tests/docs/manual.awk stomp_ws.h
#
# A section is the comment that begins with its banner. A comment that begins in the first column
# belongs to the declaration below it. Comments inside of a declaration are part of its code.

function escape(text) {
    gsub(/[\\*_`<\[]/, "\\\\&", text)
    return text
}

# Our names become code. Characters that mean something in Markdown are escaped.
function prose(text,    out) {
    while (match(text, /(stws|STWS|STOMP_WS)_[A-Za-z0-9_]*\*?/)) {
        out = out escape(substr(text, 1, RSTART - 1)) "`" substr(text, RSTART, RLENGTH) "`"
        text = substr(text, RSTART + RLENGTH)
    }
    return out escape(text)
}

# The name that a declaration is about, and of a function its parameters.
function title(code,    name, list) {
    sub(/ *\/\*.*/, "", code)
    if (code ~ /^STOMP_WS_API/) {
        match(code, /stws_[a-z0-9_]+\(/)
        name = substr(code, RSTART, RLENGTH - 1)
        list = substr(code, RSTART + RLENGTH)
        sub(/\);.*/, "", list)
        gsub(/\[[0-9]*\]/, "", list)
        gsub(/[^,]*[ *]/, " ", list)
        gsub(/ +/, " ", list)
        sub(/^ /, "", list)
        return name "(" (list == "void" ? "" : list) ")"
    }
    if (match(code, /^#define [A-Z_]+/)) return substr(code, 9, RLENGTH - 8)
    if (match(code, /\(\*stws_[a-z_]+\)/)) return substr(code, RSTART + 2, RLENGTH - 3)
    if (!match(code, /stws[a-z_0-9]*( \{|;)/)) return ""
    name = substr(code, RSTART, RLENGTH)
    sub(/( \{|;)/, "", name)
    return name
}

function declaration(    i) {
    name = title(code)
    if (name != "") print "\n### `" name "`"
    if (lines) print ""
    for (i = 1; i <= lines; i++) print prose(line[i])
    print ""
    for (i = 1; i <= code_lines; i++) print "    " code_line[i]
    lines = code_lines = 0
    code = ""
}

NR == 1 {
    split($0, part, " - ")
    print "# stomp_ws.h " substr(part[2], 2)
    print ""
    print part[3]
    print ""
    print "# Synopsis"
    where = "top"
    next
}

where == "top" {
    if (/^\*\/$/) where = "declarations"
    else if (/^    \|/ || /^   [^ ]/) print substr($0, /^   [^ ]/ ? 4 : 5)
    else print
    next
}

/^#ifdef STOMP_WS_IMPLEMENTATION/ { exit }

/^\/\* ==== >>/ {
    if (!seen++) print "\n# Interface"
    sub(/^[^:]*: /, "")
    in_banner = !/\*\/$/
    sub(/ ====( \*\/)?$/, "")
    print "\n## " toupper(substr($0, 1, 1)) substr($0, 2)
    lines = 0
    next
}

!seen { next }

in_banner {
    in_banner = !/\*\/$/
    sub(/ *\*\/$/, "")
    sub(/^ +/, "")
    print prose($0)
    next
}

# A comment in the first column is about the declaration that follows.
/^\/\*/ { in_comment = 1 }
in_comment {
    in_comment = !/\*\/$/
    sub(/ *\*\/$/, "")
    line[++lines] = substr($0, 4)
    next
}

/^$/ && !code_lines {
    lines = 0
    next
}
/^#(if|ifdef|ifndef|else|endif|undef)/ || /^extern "C" \{$/ || (/^\}$/ && !code_lines) || /^struct \w+;$/ { next }

{
    code = code " " $0
    sub(/^ /, "", code)
    code_line[++code_lines] = $0
    opens = opens || /\{$/
    if (opens ? /^\}/ : /;( \/\*.*)?$/ || /^#define/) {
        opens = 0
        declaration()
    }
}
