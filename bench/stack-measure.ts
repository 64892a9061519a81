/**
 * Measures how far an engine is from the float64 reference: for each operation, and in the tokens of a greedy
 * generation. Runs wherever engines run: in Node, in Deno and in a page in a browser.
 * @module
 */
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { createEngine, type GpuChoice } from '../src/engines.ts';
import { loadModel, type ModelBytes } from '../src/load.ts';
import { withStarts } from '../src/model/tokenizer/tokenizer.ts';
import { Draw, type Result, SIZES, STACK_CASES } from './stack-cases.ts';

const SEED = 2024;
const PROMPT = 'My fellow citizens, ';
const NEW_TOKENS = 200;

/**
 * The largest errors of one result over all sizes. ULPs are those of float32; `wrong` counts whole numbers that differ.
 */
export interface OperationError {
  readonly operation: string;
  readonly elements: number;
  readonly maxError?: number;
  readonly maxUlps?: number;
  readonly wrong?: number;
}

/** The results of one stack, or why it was skipped. */
export interface StackReport {
  /** 'reference float32', 'gpu.js webgpu', ... */
  readonly stack: string;
  /** 'Node 20.20.0', 'Deno 2.9.6', 'Chromium 156', ... */
  readonly runtime: string;
  /** The engine's own name, which includes the adapter. */
  readonly engine?: string;
  readonly operations?: readonly OperationError[];
  /** `lead` is the smallest distance between the highest and second highest logit of the reference. */
  readonly tokens?: { readonly agree: number; readonly of: number; readonly lead: number };
  readonly skipped?: string;
}

/**
 * A stack by name: 'reference' is the reference in float32, 'wgsl' the engine of hand-written WGSL, 'wgsl-f16' the same
 * with products of many rows in float16, and the rest are backends of gpu.js.
 */
export type StackName = 'reference' | 'wgsl-f16' | Exclude<GpuChoice, true>;

/** What tables call a stack. */
export function titleOf(name: StackName): string {
  if (name === 'reference') return 'reference float32';
  return name === 'wgsl' ? name : name === 'wgsl-f16' ? 'wgsl, compute f16' : `gpu.js ${name}`;
}

function open(name: StackName): TrainingEngine | Promise<TrainingEngine> {
  if (name === 'reference') return createEngine({ precision: 'float32' });
  return name === 'wgsl-f16' ? createEngine({ gpu: 'wgsl', compute: 'f16' }) : createEngine({ gpu: name });
}

/**
 * Measures stacks one after the other.
 *
 * @param model The model that generates. Without one, no tokens are compared.
 * @param onStack Called with the name of a stack before it is measured.
 */
export async function measureStacks(
  stacks: readonly StackName[],
  { runtime, model, onStack }: { runtime: string; model?: ModelBytes; onStack?: (name: string) => void },
): Promise<StackReport[]> {
  const reports: StackReport[] = [];
  let expected: Generation | undefined;
  for (const name of stacks) {
    const stack = titleOf(name);
    onStack?.(stack);
    let engine: TrainingEngine;
    try {
      engine = await open(name);
    } catch (error) {
      reports.push({ stack, runtime, skipped: error instanceof Error ? error.message : String(error) });
      continue;
    }
    try {
      const operations = await measureOperations(engine);
      let tokens: StackReport['tokens'];
      if (model) {
        expected ??= await greedy(model, createEngine());
        const { made } = await greedy(model, engine);
        const agree = made.filter((token, n) => token === expected!.made[n]).length;
        tokens = { agree, of: NEW_TOKENS, lead: expected.lead };
      }
      reports.push({ stack, runtime, engine: engine.name, operations, ...(tokens && { tokens }) });
    } finally {
      engine.dispose();
    }
  }
  return reports;
}

