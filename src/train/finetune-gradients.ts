/**
 * The loss and the gradients of fine-tuning (§9): the squared distance between the final hidden states with full
 * attention (teacher) and with searched types (student), and the price of memory. Only the scorers get gradients, and
 * the student's changes of q and k if it has any.
 * @module
 */
import type { Changes } from '../core/composed-forms.ts';
import type { Tensor } from '../core/engine.ts';
import type { TrainingEngine } from '../core/training-engine.ts';
import { firstNotFinite } from '../core/finite.ts';
import type { ModelConfig } from '../model/config/config.ts';
import { hiddenStates, type Weights } from '../model/decoder.ts';
import { changesOf } from '../model/low-rank.ts';
import { Watch } from '../model/session/watch.ts';
import { Tape } from '../core/tape.ts';
import type { FloatArray } from '../core/tensor.ts';
import { FrozenTape } from './finetune-tape.ts';
import { type FinetuneOptions, lowRankOf, trainedShapes } from './finetune-options.ts';
import { sumParts } from './gradient-sum.ts';
import { type Draw, type Gradients, Search, type SearchOptions } from './gradients.ts';

/** Those options of a fine-tuning that a pass needs. */
export interface FinetunePassOptions extends SearchOptions, Pick<FinetuneOptions, 'rank' | 'alpha'> {}

/** The result of finetuneGradients(), summed over its sequences. */
export interface FinetuneGradients extends Omit<Gradients, 'loss'> {
  /** The sum over tokens of the squared error, averaged over the D elements of a hidden state. */
  readonly loss: number;
  /** The sum over tokens of the mean square of the teacher's hidden states, with which to compare the loss. */
  readonly signal: number;
  /** The sum over sequences of the mean kept share of each layer without noise, as at inference. */
  readonly keptByLayer: readonly number[];
}

/**
 * Runs the sequences `windows`, all of one length, through teacher and student, and back through the student. The
 * result is one part of the batch's gradient: the parts sum to the gradient of the squared error, averaged over B*N*D,
 * plus lambda times the mean kept share.
 *
 * @param weights Those of the base and those being trained. Those of the base are only read, and get no gradients.
 */
export async function finetuneGradients(
  engine: TrainingEngine,
  config: ModelConfig,
  options: FinetunePassOptions,
  weights: Weights,
  windows: readonly Int32Array[],
  draw: Draw,
): Promise<FinetuneGradients> {
  const [B, N, D] = [windows.length, windows[0].length, config.hiddenSize];
  const teacher = await teacherStates(engine, config, options, weights, windows);
  const trained = trainedShapes(config, options);
  const base = [...weights].filter(([name]) => !trained.has(name));
  const tape = new FrozenTape(engine, base.map(([, weight]) => weight));
  const watch = new Watch(engine, weights);
  try {
    const search = new Search(tape, config, { ...options, noiseless: true }, weights, B, N, draw, watch);
    const student = run(tape, config, weights, windows, search, changesIn(config, options, weights));
    const difference = minus(await engine.read(student), teacher);
    const loss = sumOfSquares(difference) / D;
    if (!Number.isFinite(loss)) throw await watch.blame(`the loss is ${loss}`);
    const scale = 2 / (options.batch * N * D);
    for (let n = 0; n < difference.length; n++) difference[n] *= scale;
    tape.addGradient(student, engine.tensor(difference, student.shape));
    tape.backward();
    const [keptByLayer, summary] = [await search.keptByLayer(), await search.summary()];
    const gradients = new Map<string, Tensor>();
    for (const name of trained.keys()) {
      const weight = weights.get(name)!;
      gradients.set(name, tape.takeGradient(weight) ?? engine.zeros(weight.shape));
    }
    return { gradients, loss, signal: sumOfSquares(teacher) / D, keptByLayer, ...summary };
  } catch (error) {
    throw await watch.explain(error);
  } finally {
    tape.dispose();
  }
}

/** Computes a batch, on this thread, a GPU, or several threads. */
export type FinetuneSource = (
  engine: TrainingEngine, config: ModelConfig, options: FinetunePassOptions, weights: Weights,
  windows: readonly Int32Array[], step: number,
) => Promise<FinetuneGradients>;

