# A man page out of the Markdown that manual.awk makes: headings, paragraphs, lists, code, a table.
#
#     awk -f tests/docs/manual.awk stomp_ws.h | awk -v date=YYYY-MM-DD -f tests/docs/man.awk

# What roff would take for its own.
function plain(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    if (text ~ /^[.']/) text = "\\&" text
    return text
}

# `code` and **strong** are bold; a backslash in Markdown keeps the next character as it is.
function inline(text,    out, c, bold) {
    while (text != "") {
        c = substr(text, 1, 1)
        if (c == "\\" && !bold) {
            out = out plain(substr(text, 2, 1))
            text = substr(text, 3)
        } else if (c == "`" || text ~ /^\*\*/) {
            bold = !bold
            out = out (bold ? "\\fB" : "\\fR")
            text = substr(text, c == "`" ? 2 : 3)
        } else {
            out = out (c == "\\" ? "\\e" : c == "-" ? "\\-" : c)
            text = substr(text, 2)
        }
    }
    return out ~ /^[.']/ ? "\\&" out : out
}

function become(next_kind) {
    if (kind == "code" && next_kind != "code") print ".fi\n.RE"
    if (kind == "entry" && next_kind == "code") print ".RS"
    if (next_kind == "code" && kind != "code") print (kind == "head" ? "" : ".PP\n") ".RS 4\n.nf"
    kind = next_kind
}

NR == 1 {
    version = $3
    printf ".TH STOMP_WS 3 %s \"stomp_ws %s\" \"Library Functions Manual\"\n", date, version
    print ".nh\n.ad l\n.SH NAME"
    next
}

NR == 3 {
    print "stomp_ws \\- " inline($0)
    next
}

/^# / {
    become("head")
    print ".SH " toupper(substr($0, 3))
    next
}

/^## / {
    become("head")
    print ".SS " inline(substr($0, 4))
    next
}

# A call and its text.
/^### / {
    become("head")
    print ".TP\n" inline(substr($0, 5))
    kind = "entry"
    next
}

/^    / {
    if (blank && kind == "code") print ""
    blank = 0
    become("code")
    print plain(substr($0, 5))
    next
}

/^$/ {
    blank = 1
    next
}

/^\|[ -]*-/ { next }

/^\|/ {
    become("table")
    split($0, cell, / *\| */)
    print ".TP\n\\fB" inline(cell[2]) "\\fR\n" inline(cell[3])
    next
}

/^(-|[0-9]+\.) / {
    become("list")
    print ".IP " ($1 == "-" ? "\\(bu" : $1) " 4"
    print inline(substr($0, length($1) + 2))
    blank = 0
    next
}

{
    was = kind
    become(kind == "list" && !blank ? "list" : "text")
    if (blank && was != "head" && was != "entry") print ".PP"
    blank = 0
    sub(/^ +/, "")
    print inline($0)
}

END { become("") }