/** The largest error of every result, compared with the float64 reference on the same float32 inputs. */
export async function measureOperations(engine: TrainingEngine): Promise<OperationError[]> {
  const truth = createEngine();
  const found = new Map<string, OperationError>();
  for (const [n, run] of STACK_CASES.entries()) {
    for (const size of SIZES) {
      const expected = await run(truth, new Draw(SEED, [n, size]), size);
      const actual = await scoped(engine, (inner) => run(inner, new Draw(SEED, [n, size]), size));
      expected.forEach((result, at) => {
        const one = compare(result, actual[at]);
        const before = found.get(result.name);
        found.set(result.name, before ? worse(before, one) : one);
      });
    }
  }
  truth.dispose();
  return [...found.values()];
}

function compare(truth: Result, { values }: Result): OperationError {
  const elements = truth.values.length;
  if (values.length !== elements) throw new Error(`${truth.name} has ${values.length} elements, not ${elements}`);
  const indices = Array.from({ length: elements }, (_, n) => n);
  if (truth.exact) {
    return { operation: truth.name, elements, wrong: indices.filter((n) => values[n] !== truth.values[n]).length };
  }
  // Smaller true values are below half an ULP of the largest one, so they may consist only of the rounding of summands.
  const smallest = 2 ** -24 * indices.reduce((most, n) => Math.max(most, Math.abs(truth.values[n])), 0);
  let [maxError, maxUlps] = [0, 0];
  for (const n of indices) {
    const error = Math.abs(values[n] - truth.values[n]);
    if (Number.isNaN(error)) throw new Error(`${truth.name}[${n}] is ${values[n]}, not ${truth.values[n]}`);
    maxError = Math.max(maxError, error);
    if (Math.abs(truth.values[n]) >= smallest) maxUlps = Math.max(maxUlps, error / ulp(truth.values[n]));
  }
  return { operation: truth.name, elements, maxError, maxUlps };
}

function worse(a: OperationError, b: OperationError): OperationError {
  const { operation } = a;
  const elements = a.elements + b.elements;
  if (a.wrong !== undefined) return { operation, elements, wrong: a.wrong + (b.wrong ?? 0) };
  return {
    operation, elements, maxError: Math.max(a.maxError!, b.maxError!), maxUlps: Math.max(a.maxUlps!, b.maxUlps!),
  };
}

/** The distance between neighbouring float32 numbers at x. Below the smallest normal number it is constant. */
export function ulp(x: number): number {
  const size = Math.max(Math.abs(x), 2 ** -126);
  let exponent = Math.floor(Math.log2(size));
  if (2 ** exponent > size) exponent--; // log2 rounds
  if (2 ** (exponent + 1) <= size) exponent++;
  return 2 ** (exponent - 23);
}

interface Generation {
  readonly made: readonly number[];
  readonly lead: number;
}

/** Generates 200 tokens, each the most likely one. */
async function greedy(source: ModelBytes, engine: TrainingEngine): Promise<Generation> {
  const model = await loadModel(source, { engine });
  const session = model.session();
  const made: number[] = [];
  let lead = Infinity;
  let ids: ArrayLike<number> = withStarts(model.tokenizer, model.tokenizer.encode(PROMPT));
  while (made.length < NEW_TOKENS) {
    const logits = await session.step(ids);
    const row = logits.subarray(logits.length - model.config.vocabSize);
    const best = row.indexOf(Math.max(...row)); // ties: the lowest
    lead = Math.min(lead, row[best] - Math.max(...row.filter((_, n) => n !== best)));
    made.push(best);
    ids = [best];
  }
  session.dispose();
  model.dispose();
  return { made, lead };
}

/** Calls `body` with a view of `engine` that remembers what it returns, and disposes of all of it afterwards. */
async function scoped<R>(engine: TrainingEngine, body: (engine: TrainingEngine) => Promise<R>): Promise<R> {
  const owned: { dispose(): void }[] = [];
  const remember = (made: unknown): void => {
    if (typeof made !== 'object' || made === null || made instanceof Promise) return;
    if ('dispose' in made && typeof made.dispose === 'function') owned.push(made as { dispose(): void });
    else Object.values(made).forEach(remember);
  };
  const view = new Proxy(engine, {
    get(target, name): unknown {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]): unknown => {
        const made: unknown = Reflect.apply(member, target, args);
        remember(made);
        return made;
      };
    },
  });
  try {
    return await body(view);
  } finally {
    for (const each of owned) each.dispose();
  }
}
