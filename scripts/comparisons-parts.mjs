/** Reads what scripts/comparisons.mjs wrote, and joins the parts of a cell. */
import { existsSync, readFileSync } from 'node:fs';

export const cellKey = ({ on, learner, policy }) => `${on}: ${policy}${learner ? ` of ${learner}` : ''}`;

/** The parts of each cell by where they begin: the first context or question. */
export function partsOf(file) {
  const done = new Map();
  if (!existsSync(file)) return done;
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    let part;
    try {
      part = JSON.parse(line);
    } catch {
      continue; // a line that was being written when the process ended
    }
    const key = cellKey(part);
    if (!done.has(key)) done.set(key, new Map());
    done.get(key).set(part.from, part);
  }
  return done;
}

const sum = (values) => values.reduce((a, b) => a + b, 0);

/** A cell as evaluate() or measureRecall() would have measured it at once; nothing if parts are missing. */
export function measuredCell(done, cell, whole) {
  const parts = [...done.get(cellKey(cell))?.values() ?? []].sort((a, b) => a.from - b.from);
  if (sum(parts.map(({ count }) => count)) < whole) return undefined;
  const all = parts.map(({ measured }) => measured);
  const policy = cell.policy;
  if (all[0].contexts) {
    const contexts = all.flatMap((each) => each.contexts);
    const total = (field) => sum(contexts.map((each) => each[field]));
    return {
      policy, contexts, perplexity: Math.exp(total('loss') / total('scored')),
      meanLiveShare: total('visiblePairs') / sum(contexts.map(({ inputs: n }) => n * (n + 1) / 2)),
      endLiveShare: total('live') / total('inputs'), residentBytes: all.at(-1).residentBytes, fullBytes: all.at(-1).fullBytes,
    };
  }
  const lengths = all.flatMap((each) => each.lengths);
  const causal = (part) => sum(part.lengths.map((n) => n * (n + 1) / 2));
  const right = all.flatMap((each) => each.right);
  return {
    policy, lengths, right, accuracy: right.filter(Boolean).length / right.length,
    distances: all.flatMap((each) => each.distances),
    meanLiveShare: sum(all.map((each) => each.meanLiveShare * causal(each))) / sum(all.map(causal)),
    residentShare: sum(all.map((each) => each.residentShare * sum(each.lengths))) / sum(lengths),
  };
}

/** How much a cell kept, as matchedPolicies() takes it. */
export const kept = ({ contexts, lengths, meanLiveShare, endLiveShare, residentShare }) => ({
  lengths: lengths ?? contexts.map(({ inputs }) => inputs), meanLiveShare, endShare: endLiveShare ?? residentShare,
});
