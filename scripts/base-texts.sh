#!/usr/bin/env bash
# Writes the texts that models/base and its adapters were trained and tested on, with the same bytes everywhere:
#
#     bash scripts/base-texts.sh runs
#
# It writes runs/sotu and runs/moby-dick.txt; runs/kjv.txt, the King James Bible from Debian's package bible-kjv;
# runs/recall/*/, documents from which recall is learned; runs/recall/ask-*/, questions about other documents; and
# runs/recall-mix.txt, for fine-tuning; runs/long-mix.txt, the same for contexts of 4,096 tokens.
set -euo pipefail
[ $# -eq 1 ] || { echo 'usage: bash scripts/base-texts.sh OUT_FOLDER' >&2; exit 2; }
out=$1
here=$(dirname "${BASH_SOURCE[0]}")
command -v bible >/dev/null || { echo 'the command bible is not installed: apt-get install bible-kjv' >&2; exit 1; }
natsearch=(node "$here/../dist/cli/main.js")
[ -f "${natsearch[1]}" ] || { echo "${natsearch[1]} does not exist: npm run build" >&2; exit 1; }

node "$here/sotu.mjs" "$out/sotu"
node "$here/moby-dick.mjs" "$out/moby-dick.txt"
bible -l200 'gen1:1-rev22:21' </dev/null | sed -E 's/^ +[0-9]+ //' >"$out/kjv.txt"

# recall NAME KIND CHARACTERS DOCUMENTS PAIRS SEED FILLER
recall() {
  "${natsearch[@]}" recall write --out "$out/recall/$1" --kind "$2" --length "$3" --documents "$4" --tests 200 \
    --pairs "$5" --seed "$6" --filler "$7"
}
for set in 'key-200 passkey 200 20000 4' 'key-600 passkey 600 4000 4' 'key-1500 passkey 1500 1600 4' \
  'key-3000 passkey 3000 1000 4' 'pair-240 pairs 240 20000 2' 'pair-400 pairs 400 10000 4' 'pair-700 pairs 700 4000 8' \
  'pair-1500 pairs 1500 1600 4' 'pair-3000 pairs 3000 1000 4'; do
  # shellcheck disable=SC2086
  recall $set 1 "$out/sotu/train"
done
for length in 600 2400 9000 12000; do # another seed, and filler from held-out addresses
  recall "ask-key-$length" passkey "$length" 1 4 77 "$out/sotu/heldout"
  recall "ask-pair-$length" pairs "$length" 1 4 77 "$out/sotu/heldout"
done
for names in 'key-600 pair-700' 'key-1500 pair-1500' 'key-3000 pair-3000'; do
  read -r key pair <<<"$names"
  cat "$out/recall/$key/train.txt" "$out/recall/$pair/train.txt" >"$out/both.txt"
  shuf --random-source="$out/kjv.txt" "$out/both.txt" | head -c 2000000 || true # head closes the pipe, so shuf fails
  echo
done >"$out/recall-mix.txt"
for set in '600 1500' '1500 700' '3000 400' '6000 250' '12000 150'; do
  read -r length documents <<<"$set"
  recall "long-key-$length" passkey "$length" "$documents" 4 3 "$out/sotu/train"
  recall "long-pair-$length" pairs "$length" "$documents" 4 3 "$out/sotu/train"
done
cat "$out"/recall/long-*/train.txt >"$out/both.txt"
shuf --random-source="$out/kjv.txt" "$out/both.txt" >"$out/long-mix.txt"
rm "$out/both.txt"
wc -c "$out/kjv.txt" "$out/moby-dick.txt" "$out/recall-mix.txt" "$out/long-mix.txt"
