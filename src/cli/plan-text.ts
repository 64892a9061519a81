/**
 * A memory plan as text for people.
 * @module
 */
import type { KeptShares } from '../model/plan-cache.ts';
import { type MemoryPlan, type PlannedEngine, POSITIONS } from '../model/plan.ts';
import type { Machine } from './machine.ts';
import { formatBytes, formatCount, formatShare, table } from './terminal.ts';

/** The command's JSON. */
export interface Report {
  readonly model: string;
  readonly adapter?: string | undefined;
  readonly architecture: string;
  /** What the config says; null if it does not, in which case float32 is assumed. */
  readonly dtype: string | null;
  /** The number of tokens of context that the model was trained with. */
  readonly trainedWith: number;
  /** What learned types keep, and how that is known. `context` is the number of tokens at which it was measured. */
  readonly kept: {
    readonly share: KeptShares;
    readonly source: 'given' | 'measured' | 'assumed';
    readonly context?: number;
  };
  readonly machine: Machine & { readonly process: number };
  readonly engine: PlannedEngine;
  /** The engine of --gpu. `sharesMemory` says that it has no memory of its own. */
  readonly gpu: {
    readonly name: string;
    readonly tensorBytes: number;
    readonly limit: string;
    readonly sharesMemory: boolean;
  } | null;
  readonly plan: MemoryPlan;
}

/** How engines hold weights. */
const HELD: Readonly<Record<PlannedEngine, string>> = {
  reference: 'float32, norms in float64', wasm: 'the dtype of the file', gpu: 'float32',
};

/** The plan as lines and a table. */
export function describePlan(report: Report): string {
  const { machine, gpu, plan, kept } = report;
  const dtype = report.dtype ?? 'float32, since its config does not say';
  const held = HELD[report.engine];
  const lines = [
    `${report.model}: ${report.architecture}, ${formatCount(plan.parameters)} parameters`,
    `  download   ${formatBytes(plan.stored)} in ${dtype}`,
    `  weights    ${formatBytes(plan.weights)} once loaded, in ${held}`,
    `  cache      ${formatBytes(plan.tokenBytes)} per token if all of it is kept, in ${plan.cache}`,
    `  a step     ${formatBytes(plan.step)} while 64 tokens of a prompt are read`,
    `  machine    ${formatBytes(machine.memory)}${machine.contained ? ' that its container allows' : ''}, ${formatBytes(machine.free)} free now; ${formatBytes(machine.process)} are for Node`,
  ];
  if (gpu) {
    const own = gpu.sharesMemory ? '' : '; WebGPU does not tell how much memory it has';
    lines.push(`  engine     ${gpu.name}: one tensor has at most ${formatBytes(gpu.tensorBytes)} (${gpu.limit})${own}`);
  }
  lines.push(verdict(report), '', tableOf(plan), '');
  if (plan.policies.some(({ policy }) => policy === 'nats')) lines.push(`nats: ${sourceOf(kept)}, assumed to hold at every length.`);
  lines.push(`The model was trained with ${formatCount(report.trainedWith)} tokens of context; beyond them it may not make sense.`);
  return lines.join('\n');
}

function verdict({ plan, machine, gpu }: Report): string {
  if (plan.exceeds === undefined) {
    const now = plan.weights + plan.step;
    const tight = (gpu === null || gpu.sharesMemory) && now > machine.free;
    return `  fits       yes${tight ? `, but not beside what runs now: ${formatBytes(now)} are needed, ${formatBytes(machine.free)} are free` : ''}`;
  }
  if (plan.exceeds === 'memory') return `  fits       no: the weights and a step take ${formatBytes(plan.weights + plan.step)}`;
  return `  fits       no: ${plan.largest.name} takes ${formatBytes(plan.largest.bytes)}, beyond ${plan.exceeds}`;
}

function tableOf({ policies }: MemoryPlan): string {
  const contexts = policies[0]?.caches.map(({ tokens }) => tokens) ?? [];
  const rows = policies.map(({ policy, caches, longest }) => {
    const endless = Object.values(POSITIONS).includes(longest.limit ?? '');
    return [
      policy, ...caches.map(({ bytes, exceeds }) => `${formatBytes(bytes)}${exceeds === undefined ? '' : ' (no)'}`),
      endless ? 'any' : formatCount(longest.tokens), longest.limit ?? '',
    ];
  });
  const title = (tokens: number) => (tokens % 1024 === 0 ? `${tokens / 1024}k tokens` : `${formatCount(tokens)} tokens`);
  const headers = ['cache', ...contexts.map(title), 'longest text', 'its limit'];
  const align = headers.map((_, n) => (n === 0 || n === headers.length - 1 ? 'left' as const : 'right' as const));
  return table(headers, rows, { align });
}

function sourceOf({ share, source, context }: Report['kept']): string {
  const shares = typeof share === 'number' ? formatShare(share) : share.map(formatShare).join(' ');
  const what = typeof share === 'number' ? `${shares} of the cache kept` : `kept by layer ${shares}`;
  if (source === 'measured') return `${what}, as measured at ${formatCount(context ?? 0)} tokens`;
  return source === 'given' ? `${what}, as given` : `${what} (assumed: natsearch eval measures it, --keep changes it)`;
}
