/**
 * Reads the beginning of the passage of `natsearch start` with the shipped model, and writes which types its heads
 * chose: docs/chapters/trained-types.json, and the figure trained-types.svg beside it. Needs the built library (npm
 * start builds it).
 *
 *     node scripts/trained-types.mjs [--check]    --check writes nothing, and fails if a file is out of date
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createEngine, lifetime, loadModel, ndarray, withStarts } from '../dist/index.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const TOKENS = 1024;

const engine = createEngine();
const model = await loadModel(`${root}models/nats`, { engine });
const { layers, kvHeads, nats: { window } } = model.config;
const text = readFileSync(`${root}examples/moby-dick.txt`, 'utf8');
const tokens = [...withStarts(model.tokenizer, model.tokenizer.encode(text))].slice(0, TOKENS);
const types = Array.from({ length: layers * kvHeads }, () => []);
const session = model.session();
for (let at = 0; at < TOKENS; at += 64) {
  const fed = tokens.slice(at, at + 64);
  await session.step(fed, {
    onTypes: (layer, rows) => {
      const width = rows.length / kvHeads;
      for (let g = 0; g < kvHeads; g++) {
        types[layer * kvHeads + g].push(...rows.slice(g * width, g * width + fed.length));
      }
    },
  });
}
session.dispose();
model.dispose();
engine.dispose();

/** How a byte is shown. */
const name = (byte) => ({ 32: 'space', 10: 'line end' })[byte] ?? (byte < 256 ? String.fromCharCode(byte) : 'start');
const heads = types.map((of, n) => {
  const counts = [0, 1, 2].map((type) => of.filter((each) => each === type).length);
  const { data: last } = lifetime(ndarray(Int32Array.from(of), [1, 1, TOKENS]), { window });
  const pairs = [...last].reduce((sum, end, j) => sum + Math.min(end, TOKENS - 1) - j + 1, 0);
  const seen = new Map();
  of.forEach((type, t) => {
    const [all, global] = seen.get(tokens[t]) ?? [0, 0];
    seen.set(tokens[t], [all + 1, global + (type === 0 ? 1 : 0)]);
  });
  const common = [...seen].filter(([, [all, global]]) => all >= 8 && global > 0)
    .map(([byte, [all, global]]) => ({ character: name(byte), global, all }))
    .sort((a, b) => b.global / b.all - a.global / a.all || (a.character < b.character ? -1 : 1)).slice(0, 4);
  return {
    layer: Math.floor(n / kvHeads), head: n % kvHeads, counts, held: last.filter((end) => end >= TOKENS).length,
    pairs: Number((pairs / (TOKENS * (TOKENS + 1) / 2)).toFixed(4)), global: common,
  };
});

/** A strip per head, with a mark for each token that is GLOBAL or LOCAL. */
const [LEFT, TOP, WIDTH, ROW] = [120, 62, 768, 30];
const scale = WIDTH / TOKENS;
const round = (x) => Number(x.toFixed(2));
const strips = types.map((of, n) => {
  const y = TOP + n * ROW;
  const marks = of.map((type, t) => (type === 2 ? ''
    : `<rect class="${type === 0 ? 'g' : 'l'}" x="${round(LEFT + t * scale)}" y="${type === 0 ? y : y + 11}" width="1.4" height="${type === 0 ? 22 : 11}"/>`));
  const { layer, head } = heads[n];
  return `<text x="${LEFT - 10}" y="${y + 15}" class="e">layer ${layer}, head ${head}</text>` +
    `<rect class="w" x="${LEFT}" y="${y}" width="${WIDTH}" height="22"/>${marks.join('')}`;
});
const height = TOP + types.length * ROW + 30;
const ticks = [0, 256, 512, 768, 1024].map((t) => `<text x="${round(LEFT + t * scale)}" y="${height - 12}" class="m">${t}</text>`);
const figure = `<svg xmlns="http://www.w3.org/2000/svg" width="910" height="${height}" viewBox="0 0 910 ${height}" role="img">
<title>The types that the eight heads of models/nats gave the first 1,024 tokens of a passage of Moby-Dick</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .e { text-anchor: end } .m { text-anchor: middle } .page { fill: #ffffff }
.g { fill: #0b5cad } .l { fill: #d97706 } .w { fill: #e8ebee }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .page { fill: #0d1117 } .g { fill: #6db3ff } .l { fill: #f0a020 } .w { fill: #272c33 } }
</style>
<rect class="page" width="910" height="${height}"/>
<rect class="g" x="120" y="14" width="3" height="22"/><text x="130" y="30">GLOBAL (a whole line)</text>
<rect class="l" x="300" y="25" width="3" height="11"/><text x="310" y="30">LOCAL (a half one)</text>
<rect class="w" x="460" y="14" width="22" height="22"/><text x="490" y="30">WINDOW (the rest)</text>
${[...strips, ...ticks].join('\n')}
</svg>
`;

const files = {
  'docs/chapters/trained-types.svg': figure,
  'docs/chapters/trained-types.json': `[\n${heads.map((head) => JSON.stringify(head)).join(',\n')}\n]\n`,
};
for (const [path, content] of Object.entries(files)) {
  let old = '';
  try {
    old = readFileSync(root + path, 'utf8');
  } catch { /* not there yet */ }
  if (old === content) continue;
  if (process.argv.includes('--check')) {
    console.error(`${path} is out of date: run node scripts/trained-types.mjs, then npm run docs`);
    process.exitCode = 1;
  } else {
    writeFileSync(root + path, content);
    console.error(`wrote ${path}`);
  }
}
