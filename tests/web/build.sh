#!/bin/sh
# Puts the page of examples/web together in build/web/site: the files of the page, stompjs, and the
# typeface. A server that has a STOMP endpoint at /notifications can serve this folder at /.
#
#     tests/web/build.sh
#
# The first run needs npm and the network. Later runs only copy files.
set -eu

cd "$(dirname "$0")/../.."
. tests/web/npm.sh
out=build/web
packages=$out/page/node_modules
site=$out/site

npm_packages examples/web "$out/page"

rm -rf "$site.new"
mkdir -p "$site.new/fonts/files" "$site.new/licences"
cp examples/web/*.html examples/web/*.css examples/web/*.js examples/web/*.svg "$site.new"
cp "$packages/@stomp/stompjs/bundles/stomp.umd.min.js" "$site.new"
cp "$packages/@stomp/stompjs/LICENSE" "$site.new/licences/stompjs.txt"
cp "$packages/@fontsource-variable/inter/index.css" "$site.new/fonts"
cp "$packages/@fontsource-variable/inter/files/"*-wght-normal.woff2 "$site.new/fonts/files"
cp "$packages/@fontsource-variable/inter/LICENSE" "$site.new/licences/inter.txt"
rm -rf "$site"
mv "$site.new" "$site"
