/**
 * A trace as JSON for other programs, and as a table.
 * @module
 */
import { FOREVER, TOKEN_TYPE_NAMES } from '../../core/lifetime.ts';
import { endingOf } from '../../evaluate/trace/ending.ts';
import { meanLiveShare } from '../../evaluate/trace/equal.ts';
import {
  entriesOverTime, type HeadTrace, markOverTime, NO_TYPE, type PolicyTrace, TOP_QUERIES, type Trace,
} from '../../evaluate/trace/trace.ts';
import { formatBytes, formatCount, formatShare, table } from '../terminal.ts';

/** The perplexity of the tokens after the first. */
export const perplexityOf = ({ loss }: PolicyTrace): number => {
  const known = loss.filter((x) => !Number.isNaN(x));
  return Math.exp(known.reduce((a, b) => a + b, 0) / Math.max(known.length, 1));
};

/** Everything about a head, with lists instead of typed arrays, and null for what is not there. */
function headReport(policy: PolicyTrace, head: HeadTrace): Record<string, unknown> {
  return {
    types: Array.from(head.types, (type) => (type === NO_TYPE ? null : TOKEN_TYPE_NAMES[type])),
    scores: head.scores.length === 0 ? null
      : Array.from(head.types, (_, j) => Array.from(head.scores.subarray(3 * j, 3 * j + 3))),
    last: Array.from(head.last, (last) => (last === FOREVER ? null : last)),
    ended: Array.from(head.last, (_, j) => endingOf(policy, head, j).words),
    received: Array.from(head.received),
    usedMostBy: Array.from(head.last, (_, j) => Array.from({ length: TOP_QUERIES }, (__, n) => ({
      query: head.users[j * TOP_QUERIES + n], weight: head.userWeights[j * TOP_QUERIES + n],
    })).filter(({ query }) => query >= 0)),
  };
}

/** The first token after which nothing of a mark is held; null if there is none. */
export function forgottenAt(over: Float64Array, end: number): number | null {
  for (let time = end - 1; time < over.length; time++) if (over[time] === 0) return time;
  return null;
}

/** The document that --json prints. */
export function traceReport(trace: Trace): Record<string, unknown> {
  return {
    model: trace.model, engine: trace.engine, tokens: [...trace.tokens],
    pieces: trace.pieces, layers: trace.layers, kvHeads: trace.kvHeads,
    policies: trace.policies.map((policy) => ({
      policy: policy.policy, lifetimes: policy.lifetimes ?? null, budget: policy.budget ?? null,
      reach: policy.reach ?? null,
      entryBytes: policy.entryBytes, perplexity: perplexityOf(policy), meanLiveShare: meanLiveShare(policy),
      entries: [...entriesOverTime(policy)],
      loss: Array.from(policy.loss, (x) => (Number.isNaN(x) ? null : x)), predicted: [...policy.predicted],
      watched: trace.marks.map((mark) => ({ ...mark, forgottenAt: forgottenAt(markOverTime(policy, mark), mark.end) })),
      heads: policy.heads.map((layer) => layer.map((head) => headReport(policy, head))),
    })),
  };
}

/** The summary: one row per policy. */
export function traceText(trace: Trace, out: string): string {
  const N = trace.tokens.length;
  const heads = trace.layers.length * trace.kvHeads;
  const rows = trace.policies.map((policy) => {
    const entries = entriesOverTime(policy)[N - 1];
    const watched = trace.marks.map((mark) => {
      const at = forgottenAt(markOverTime(policy, mark), mark.end);
      return at === null ? 'held' : `forgotten at ${formatCount(at)}`;
    });
    return [
      policy.policy, perplexityOf(policy).toFixed(3), formatShare(meanLiveShare(policy)),
      formatShare(entries / (heads * N)), formatBytes(entries * policy.entryBytes), ...watched,
    ];
  });
  const about = `${trace.model}: ${formatCount(N)} tokens, ${trace.layers.length} layers of ${trace.kvHeads} KV heads, on ${trace.engine}`;
  const headers = ['policy', 'perplexity', 'live, mean', 'live, end', 'entries', ...trace.marks.map(({ name }) => JSON.stringify(name))];
  return `${about}\n\n${table(headers, rows)}\n\n${out} plays it back in any browser\n`;
}
