/**
 * Draws docs/passage.svg: the beginning of the text that `natsearch start` reads, with each character in the colour of
 * the token type that the shipped model chose for it. Needs the built command (npm start builds it).
 *
 *     node scripts/passage.mjs [--check]    --check writes nothing, and fails if the file is out of date
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const output = `${root}docs/passage.svg`;
const [COLUMNS, ROWS, WIDTH, HEIGHT, LEFT, TOP] = [76, 13, 9.6, 27, 24, 86];

const said = execFileSync(process.execPath, [
  'dist/cli/main.js', 'start', '--text', 'examples/moby-dick.txt', '--json', // with a text, nothing else is asked
], {
  cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 2 ** 26,
});
const { text: [file], types: { layer, head, shares, tokens } } = JSON.parse(said);

/** The characters with their types. A token is a byte, and a character has the type of its first byte. */
const characters = [];
let at = 0;
for (const character of readFileSync(root + file, 'utf8')) {
  characters.push({ character: character === '\n' ? ' ' : character, type: tokens[at] });
  at += Buffer.byteLength(character);
}

/** The characters in lines that break only between words. */
const lines = [[]];
for (let n = 0; n < characters.length && lines.length <= ROWS;) {
  let end = n;
  while (end < characters.length && characters[end].character !== ' ') end++;
  if (lines.at(-1).length + end - n > COLUMNS) lines.push([]);
  lines.at(-1).push(...characters.slice(n, end + 1));
  n = end + 1;
}
const shown = lines.slice(0, ROWS);

const escaped = (text) => text.replace(/[&<>]/g, (one) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[one]);
const round = (x) => Number(x.toFixed(1));
const percent = (share) => `${(100 * share).toFixed(1)}%`;

function line(row, n) {
  const y = TOP + n * HEIGHT;
  const marks = row.flatMap(({ type }, column) => type === 'WINDOW' || type === null ? [] : [
    `<rect class="${type[0]}" x="${round(LEFT + column * WIDTH)}" y="${y - 18}" width="${WIDTH}" height="24" rx="2.5"/>`,
  ]);
  // One element for each run of characters of one type. textLength aligns the columns in any font.
  const runs = [];
  row.forEach(({ character, type }, column) => {
    const last = runs.at(-1);
    if (last?.type === type) last.text += character;
    else runs.push({ type, column, text: character });
  });
  const words = runs.map(({ type, column, text }) => {
    const length = round(Array.from(text).length * WIDTH);
    return `<text class="t${type?.[0] ?? 'W'}" x="${round(LEFT + column * WIDTH)}" y="${y}" textLength="${length}">${escaped(text)}</text>`;
  });
  return [...marks, ...words].join('');
}

const [globals, locals, windows] = shares.map(percent);
const legend = [
  ['G', 'GLOBAL', `kept for good: ${globals}`, 24], ['L', 'LOCAL', `until the next GLOBAL: ${locals}`, 238],
  ['W', 'WINDOW', `for 32 more tokens: ${windows}`, 500],
].map(([letter, name, rule, x]) =>
  `<rect class="${letter}" x="${x}" y="36" width="62" height="20" rx="2.5"/><text class="k t${letter}" x="${x + 31}" y="50" text-anchor="middle">${name}</text>` +
  `<text class="k" x="${x + 70}" y="50">${rule}</text>`);

const width = round(2 * LEFT + (COLUMNS + 1) * WIDTH);
const height = TOP + shown.length * HEIGHT;
const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="A passage of Moby-Dick, each character in the colour of its token type">
<style>
.b { fill: #ffffff; stroke: #d0d7de } text { fill: #1f2328; white-space: pre } .m text, .m { font: 16px ui-monospace, Menlo, Consolas, monospace }
.k, .h { font: 13px system-ui, sans-serif } .h { font-weight: 600 }
.G { fill: #0b5cad } .L { fill: #f0a020 } .W { fill: #e4e8ec }
.tG { fill: #ffffff; font-weight: 700 } .tL { fill: #1a1a1a; font-weight: 700 } text.tW { fill: #57606a }
@media (prefers-color-scheme: dark) {
.b { fill: #0d1117; stroke: #30363d } text { fill: #e6edf3 } .G { fill: #2a78d4 } .W { fill: #262c34 } text.tW { fill: #9aa4af }
}
</style>
<rect class="b" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>
<text class="h" x="24" y="23">What layer ${layer}, KV head ${head} of models/nats remembers of Moby-Dick: it chose a type for every character</text>
${legend.join('\n')}
<g class="m">
${shown.map(line).join('\n')}
</g>
</svg>
`;

if (process.argv.includes('--check')) {
  if (readFileSync(output, 'utf8') !== svg) {
    console.error('docs/passage.svg is out of date: run node scripts/passage.mjs');
    process.exitCode = 1;
  }
} else {
  writeFileSync(output, svg);
}
