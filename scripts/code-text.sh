#!/usr/bin/env bash
# Writes source code as one text, with the same bytes everywhere: the modules of Docutils' top folder, in the order of
# their names, from Debian's package python3-docutils (public domain and BSD):
#
#     bash scripts/code-text.sh runs/docutils.txt
#
# Nothing is installed. No shipped model was trained on it.
set -euo pipefail
[ $# -eq 1 ] || { echo 'usage: bash scripts/code-text.sh OUT_FILE' >&2; exit 2; }
package=python3-docutils=0.19+dfsg-6 # of Debian 12
wanted=d9a2ccdc701fc0f3eddd865b505178e16a0ce964f986ea07938a54e06ff7be60
fail() { echo "$package $1" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
(cd "$folder" && apt-get download -qq -o APT::Sandbox::User=root "$package") ||
  fail 'could not be downloaded: it is of Debian 12, and needs apt-get update first'
dpkg-deb -x "$folder"/*.deb "$folder/files"
(cd "$folder/files/usr/lib/python3/dist-packages/docutils" && LC_ALL=C && cat ./*.py) >"$folder/text"
hash=$(sha256sum "$folder/text" | cut -c1-64)
[ "$hash" = "$wanted" ] || fail "has other modules than those of docs/arena.md: SHA-256 $hash"
mkdir -p "$(dirname "$1")"
cp "$folder/text" "$1"
wc -c "$1"
