#!/bin/sh
# Replays the corpora with the fuzz targets in a folder. Each corpus is one check.
#
#     tests/fuzz/corpora.sh FOLDER
set -u

programs=$1
cd "$(dirname "$0")/../.." || exit 1
. tests/checks.sh

for program in "$programs"/fuzz_*; do
    [ -x "$program" ] || continue
    name=${program##*/fuzz_}
    check "replaying the corpus of $name" "$program" "tests/fuzz/corpus/$name"
done
report
