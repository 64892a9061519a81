/**
 * gpu.js on the CPU (webasm, cpu) beside the reference in float64 and in float32: the engines take turns in attention,
 * prefill and decode, and the size from which gpu.js is faster is reported.
 * @module
 */
import { readFileSync } from 'node:fs';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { createEngine as createReference } from '../src/engines.ts';
import { attentionRuns } from './attention.ts';
import { feed } from './decode.ts';
import { type Measurement, type Settings, timeInTurns } from './measure.ts';
import { shippedModel } from './models.ts';

/** Timed rounds per size, in multiples of --repeats. Larger sizes have fewer. */
const ROUNDS: Readonly<Record<number, number>> = { 64: 4, 256: 2, 1024: 1, 2048: 1 / 3 };
const [TOKENS, QUICK_TOKENS, WARM_UP_TOKENS] = [200, 50, 32];

/** A measurement of a job at one size, to be shown in a row of the table beside those of the other engines. */
export interface Cell extends Measurement {
  readonly row: string;
  readonly column: string;
}

/** The medians of a job at one size, one per engine, with that of gpu.js last. */
interface Timed {
  readonly job: string;
  /** Tokens. */
  readonly size: number;
  readonly rounds: number;
  readonly ms: readonly number[];
}

/** The engines that a case compares, and how to describe its measurements. */
interface Description {
  readonly engines: readonly TrainingEngine[];
  /** Describes a size in words. */
  readonly at: (size: number) => string;
  /** The tokens processed in the time measured. If given, the report has tokens per second instead of times. */
  readonly tokens?: (size: number) => number;
}

/** Forward, and backward without type gradients: 4 heads, d = 64, all-GLOBAL and sparse. */
export async function hostAttentionCase(settings: Settings): Promise<Measurement[]> {
  const engines = await openEngines(settings);
  const timed: Timed[] = [];
  const visible: Measurement[] = [];
  for (const N of settings.quick ? [64, 256] : [64, 256, 1024, 2048]) {
    const each = await Promise.all(engines.map((engine) => attentionRuns(engine, N)));
    visible.push({ what: `visible pairs of the sparse pattern, N = ${N}`, value: 100 * each[0].visible, unit: '%' });
    const rounds = roundsOf(N, settings);
    for (const job of Object.keys(each[0].runs)) {
      // Only the first size needs a warm-up: the code is warm for the larger ones.
      const ms = await timeInTurns(each.map(({ runs }) => runs[job]), { rounds, warmUp: N === 64 ? 1 : 0 });
      timed.push({ job, size: N, rounds, ms });
    }
  }
  return [...visible, ...report(timed, { engines, at: (N) => `N = ${N}` })];
}

/** The shipped model reads a prompt, in steps as `generate` does. */
export async function hostPrefillCase(settings: Settings): Promise<Measurement[]> {
  const engines = await openEngines(settings);
  const { models, text } = await loadModels(settings, engines);
  const timed: Timed[] = [];
  for (const length of settings.quick ? [64, 256] : [64, 256, 1024]) {
    const rounds = roundsOf(length, settings);
    const ms = await timeInTurns(models.map((model) => async () => {
      const session = model.session();
      await feed(session, text, length);
      session.dispose();
    }), { rounds });
    timed.push({ job: 'prefill', size: length, rounds, ms });
  }
  models.forEach((model) => model.dispose());
  return report(timed, { engines, at: (length) => `${length} tokens`, tokens: (length) => length });
}

/** The shipped model reads single tokens, one step each. */
export async function hostDecodeCase(settings: Settings): Promise<Measurement[]> {
  const engines = await openEngines(settings);
  const { models, text } = await loadModels(settings, engines);
  const rounds = settings.quick ? QUICK_TOKENS : TOKENS;
  const timed: Timed[] = [];
  for (const length of settings.quick ? [64, 256] : [64, 256, 1024]) {
    const sessions = models.map((model) => model.session());
    for (const session of sessions) await feed(session, text, length);
    const steps = sessions.map((session) => () => feed(session, text, 1));
    const ms = await timeInTurns(steps, { rounds, warmUp: WARM_UP_TOKENS });
    sessions.forEach((session) => session.dispose());
    timed.push({ job: 'decode', size: length, rounds, ms });
  }
  models.forEach((model) => model.dispose());
  return report(timed, { engines, at: (length) => `after ${length} tokens`, tokens: () => 1 });
}

/** The reference in float64, in float32, and the engine that --gpu names. */
async function openEngines({ createEngine, openEngine }: Settings): Promise<TrainingEngine[]> {
  if (!openEngine) throw new Error('this case compares with an engine of --gpu');
  return [createEngine(), createReference({ precision: 'float32' }), await openEngine()];
}

async function loadModels({ model: folder }: Settings, engines: readonly TrainingEngine[]) {
  const models = await Promise.all(engines.map((engine) => shippedModel(folder, engine)));
  return { models, text: models[0].tokenizer.encode(readFileSync('examples/moby-dick.txt', 'utf8')) };
}

function roundsOf(size: number, { repeats }: Settings): number {
  return Math.ceil(repeats * ROUNDS[size]);
}

/** All measurements of a case, the crossovers last. Frees the engines. */
function report(timed: readonly Timed[], description: Description): Measurement[] {
  const { engines } = description;
  const found = [...timed.flatMap((one) => cells(one, description)), ...crossovers(timed, engines)];
  engines.forEach((engine) => engine.dispose());
  return found;
}

function cells({ job, size, rounds, ms }: Timed, { engines, at, tokens }: Description): Cell[] {
  const row = `${job}, ${at(size)}`;
  const cell = (column: string, value: number, unit: string): Cell =>
    ({ what: `${row}: ${column}`, row, column, value, unit });
  const names = engines.map(shortName);
  return [
    ...ms.map((time, n) => tokens
      ? cell(names[n], (1000 * tokens(size)) / time, 'tokens/s')
      : cell(names[n], time, 'ms')),
    ...ms.slice(0, -1).map((time, n) => cell(`time / ${names[n]}`, ms[ms.length - 1] / time, '')),
    cell('rounds', rounds, ''),
  ];
}

/**
 * For each job and each precision of the reference, the smallest size from which gpu.js was faster at every size. It is
 * Infinity (null in JSON) if gpu.js was slower at the largest size.
 */
function crossovers(timed: readonly Timed[], engines: readonly TrainingEngine[]): Measurement[] {
  const names = engines.map(shortName);
  const gpu = names.length - 1;
  return [...new Set(timed.map(({ job }) => job))].flatMap((job) => {
    const sizes = timed.filter((one) => one.job === job);
    const measured = `${sizes[0].size} to ${sizes[sizes.length - 1].size} measured`;
    return names.slice(0, gpu).map((name, n) => {
      const slower = sizes.map(({ ms }) => ms[gpu] >= ms[n]).lastIndexOf(true);
      return {
        what: `${job}: tokens from which ${names[gpu]} is faster than ${name} (${measured})`,
        value: sizes[slower + 1]?.size ?? Infinity, unit: '',
      };
    });
  });
}

/** The name of an engine without the details in brackets. */
function shortName({ name }: TrainingEngine): string {
  return name.replace(/ \(.*/, '');
}
