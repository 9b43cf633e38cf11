#!/bin/sh
# The manual as a page of HTML, in build/docs, and checks of that and of the man page, which is
# beside it: each public function has an entry in both, links lead somewhere, mandoc has nothing to
# object to.
set -u

cd "$(dirname "$0")/../.." || exit 1
. tests/checks.sh
out=build/docs
page=$out/stomp_ws.html
man=$out/stomp_ws.3
venv=build/venv-docs
mkdir -p $out

install_markdown() {
    cmp -s tests/docs/requirements.txt $venv/requirements.txt && return
    python3 -m venv --clear $venv &&
        $venv/bin/pip install --quiet --disable-pip-version-check -r tests/docs/requirements.txt &&
        cp tests/docs/requirements.txt $venv/requirements.txt
}
make_page() {
    awk -f tests/docs/manual.awk stomp_ws.h | $venv/bin/python tests/docs/page.py >$page
}
check "Markdown comes from PyPI" install_markdown
check "$page" make_page

# The names that a pattern captures, each once.
names() {
    sed -n "s/$1/\n\1\n/gp" "$2" | grep -x 'stws_[a-z0-9_]*' | sort -u
}
public_functions() {
    echo '#include "stomp_ws.h"' | cc -E -P -DSTOMP_WS_API=PUBLIC -I. - | tr '\n;' ' \n' |
        sed -n 's/.*PUBLIC [^(]*[ *]\(stws_[a-z0-9_]*\)(.*/\1/p' | sort -u
}
public_functions >$out/functions
names 'id="\(stws_[a-z0-9_]*\)"' $page | comm -23 $out/functions - >$out/without
check "functions are found" grep -qx stws_subscribe $out/functions
check "each function has an anchor in the page" sh -c "! grep . $out/without"

links_lead_somewhere() {
    grep -o 'id="[^"]*"' $page | sed 's/id="\(.*\)"/\1/' | sort -u >$out/anchors
    grep -o 'href="#[^"]*"' $page | sed 's/href="#\(.*\)"/\1/' | sort -u >$out/links
    [ -s $out/links ] && [ -z "$(comm -13 $out/anchors $out/links)" ]
}
check "each link leads somewhere" links_lead_somewhere
check "no emphasis where there is a pointer" sh -c "! grep '<em>' $page"

check_silent "mandoc of $man" mandoc -Tlint -Wwarning $man
mandoc -Tascii -Owidth=150 $man | sed "s/.$(printf '\b')//g" >$out/stomp_ws.txt
in_man_page() {
    while read -r name; do grep -q "$name(" $out/stomp_ws.txt || echo "$name"; done <$out/functions
}
check_silent "each function is in the man page" in_man_page
check "the man page has the version" grep -q \
    "stomp_ws $(sed -n 's/^.define STOMP_WS_VERSION "\(.*\)"/\1/p' stomp_ws.h)" $out/stomp_ws.txt

echo "The manual: $page and $man"
report
