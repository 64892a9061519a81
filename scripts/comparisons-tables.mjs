#!/usr/bin/env node
/**
 * Prints what scripts/comparisons.mjs measured as tables of Markdown, with paired standard errors:
 *
 *     node scripts/comparisons-tables.mjs runs/comparisons
 *
 * A cell that was not measured is a dash, and a text without full attention is left out. A number in brackets is that
 * of a simulator in PyTorch, which shares no code with this project. With --off, the cells that differ from it by more
 * than the rounding of its numbers are listed.
 */
import { join } from 'node:path';
import { formatPolicy, matchedPolicies, perplexityDifference, recallDifference } from '../dist/index.js';
import { FAR_QUESTIONS, MAIN, OTHER_TEXTS, PATTERNS, QUESTIONS, SCORED, sized, SIZES, SUBJECTS, TEXTS, WAYS } from './comparisons-plan.mjs';
import { kept, measuredCell, partsOf } from './comparisons-parts.mjs';

const file = join(process.argv[2] ?? 'runs/comparisons', 'parts.jsonl');
const done = partsOf(file);
const [texts, others] = [TEXTS, OTHER_TEXTS].map((each) => each.filter((on) => cell(on, 'full')));
if (texts.length + others.length === 0 && !FAR_QUESTIONS.some((on) => cell(on, 'nats', 'far-0.1-w32'))) {
  process.stderr.write(`${file} has no complete full attention on any text: run node scripts/comparisons.mjs first\n`);
  process.exit(2);
}
/** What was measured of a cell; nothing if parts are missing. */
function cell(on, policy, learner = null) {
  return measuredCell(done, { on, learner, policy }, SUBJECTS[on].text ? 64 : 200);
}

const say = (...lines) => process.stdout.write(`${lines.join('\n')}\n`);
const row = (...cells) => say(`| ${cells.join(' | ')} |`);
const signed = (x, digits = 2) => `${x < 0 ? '-' : '+'}${Math.abs(x).toFixed(digits)}`;
const share = (x) => `${(100 * x).toFixed(1)}%`;

/** The perplexity of one cell relative to that of another, in per cent. */
function relative(one, other) {
  if (!one || !other) return '-';
  const { percent, standardError } = perplexityDifference(one.contexts, other.contexts);
  return `${signed(percent)} ± ${standardError.toFixed(2)}`;
}

/** The policy of a kind that keeps as much as the types of an adapter. */
function like(on, adapter, kind, by) {
  const types = cell(on, 'nats', adapter);
  const found = types && matchedPolicies(kept(types), [kind]).find((each) => each.by === by);
  return found?.policy && formatPolicy(found.policy);
}

/** Learned types relative to the row in the simulator, for the same mean, end and both. */
const SIMULATED = {
  'keep-0.1-w32': {
    addresses: {
      window: [-2.3, 0.9, -2.9], streaming: [-1.8, 1.2, -1.9], h2o: [-3.4, -0.4, -2.8], tova: [-1.9, -0.6, -2.1],
      snapkv: [0.3, 1.5, 0.1], 'nats-rank': [-0.9, 1.0, -0.6],
    },
    'moby-dick': {
      window: [-3.3, 1.1, -3.6], streaming: [-1.8, 1.7, -2.0], h2o: [-6.4, -2.0, -5.8], tova: [-6.3, -3.9, -6.6],
      snapkv: [-1.1, 1.6, -1.2], 'nats-rank': [0.4, 3.7, 1.0],
    },
  },
  'keep-0.25-w64': {
    addresses: {
      window: [-0.5, 0.5, -1.0], streaming: [-0.5, 0.5, -0.9], h2o: [-1.6, -0.3, -1.9], tova: [-3.1, -1.9, -3.2],
      snapkv: [-1.3, -0.4, -1.5], 'nats-rank': [-0.5, 0.4, -0.4],
    },
    'moby-dick': {
      window: [-3.0, 0.4, -3.2], streaming: [-3.2, -0.2, -3.4], h2o: [-6.4, -3.1, -6.5], tova: [-10.0, -7.2, -10.3],
      snapkv: [-5.7, -3.1, -5.8], 'nats-rank': [-2.6, 0.2, -2.3],
    },
  },
};

