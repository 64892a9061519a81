/**
 * The engines under test. A new engine needs only a line in LINES, even before all of its kernels are written: no test
 * body names an engine.
 * @module
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe } from 'vitest';
import type { DeviceMode } from '../../gpu/gpujs/device.ts';
import { openEngine } from '../../gpu/gpujs/open.ts';
import { openWgslEngine } from '../../gpu/wgsl/open.ts';
import { referenceEngine } from '../../reference/index.ts';
import type { Engine } from '../../src/core/engine.ts';
import type { TrainingEngine } from '../../src/core/training-engine.ts';
import { wasmEngine } from '../../wasm/index.ts';
import { cases, THOROUGH } from './thorough.ts';
import { Rounding } from './tolerance.ts';
import { skipping } from './unfinished-engine.ts';

export interface EngineCase {
  readonly name: string;
  readonly precision: Engine['precision'];
  /** 'f16' if factors of products of many rows, and of attention of many queries, are rounded to float16. */
  readonly computes?: 'f16';
  create(): Promise<TrainingEngine>;
  /** Whether `npm test` runs trainings on it, as `npm run test:all` does on every engine, except the longest. */
  readonly trains?: boolean;
  /** Why this engine is not available here. Its tests are then skipped, with this reason. */
  readonly missing?: string;
}

/** A backend of gpu.js, or the engine of hand-written WGSL, which may compute in float16. */
type Stack = DeviceMode | 'wgsl' | 'wgsl:f16';

/**
 * The GPU engines to test: those in NATS_STACKS, separated by commas. Default: all that Node and Deno can have, in the
 * quick run without `wgsl:f16`.
 */
const STACKS = (process.env['NATS_STACKS'] ?? `cpu,webasm,webgpu,wgsl${THOROUGH ? ',wgsl:f16' : ''}`)
  .split(',').filter(Boolean) as Stack[];
/** Those in NATS_REQUIRE, whose absence is a failure instead of a skip. */
const REQUIRED = (process.env['NATS_REQUIRE'] ?? '').split(',');

/** Opens an engine in which memory starts as NaN and tiles are small. */
const open = (gpu: Stack): Promise<TrainingEngine> =>
  (gpu === 'wgsl' ? openWgslEngine({ testing: true })
    : gpu === 'wgsl:f16' ? openWgslEngine({ testing: true, compute: 'f16' }) : openEngine({ gpu, testing: true }));

/** Why an engine is not available, or undefined if it is. */
async function absence(gpu: Stack): Promise<string | undefined> {
  if (gpu === 'cpu' || gpu === 'webasm' || REQUIRED.includes(gpu)) return undefined;
  try {
    (await open(gpu)).dispose();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

const stacks = await Promise.all(STACKS.map(async (gpu): Promise<EngineCase> => {
  const missing = await absence(gpu);
  const name = gpu.startsWith('wgsl') ? gpu : `gpu.js ${gpu}`;
  return {
    name, precision: 'float32', create: () => open(gpu), ...(missing && { missing }),
    ...(gpu === 'wgsl:f16' && { computes: 'f16' }),
  };
}));

/** One line for each engine. Tests that need what an engine lacks are skipped there. */
const LINES: readonly (Omit<EngineCase, 'create'> & { create(): Promise<Engine> })[] = [
  { name: 'reference float64', precision: 'float64', trains: true, create: async () => referenceEngine('float64') },
  { name: 'reference float32', precision: 'float32', create: async () => referenceEngine('float32') },
  {
    name: 'wasm float64', precision: 'float64', trains: true,
    create: async () => wasmEngine({ precision: 'float64', testing: true }),
  },
  { name: 'wasm float32', precision: 'float32', trains: true, create: async () => wasmEngine({ testing: true }) },
  ...stacks,
];
/** All of them, for tests whose budgets are those of what an engine computes in. */
export const OPERATIONS: readonly EngineCase[] = LINES.map((line) => {
  return { ...line, create: async () => skipping(await line.create()) };
});
/** Those that are as exact as their precision. */
export const ENGINES: readonly EngineCase[] = OPERATIONS.filter(({ computes }) => !computes);

/** The engines of trainings. */
export const TRAINING: readonly EngineCase[] = ENGINES.filter(({ trains }) => THOROUGH || trains);
/** Those whose results are as exact as float64. */
export const EXACT: readonly EngineCase[] = ENGINES.filter(({ precision }) => precision === 'float64');

/** What a test body gets: the engine, and a property runner that frees every tensor of a run. */
export interface UnderTest {
  readonly precision: Engine['precision'];
  readonly computes?: 'f16';
  /** The arithmetic of budgets. */
  readonly R: Rounding;
  engine(): TrainingEngine;
  /**
   * Runs `body` on `runs` drawn values, a tenth of them in the quick run; tensors made through its `engine` are freed
   * after each.
   */
  holds<T>(
    drawn: fc.Arbitrary<T>, body: (value: T, engine: TrainingEngine) => Promise<void>, runs?: number,
  ): Promise<void>;
}

/** One `describe` per engine. */
export function forEachEngine(
  title: string, tests: (use: EngineCase) => void, among: readonly EngineCase[] = ENGINES,
): void {
  for (const use of among) {
    if (use.missing) describe.skip(`${title} [${use.name}: skipped, ${use.missing}]`, () => tests(use));
    else describe(`${title} [${use.name}]`, () => tests(use));
  }
}

/** One `describe` per engine, around tests that share one instance of it. */
export function describeEngines(
  title: string, tests: (use: UnderTest) => void, among: readonly EngineCase[] = ENGINES,
): void {
  forEachEngine(title, ({ create, precision, computes }) => {
    let engine: TrainingEngine | undefined;
    const current = (): TrainingEngine => engine!;
    beforeAll(async () => {
      engine = await create();
    });
    afterAll(() => engine?.dispose());
    tests({
      precision, ...(computes && { computes }), R: new Rounding(precision, computes),
      engine: current,
      holds: (drawn, body, runs = 60) =>
        fc.assert(
          fc.asyncProperty(drawn, (value) => scoped(current(), (inner) => body(value, inner))),
          { numRuns: cases(Math.ceil(runs / 10), runs) },
        ),
    });
  }, among);
}

/** Calls `body` with a view of `engine` that remembers what it returns, and disposes of all of it afterwards. */
export async function scoped<E extends Engine, R>(engine: E, body: (engine: E) => Promise<R>): Promise<R> {
  const owned = new Set<{ dispose(): void }>();
  const view = new Proxy(engine, {
    get(target, name): unknown {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]): unknown => {
        const result: unknown = Reflect.apply(member, target, args);
        remember(result, owned);
        return result;
      };
    },
  });
  try {
    return await body(view);
  } finally {
    for (const each of owned) each.dispose();
  }
}

function remember(result: unknown, owned: Set<{ dispose(): void }>): void {
  if (typeof result !== 'object' || result === null || result instanceof Promise) return;
  if ('dispose' in result && typeof result.dispose === 'function') owned.add(result as { dispose(): void });
  else for (const part of Object.values(result)) remember(part, owned);
}
