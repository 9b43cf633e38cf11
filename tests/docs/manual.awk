# The manual of stomp_ws.h as Markdown, out of the header itself: its first comment, which is Markdown
# nearly as it stands, and its declarations with their comments.
#
#     awk -f tests/docs/manual.awk stomp_ws.h
#
# In the comments of declarations a call in the first column is an entry, with its text indented
# below; lines in columns are left as they are; all else is a paragraph.

function escape(text) {
    gsub(/[\\*_`<\[]/, "\\\\&", text)
    return text
}

# Names of ours become code, and what else Markdown would take for its own is kept from it.
function prose(text,    out) {
    while (match(text, /(stws|STWS|STOMP_WS)_[A-Za-z0-9_]*\*?/)) {
        out = out escape(substr(text, 1, RSTART - 1)) "`" substr(text, RSTART, RLENGTH) "`"
        text = substr(text, RSTART + RLENGTH)
    }
    return out escape(text)
}

function is_call(line) {
    return line ~ /^stws_[a-z0-9_]+\(/ && line !~ /[^ ]  +[^ ]/
}

function in_columns(line) {
    return line ~ /^ / || line ~ /[^ ]  +[^ ]/
}

# say KIND TEXT: paragraphs and blocks of code are parted by an empty line, their lines are not.
function say(kind, text) {
    if (kind != said || kind == "head") print ""
    said = kind
    print (kind == "code" ? "    " text : text)
}

# The lines of one comment, without its marks and its indentation.
function comment(    i, call, columns) {
    for (i = 1; i <= lines; i++) {
        if (line[i] == "") {
            said = ""
            columns = 0
        } else if (is_call(line[i])) {
            for (call = line[i]; call ~ /,$/ && line[i + 1] ~ /^[^ ]/; i++) call = call " " line[i + 1]
            say("head", "### `" call "`")
            for (; line[i + 1] ~ /^    /; i++) entry(substr(line[i + 1], 5))
            said = ""
            columns = 0
        } else {
            columns = columns || in_columns(line[i])
            say(columns ? "code" : "text", columns ? line[i] : prose(line[i]))
        }
    }
    lines = 0
}

function entry(text) {
    if (text ~ /^ /) say("code", text)
    else say("text", prose(text))
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
    if (!seen++) say("head", "# Interface")
    sub(/^[^:]*: /, "")
    sub(/ ==== \*\/$/, "")
    say("head", "## " toupper(substr($0, 1, 1)) substr($0, 2))
    next
}

!seen { next }

/^\/\*/ { inside = 1 }

inside {
    inside = !/\*\/$/
    sub(/ *\*\/$/, "")
    line[++lines] = substr($0, 4)
    if (!inside) comment()
    said = inside ? said : ""
    next
}

/^#(if|ifdef|ifndef|else|endif|undef|define STWS_P_)/ || /^(extern "C" \{|\})$/ || /^$/ { next }

{
    sub(/ +\\$/, "")
    say("code", $0)
}