const aboutTypes = (on, adapter) => {
  const types = cell(on, 'nats', adapter);
  return `full ${cell(on, 'full').perplexity.toFixed(3)}, nats ${types.perplexity.toFixed(3)}: ${relative(types, cell(on, 'full'))}; ` +
    `${share(types.meanLiveShare)} of pairs, ${share(types.endLiveShare)} at the end; budgets ` +
    WAYS.map((by) => like(on, adapter, 'tova', by)).join(', ');
};

const off = [];
for (const [adapter, simulated] of Object.entries(SIMULATED)) {
  for (const on of texts) {
    const types = cell(on, 'nats', adapter);
    if (!types) continue;
    say('', `## ${adapter}, ${on}: learned types relative to the policy, per cent`, '',
      aboutTypes(on, adapter), '');
    row('policy', 'same mean', 'same end', 'same mean and end');
    row('---', '---', '---', '---');
    for (const kind of [...PATTERNS, ...SCORED]) {
      row(kind, ...WAYS.map((by, n) => {
        const policy = like(on, adapter, kind, by);
        const other = policy && cell(on, policy, kind === 'nats-rank' ? adapter : null);
        const known = simulated[on][kind]?.[n];
        if (other && known !== undefined) {
          const { percent, standardError } = perplexityDifference(types.contexts, other.contexts);
          off.push({ name: `${adapter} ${on} ${kind} ${by}`, points: percent - known, errors: (percent - known) / standardError });
        }
        return `${relative(types, other)}${known === undefined ? '' : ` (${signed(known, 1)})`}`;
      }));
    }
  }
}
const worst = (by) => off.reduce((most, each) => (Math.abs(each[by]) > Math.abs(most[by]) ? each : most));
if (process.argv[3] === '--off') for (const each of off) if (Math.abs(each.points) > 0.0501) say(JSON.stringify(each));
if (off.length > 0) {
  say('', `${off.length} cells of the simulator: farthest off in points ${JSON.stringify(worst('points'))}, in standard errors ` +
    `${JSON.stringify(worst('errors'))}; ${off.filter(({ points }) => Math.abs(points) > 0.0501).length} differ by more than its rounding`);
}

const RANK = 'rank-w32';
for (const on of [...texts, ...others]) {
  say('', `## A fixed memory, ${on}: relative to full attention (${cell(on, 'full').perplexity.toFixed(3)}), per cent`, '');
  row(on, ...SIZES);
  row('---', ...SIZES.map(() => '---'));
  const ranks = [[`nats-rank, ${RANK}`, RANK], ['nats-rank, keep-0.1-w32', 'keep-0.1-w32']];
  const others = ['window', 'streaming', 'snapkv', 'h2o', 'h2o-mean', 'tova', 'keynorm'];
  const at = (kind, size, learner) => cell(on, sized(kind, size), learner);
  for (const [name, learner] of ranks) row(name, ...SIZES.map((size) => relative(at('nats-rank', size, learner), cell(on, 'full'))));
  for (const kind of others) row(kind, ...SIZES.map((size) => relative(at(kind, size), cell(on, 'full'))));
  for (const kind of [...others]) {
    row(`rank-w32 relative to ${kind}`, ...SIZES.map((size) => relative(at('nats-rank', size, RANK), at(kind, size))));
  }
  row('rank-w32 relative to keep-0.1-w32', ...SIZES.map((size) =>
    relative(at('nats-rank', size, RANK), at('nats-rank', size, 'keep-0.1-w32'))));
}

for (const on of others.filter((each) => cell(each, 'nats', 'keep-0.1-w32'))) {
  say('', `## keep-0.1-w32, ${on}: learned types relative to the policy, per cent`, '', aboutTypes(on, 'keep-0.1-w32'), '');
  row('policy', 'same mean', 'same end', 'same mean and end');
  row('---', '---', '---', '---');
  for (const kind of MAIN) {
    row(kind, ...WAYS.map((by) => {
      const policy = like(on, 'keep-0.1-w32', kind, by);
      return relative(cell(on, 'nats', 'keep-0.1-w32'), policy && cell(on, policy));
    }));
  }
}

