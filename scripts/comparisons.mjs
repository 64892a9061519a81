#!/usr/bin/env node
/**
 * Measures every cell of the published comparisons (scripts/comparisons-plan.mjs) in several processes:
 *
 *     npm run build && bash scripts/base-texts.sh runs && bash scripts/code-text.sh runs/docutils.txt
 *     node scripts/comparisons.mjs 8 --texts runs --out runs/comparisons
 *     node scripts/comparisons-tables.mjs runs/comparisons
 *
 * A cell is cut into parts of some contexts or questions, each of which is a line of parts.jsonl as soon as it is
 * measured: the same command goes on, also where it was interrupted. --seconds N begins no part that could end later,
 * --contexts and --questions measure fewer than 64 and 200, and --last begins with the last cells of the plan. --only
 * PATTERN measures only cells whose name (cellName() in the plan) matches this regular expression; with several
 * patterns, those of the first come first.
 */
import { fork } from 'node:child_process';
import { appendFileSync, createReadStream, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cellName, CONTEXT, plan, SUBJECTS } from './comparisons-plan.mjs';
import { cellKey, kept, measuredCell, partsOf } from './comparisons-parts.mjs';

const library = () => import('../dist/index.js');

/** A process that measures the parts it is sent. */
async function work(texts) {
  const { createEngine, evaluate, loadModel, measureRecall, parsePolicy, tokenizeStream } = await library();
  const engine = createEngine({ engine: 'wasm' });
  const [models, read] = [new Map(), new Map()];
  const once = (map, name, make) => map.get(name) ?? map.set(name, make()).get(name);
  const model = (learner) => once(models, learner, async () => loadModel('models/base', {
    engine: await engine, ...(learner && { adapter: join('models/adapters', learner) }),
  }));
  const tokens = (path, most) => once(read, path, async () => {
    const files = statSync(path).isDirectory() ? readdirSync(path).sort().map((name) => join(path, name)) : [path];
    const source = await tokenizeStream((await model(null)).tokenizer,
      files.map((file) => createReadStream(file, 'utf8')), { bare: true, maxTokens: most });
    return source.slice(0, source.length);
  });
  process.on('message', (part) => void measure(part).catch((error) => {
    process.stderr.write(`${cellKey(part)}: ${error.stack}\n`);
    process.send({ ...part, measured: null });
  }));
  async function measure({ on, learner, policy, from, count, most }) {
    const begun = performance.now();
    const subject = SUBJECTS[on];
    const path = join(texts, subject.text ?? subject.questions);
    const how = { policy: parsePolicy(policy), step: 64 };
    let measured;
    if (subject.text) {
      const text = (await tokens(path, most * CONTEXT)).subarray(from * CONTEXT, (from + count) * CONTEXT);
      measured = await evaluate(await model(learner), text, { ...how, context: CONTEXT });
    } else {
      const lines = readFileSync(path, 'utf8').trim().split('\n').slice(from, from + count);
      const asked = lines.map((line) => JSON.parse(line));
      const distances = asked.map((each) => each.distance);
      measured = { ...await measureRecall(await model(learner), asked, how), distances };
    }
    process.send({ on, learner, policy, from, count, seconds: (performance.now() - begun) / 1000, measured });
  }
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      texts: { type: 'string', default: 'runs' }, out: { type: 'string' },
      seconds: { type: 'string', default: 'Infinity' },
      contexts: { type: 'string', default: '64' }, questions: { type: 'string', default: '200' },
      last: { type: 'boolean', default: false }, only: { type: 'string', multiple: true, default: [''] },
    },
  });
  const jobs = Number(positionals[0]);
  if (!Number.isInteger(jobs) || jobs < 1 || !values.out || !existsSync('dist/index.js')) {
    process.stderr.write('usage, after npm run build: node scripts/comparisons.mjs PROCESSES --texts DIR --out DIR\n');
    process.exit(2);
  }
  const { matchedPolicies, formatPolicy } = await library();
  const begun = performance.now();
  const most = (on) => Number(SUBJECTS[on].text ? values.contexts : values.questions);
  mkdirSync(values.out, { recursive: true });
  const file = join(values.out, 'parts.jsonl');
  const done = partsOf(file);
  if (existsSync(file) && !readFileSync(file, 'utf8').endsWith('\n')) appendFileSync(file, '\n'); // after a line that was cut off
  const ordered = values.last ? plan().reverse() : plan();
  const cells = values.only.flatMap((pattern) => ordered.filter((cell) => new RegExp(pattern).test(cellName(cell))));
  for (const on of new Set(cells.map((cell) => cell.on))) {
    const path = join(values.texts, SUBJECTS[on].text ?? SUBJECTS[on].questions);
    if (existsSync(path)) continue;
    const command = on === 'code' ? `code-text.sh ${path}` : `base-texts.sh ${values.texts}`;
    process.stderr.write(`${path} is missing: run bash scripts/${command}\n`);
    process.exit(2);
  }
  const running = new Set();
  let longest = 30; // seconds that a part may take

  /** The policy of a cell, once what it has to match is measured; null if no policy of its kind keeps as much. */
  function policyOf({ on, policy, match }) {
    if (policy !== undefined) return policy;
    const like = measuredCell(done, { on, learner: match.like, policy: 'nats' }, most(on));
    if (!like) return undefined;
    const found = matchedPolicies(kept(like), [match.kind]).find(({ by }) => by === match.by);
    return found.policy ? formatPolicy(found.policy) : null;
  }

  /** The next part to measure, or nothing for now. */
  function next() {
    if (performance.now() - begun > (Number(values.seconds) - longest) * 1000) return undefined;
    for (const cell of cells) {
      const policy = policyOf(cell);
      if (!policy) continue;
      const whole = most(cell.on);
      const step = SUBJECTS[cell.on].text ? 8 : 25;
      for (let from = 0; from < whole; from += step) {
        const count = Math.min(step, whole - from);
        const part = { on: cell.on, learner: cell.learner, policy, from, count, most: whole };
        const name = `${cellKey(part)} ${from}`;
        if (done.get(cellKey(part))?.has(from) || running.has(name)) continue;
        running.add(name);
        return part;
      }
    }
    return undefined;
  }

  function take(result) {
    appendFileSync(file, `${JSON.stringify(result)}\n`);
    const key = cellKey(result);
    if (!done.has(key)) done.set(key, new Map());
    done.get(key).set(result.from, result);
    running.delete(`${key} ${result.from}`);
    longest = Math.max(longest, result.seconds);
    const seconds = Math.round((performance.now() - begun) / 1000);
    process.stdout.write(`[${seconds} s] ${key} ${result.from} in ${result.seconds.toFixed(1)} s\n`);
  }

  const idle = [];
  let busy = 0;
  /** Gives a part to each process that has none. A part that ends may make others known, so the idle ones wait. */
  function give() {
    while (idle.length > 0) {
      const part = next();
      if (!part) break;
      busy++;
      idle.pop().send(part);
    }
    if (busy === 0) for (const child of idle.splice(0)) child.disconnect();
  }
  for (let n = 0; n < jobs; n++) {
    const child = fork(fileURLToPath(import.meta.url), ['worker', values.texts]);
    child.on('message', (result) => {
      busy--;
      idle.push(child);
      if (result.measured) take(result); // what failed stays among the running ones, and is tried again next time
      give();
    });
    child.on('exit', (code) => { if (code !== 0) process.exit(1); });
    idle.push(child);
  }
  give();
}

if (process.argv[2] === 'worker') await work(process.argv[3]);
else await main();
