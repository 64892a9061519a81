/**
 * Runs `natsearch arena` in several processes at once, and then once more over all that they measured:
 *
 *     node scripts/arena.mjs 15 --model models/base --adapter models/adapters/keep-0.1-w32 --text runs/moby-dick.txt
 *       --budgets 0.05,0.1,0.25 --match --out runs/arena
 *
 * The first argument is the number of processes, and the rest is for `natsearch arena`, with one path after each
 * --text, --questions and --adapter. ARENA_SECONDS ends it after so long, and the same command goes on; in the last
 * ARENA_SPARE seconds nothing is begun.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [jobs, ...given] = process.argv.slice(2);
const values = (flag) => given.flatMap((word, n) => (word === flag ? [given[n + 1]] : []));
const rest = given.filter((word, n) => ![word, given[n - 1]].some((each) =>
  ['--text', '--questions', '--adapter', '--budgets', '--kinds', '--out'].includes(each)) && word !== '--match');
const [out] = values('--out');
const adapters = values('--adapter');
const budgets = (values('--budgets')[0] ?? '0.05,0.1,0.25').split(',');
const kinds = (values('--kinds')[0] ?? 'window,streaming,h2o,h2o-mean,keynorm,snapkv,tova,nats-rank').split(',');
const subjects = ['--text', '--questions'].flatMap((flag) => values(flag).map((path) => [flag, path]));
const parts = `${out}-parts`;
const fail = (message) => {
  process.stderr.write(`error: ${message}; the head of scripts/arena.mjs has an example\n`);
  process.exit(2);
};
if (!/^[1-9]\d*$/.test(jobs ?? '')) fail(`the first argument is ${jobs ?? 'missing'}: it must be the number of processes`);
if (!out) fail('--out is missing: it names the folder of the results');
if (subjects.length === 0) fail('--text or --questions is missing: an arena needs something to read');
if (!existsSync('dist/cli/main.js')) fail('dist/cli/main.js is missing: run npm run build first, in the folder of the repository');
const started = Date.now();
const left = () => Number(process.env.ARENA_SECONDS ?? Infinity) - (Date.now() - started) / 1000;
const known = new Map();
const spare = Number(process.env.ARENA_SPARE ?? 90);

/** All lines of results that any part has written so far. */
function collect() {
  for (const folder of [out, ...(existsSync(parts) ? readdirSync(parts) : []).map((each) => join(parts, each))]) {
    const file = join(folder, 'results.jsonl');
    if (!existsSync(file)) continue;
    for (const line of readFileSync(file, 'utf8').split('\n')) if (line !== '') known.set(JSON.parse(line).key, line);
  }
  return [...known.values()].map((line) => `${line}\n`).join('');
}

/** Runs one arena in a folder that begins with all that is known. */
function arena(folder, flags) {
  mkdirSync(folder, { recursive: true });
  const found = collect();
  if (found !== '') writeFileSync(join(folder, 'results.jsonl'), found);
  const child = spawn(process.execPath, ['dist/cli/main.js', 'arena', ...rest, ...flags, '--threads', '1', '--out', folder],
    { stdio: ['ignore', folder === out ? 'inherit' : 'ignore', 'inherit'] });
  const timer = Number.isFinite(left()) ? setTimeout(() => child.kill('SIGTERM'), Math.max(0, left()) * 1000) : undefined;
  return new Promise((resolve) => void child.on('close', (code) => { clearTimeout(timer); resolve(code); }));
}

// What everything else is compared with comes first, then a part for each policy and budget.
const queue = [];
for (const on of subjects) {
  queue.push([...on, '--kinds', 'window', '--budgets', budgets[0]]);
  for (const adapter of adapters) queue.push([...on, '--adapter', adapter, '--kinds', 'window', '--budgets', budgets[0]]);
}
const ranks = (kind) => kind === 'nats-rank';
for (const on of subjects) {
  for (const kind of kinds) {
    for (const by of ranks(kind) ? adapters : [undefined]) {
      for (const budget of budgets) queue.push([...on, ...(by ? ['--adapter', by] : []), '--kinds', kind, '--budgets', budget]);
    }
  }
}
if (given.includes('--match')) {
  for (const adapter of adapters) {
    for (const on of subjects) {
      for (const kind of kinds) queue.push([...on, '--adapter', adapter, '--kinds', kind, '--budgets', budgets[0], '--match']);
    }
  }
}
mkdirSync(parts, { recursive: true });
const total = queue.length;
let unfinished = 0;
async function worker(name) {
  while (queue.length > 0 && left() > spare) {
    const next = queue.shift();
    const code = await arena(join(parts, `${name}-${total - queue.length}`), next);
    unfinished += Number(code !== 0);
    process.stderr.write(`[${Math.round((Date.now() - started) / 1000)} s] ${total - queue.length} of ${total}: ${next.join(' ')}: ${code}\n`);
  }
}
await Promise.all(Array.from({ length: Number(jobs) }, (_, n) => worker(n)));
mkdirSync(out, { recursive: true });
writeFileSync(join(out, 'results.jsonl'), collect());
if (unfinished > 0 || queue.length > 0) {
  process.stderr.write(`${unfinished + queue.length} of ${total} parts are left: the same command goes on\n`);
  process.exitCode = 1;
} else {
  rmSync(parts, { recursive: true });
  process.exitCode = await arena(out, given.filter((word, n) => word !== '--out' && given[n - 1] !== '--out'));
}