say('', '## Recall, 200 questions each', '');
const quarters = ({ right, distances }) => {
  const order = right.map((hit, n) => ({ hit, at: distances[n] })).sort((a, b) => a.at - b.at);
  return [0, 1, 2, 3].map((q) => {
    const own = order.slice(q * right.length / 4, (q + 1) * right.length / 4);
    return `${Math.round(100 * own.filter(({ hit }) => hit).length / own.length)}%`;
  }).join(' ');
};
const header = ['', ...QUESTIONS.flatMap((on) => [on, 'nats knows more', 'nearest to farthest', 'live, mean', 'at the end'])];
row(...header);
row(...header.map(() => '---'));
const shown = (name, found, types) => row(name, ...found.flatMap((each, n) => (each ? [
  share(each.accuracy),
  types[n] && each !== types[n]
    ? (({ points, standardError }) => `${signed(points, 1)} ± ${standardError.toFixed(1)}`)(recallDifference(types[n].right, each.right)) : '-',
  quarters(each), share(each.meanLiveShare), share(each.residentShare),
] : ['-', '-', '-', '-', '-'])));
for (const adapter of ['keep-0.1-w32', 'keep-0.15-w32', 'keep-0.25-w64', 'keep-0.5-w64']) {
  const types = QUESTIONS.map((on) => cell(on, 'nats', adapter));
  shown('full', QUESTIONS.map((on) => cell(on, 'full')), types);
  shown(`nats, ${adapter}`, types, types);
  for (const by of WAYS) {
    for (const kind of [...PATTERNS, ...SCORED]) {
      const policies = QUESTIONS.map((on) => like(on, adapter, kind, by));
      for (const learner of kind === 'nats-rank' ? [...new Set([adapter, RANK])] : [null]) {
        const found = QUESTIONS.map((on, n) => policies[n] && cell(on, policies[n], learner));
        const name = `${policies.join('; ')}${learner ? ` of ${learner}` : ''}, same ${by}`;
        if (found.some(Boolean)) shown(name, found, types);
      }
    }
  }
}

for (const on of texts) {
  say('', `## All adapters, ${on}`, '');
  row('cache', 'perplexity', 'over full', 'nats relative to it', 'live, mean', 'live, end', 'resident at the end, KiB');
  row('---', '---', '---', '---', '---', '---', '---');
  const full = cell(on, 'full');
  const line = (name, each, types) => each && row(name, each.perplexity.toFixed(2), relative(each, full), each === types ? '-' : relative(types, each),
    share(each.meanLiveShare), share(each.endLiveShare), Math.round(each.residentBytes / 1024));
  line('full', full, full);
  for (const adapter of ['keep-0.1-w32', 'keep-0.15-w32', 'keep-0.25-w32', 'keep-0.25-w64', 'keep-0.5-w64']) {
    const types = cell(on, 'nats', adapter);
    if (!types) continue;
    line(adapter, types, types);
    for (const by of WAYS) {
      for (const kind of PATTERNS) {
        const policy = like(on, adapter, kind, by);
        if (policy) line(`${policy}, same ${by}`, cell(on, policy), types);
      }
    }
  }
}

const TWO = 'two-0.1-w16-l128';
for (const on of texts) {
  const types = cell(on, 'nats', TWO);
  if (!types) continue;
  say('', `## ${TWO}, ${on}: ${share(types.meanLiveShare)} of pairs, ${share(types.endLiveShare)} at the end`, '');
  row('cache', 'over full attention of the base', 'types relative to it', 'live, mean', 'live, end');
  row('---', '---', '---', '---', '---');
  const line = (name, each) => each && row(name, relative(each, cell(on, 'full')), each === types ? '-' : relative(types, each),
    share(each.meanLiveShare), share(each.endLiveShare));
  line('nats', types);
  line('full, with its changes of q and k', cell(on, 'full', TWO));
  line('nats, keep-0.1-w32', cell(on, 'nats', 'keep-0.1-w32'));
  for (const by of ['mean', 'end']) {
    for (const kind of MAIN) {
      const policy = like(on, TWO, kind, by);
      line(`${policy}, same ${by}`, policy && cell(on, policy, TWO));
    }
  }
}

for (const [adapter, subjects] of [[TWO, QUESTIONS], ['far-0.1-w32', FAR_QUESTIONS]]) {
  for (const on of subjects) {
    const types = cell(on, 'nats', adapter);
    if (!types) continue;
    say('', `## ${adapter}, ${on}`, '');
    row('cache', 'known', 'nats knows more', 'nearest to farthest', 'live, mean', 'at the end');
    row('---', '---', '---', '---', '---', '---');
    const window = like(on, adapter, 'window', 'end');
    for (const policy of ['full', 'nats', window]) shown(policy, [cell(on, policy, adapter)], [types]);
  }
}