/** Computes the whole batch at once, which suits a GPU. */
export const wholeBatch: FinetuneSource = (engine, config, options, weights, windows, step) =>
  finetuneGradients(engine, config, options, weights, windows, { step, sequences: [...windows.keys()] });

/** Computes one sequence after another, in the memory of one. */
export const oneByOne: FinetuneSource = (engine, config, options, weights, windows, step) =>
  sumParts(engine, windows.map((window, n) => {
    return () => finetuneGradients(engine, config, options, weights, [window], { step, sequences: [n] });
  }));

/** The kept share of each layer at inference, summed over sequences. */
export async function measureKept(
  engine: TrainingEngine, config: ModelConfig, options: FinetunePassOptions, weights: Weights,
  windows: readonly Int32Array[],
): Promise<number[]> {
  const tape = new Tape(engine, false);
  try {
    const search = new Search(tape, config, options, weights, windows.length, windows[0].length);
    run(tape, config, weights, windows, search, changesIn(config, options, weights));
    return await search.keptByLayer();
  } finally {
    tape.dispose();
  }
}

/** The distance of the student from the teacher without noise, as at inference, and without gradients. */
export async function studentAndTeacher(
  engine: TrainingEngine, config: ModelConfig, options: FinetunePassOptions, weights: Weights,
  windows: readonly Int32Array[],
): Promise<Pick<FinetuneGradients, 'loss' | 'signal' | 'keptByLayer'>> {
  const teacher = await teacherStates(engine, config, options, weights, windows);
  const tape = new Tape(engine, false);
  try {
    const search = new Search(tape, config, options, weights, windows.length, windows[0].length);
    const changes = changesIn(config, options, weights);
    const student = await engine.read(run(tape, config, weights, windows, search, changes));
    const D = config.hiddenSize;
    return {
      loss: sumOfSquares(minus(student, teacher)) / D, signal: sumOfSquares(teacher) / D,
      keptByLayer: await search.keptByLayer(),
    };
  } finally {
    tape.dispose();
  }
}

/** The final hidden states [B,N,D] with full attention. */
async function teacherStates(
  engine: TrainingEngine, config: ModelConfig, options: FinetunePassOptions, weights: Weights,
  windows: readonly Int32Array[],
): Promise<FloatArray> {
  const full: ModelConfig = { ...config, nats: { ...config.nats, policy: 'full' } };
  const tape = new Tape(engine, false);
  const watch = new Watch(engine, weights);
  try {
    const search = new Search(tape, full, options, weights, windows.length, windows[0].length, undefined, watch);
    const states = await engine.read(run(tape, full, weights, windows, search));
    const at = firstNotFinite(states);
    if (at >= 0) throw await watch.blame(`a final hidden state of the base is ${states[at]}`);
    return states;
  } finally {
    tape.dispose();
  }
}

/** The student's changes of q and k; the teacher has none. */
function changesIn(config: ModelConfig, options: FinetunePassOptions, weights: Weights): Changes | undefined {
  const lowRank = lowRankOf(options);
  return lowRank && changesOf(config, weights, lowRank);
}

function run(
  tape: Tape, config: ModelConfig, weights: Weights, windows: readonly Int32Array[], search: Search,
  changes?: Changes,
): Tensor {
  const [B, N] = [windows.length, windows[0].length];
  const ids = tape.own(tape.engine.integers(windows.flatMap((window) => [...window]), [B, N]));
  const positions = Array.from({ length: B * N }, (_, n) => n % N);
  return hiddenStates(tape, config, weights, ids, positions, (layer, inputs) => search.attend(layer, inputs), changes);
}

/** x - y in float64. A GPU makes millions of them, for which Float64Array.from() takes as long as the layers do. */
function minus(x: FloatArray, y: FloatArray): Float64Array {
  const difference = new Float64Array(x.length);
  for (let n = 0; n < x.length; n++) difference[n] = x[n] - y[n];
  return difference;
}

function sumOfSquares(values: FloatArray): number {
  let total = 0;
  for (let n = 0; n < values.length; n++) total += values[n] * values[n];
  return total;
}
