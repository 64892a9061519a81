#!/usr/bin/env bash
# Writes the texts of docs/arena.md, with the same bytes everywhere:
#
#     bash scripts/arena-texts.sh NOVELS_FOLDER runs/arena-texts
#
# NOVELS_FOLDER has train/*.txt and heldout/*.txt; their SHA-256 is checked. It writes learn/*/questions.jsonl, documents
# from which a base learns to recall; types/, what token types are learned from, which has no document of the tasks
# hops, tracking and common, and needle and multikey only in wordings 0 to 4; and ask/*/questions.jsonl, questions
# about other documents, with filler from held-out novels: needle-b and multikey-b in wordings 5 to 9.
set -euo pipefail
[ $# -eq 2 ] || { echo 'usage: bash scripts/arena-texts.sh NOVELS_FOLDER OUT_FOLDER' >&2; exit 2; }
novels=$1
out=$2
here=$(dirname "${BASH_SOURCE[0]}")
natsearch=(node "${NATSEARCH:-$here/../dist/cli/main.js}")
hash=$(cd "$novels" && LC_ALL=C sha256sum train/*.txt heldout/*.txt | sha256sum | cut -c1-64)
[ "$hash" = 1cc39698fb6a15085b126497404cf2c0d2a4ac4c619b55add928c969a949eff9 ] || { echo "$novels: SHA-256 $hash of the list of files is another: these are not the novels of docs/arena.md" >&2; exit 1; }
mkdir -p "$out/learn" "$out/ask" "$out/types"

# write FOLDER KIND CHARACTERS DOCUMENTS SEED FILLER [more flags]
write() {
  local folder=$1 kind=$2 length=$3 tests=$4 seed=$5 filler=$6
  shift 6
  "${natsearch[@]}" recall write --out "$out/$folder" --kind "$kind" --length "$length" --documents 1 --tests "$tests" \
    --seed "$seed" --filler "$filler" "$@" >/dev/null
}

learn() { # NAME KIND CHARACTERS DOCUMENTS [more flags]
  local name=$1
  shift
  local kind=$1 length=$2 tests=$3
  shift 3
  write "learn/$name-$length" "$kind" "$length" "$tests" 1 "$novels/train" "$@"
}
ask() { # NAME KIND CHARACTERS [more flags]
  local name=$1 kind=$2 length=$3
  shift 3
  write "ask/$name-$length" "$kind" "$length" 200 77 "$novels/heldout" "$@"
}
types() { # NAME KIND CHARACTERS DOCUMENTS [more flags]
  local name=$1 kind=$2 length=$3 tests=$4
  shift 4
  write "types/$name-$length" "$kind" "$length" "$tests" 2 "$novels/train" "$@"
}

{
  cat <<'SETS'
learn passkey passkey 250 5000
learn passkey passkey 600 2500
learn passkey passkey 1500 1200
learn passkey passkey 5000 300
learn passkey passkey 11000 150
learn pairs2 pairs 250 6000 --pairs 2
learn pairs4 pairs 400 5000
learn pairs8 pairs 800 2500 --pairs 8
learn pairs4 pairs 1500 1200
learn pairs4 pairs 5000 300
learn pairs4 pairs 11000 150
learn needle needle 250 20000
learn needle needle 600 8000
learn needle needle 1500 2500
learn needle needle 5000 500
learn needle needle 11000 250
learn multikey2 multikey 250 12000 --pairs 2
learn multikey4 multikey 400 16000
learn multikey8 multikey 800 6000 --pairs 8
learn multikey4 multikey 1500 2500
learn multikey4 multikey 5000 500
learn multikey4 multikey 11000 250
learn hops1 hops 350 9000 --hops 1
learn hops2 hops 500 10000 --hops 2
learn hops3 hops 650 7000 --hops 3
learn hops4 hops 800 5000 --hops 4
learn hops2 hops 1500 2500 --hops 2
learn hops3 hops 5000 400 --hops 3
learn hops2 hops 11000 200 --hops 2
learn tracking1 tracking 350 9000 --hops 1
learn tracking2 tracking 500 10000 --hops 2
learn tracking3 tracking 650 7000 --hops 3
learn tracking4 tracking 800 5000 --hops 4
learn tracking2 tracking 1500 2500 --hops 2
learn tracking3 tracking 5000 400 --hops 3
learn tracking2 tracking 11000 200 --hops 2
learn common3 common 700 7000 --pairs 3
learn common4 common 900 5000 --pairs 4
learn common4 common 2000 2000 --pairs 4
learn common4 common 5000 400 --pairs 4
learn common4 common 11000 200 --pairs 4
types passkey passkey 1500 700
types passkey passkey 5000 250
types passkey passkey 11000 150
types pairs4 pairs 1500 700
types pairs4 pairs 5000 250
types pairs4 pairs 11000 150
types needle needle 1500 700 --templates 0 1 2 3 4
types needle needle 5000 250 --templates 0 1 2 3 4
types needle needle 11000 150 --templates 0 1 2 3 4
types multikey4 multikey 1500 700 --templates 0 1 2 3 4
types multikey4 multikey 5000 250 --templates 0 1 2 3 4
types multikey4 multikey 11000 150 --templates 0 1 2 3 4
ask passkey passkey 2400
ask pairs4 pairs 2400
ask needle-b needle 2400 --templates 5 6 7 8 9
ask multikey4-b multikey 2400 --templates 5 6 7 8 9
ask hops2 hops 2400 --hops 2
ask hops3 hops 2400 --hops 3
ask hops4 hops 2400 --hops 4
ask tracking2 tracking 2400 --hops 2
ask tracking3 tracking 2400 --hops 3
ask tracking4 tracking 2400 --hops 4
ask common4 common 2400
ask passkey passkey 9000
ask pairs4 pairs 9000
ask needle-b needle 9000 --templates 5 6 7 8 9
ask multikey4-b multikey 9000 --templates 5 6 7 8 9
SETS
} >"$out/sets.txt"
jobs=$(nproc)
while read -r what rest; do
  # shellcheck disable=SC2086
  "$what" $rest &
  while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
done <"$out/sets.txt"
wait
rm "$out/sets.txt"
# Types are learned from plain text: documents with their answers, one per line, shuffled.
node -e "
const { readdirSync, readFileSync, writeFileSync, rmSync } = require('node:fs');
const out = process.argv[1] + '/types';
const lines = [];
for (const name of readdirSync(out).filter((each) => !each.endsWith('.txt')).sort()) {
  const text = readFileSync(out + '/' + name + '/questions.jsonl', 'utf8').trimEnd();
  for (const line of text.split('\n')) { const { prompt, answer } = JSON.parse(line); lines.push(prompt + answer + '.'); }
  rmSync(out + '/' + name, { recursive: true });
}
let state = 12345; // a small generator, so that everybody gets the same order
for (let n = lines.length - 1; n > 0; n--) {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  const other = (state >>> 8) % (n + 1);
  [lines[n], lines[other]] = [lines[other], lines[n]];
}
writeFileSync(out + '/recall.txt', lines.join('\n') + '\n');
" "$out"
du -sh "$out"/*
