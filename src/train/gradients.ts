/**
 * The loss and the gradients of some sequences, by the full masked attention of §3 with searched types (§6) and the
 * price of memory (§7).
 * @module
 */
import type { LifetimeOptions, Tensor } from '../core/engine.ts';
import { chunkCount } from '../core/lifetime.ts';
import type { ModelConfig } from '../model/config/config.ts';
import { kindOf, parsePolicy } from '../policies/index.ts';
import { decode, type LayerInputs, type Weights } from '../model/decoder.ts';
import { crossEntropy } from '../core/layers.ts';
import { lifetimeOptions } from '../model/policy.ts';
import { expectTrainingRoom } from '../model/room.ts';
import { typeScores } from '../model/scorer.ts';
import { Watch } from '../model/session/watch.ts';
import { drawGumbel, Stream } from '../core/random.ts';
import { Tape } from '../core/tape.ts';
import type { TrainingEngine } from '../core/training-engine.ts';
import type { Noise } from './noise.ts';
import type { TrainOptions } from './options.ts';

/** The result of computeGradients(), summed over its sequences. */
export interface Gradients {
  /** By the name of the weight. The caller owns them. */
  readonly gradients: Map<string, Tensor>;
  /** The sum of the losses of all tokens, in nats. */
  readonly loss: number;
  /** The sum over sequences of the kept share (§7), averaged over layers and heads. */
  readonly kept: number;
  /** How many tokens (or chunks) of each type there were, over all layers and heads. */
  readonly typeCounts: readonly number[];
}

/** What the noise depends on besides the seed: the step, and the number of each sequence within the batch. */
export interface Draw {
  readonly step: number;
  readonly sequences: readonly number[];
  /** The factor by which all gradients are larger than those of the loss (default: 1). */
  readonly scale?: number;
  /** Where the noise comes from, by the seed of the options. Default: it is drawn when it is needed. */
  readonly noise?: Noise;
}

/** Gradients that an engine is still computing. */
export interface Begun {
  /** By the name of the weight. The caller owns them. */
  readonly gradients: Map<string, Tensor>;
  /** The sum of the squares of the losses, of shape [1], which the caller owns. It is finite only if every loss is. */
  readonly squaredLoss: Tensor;
  /** The other results, once they have been read. Those of a loss that is not finite may be anything, or an error. */
  readonly sums: Promise<Omit<Gradients, 'gradients'>>;
}

/**
 * Runs the sequences `windows` (each of context + 1 tokens) forward and backward. The result is one part of the batch's
 * gradient: the parts sum to the gradient of the mean loss plus lambda times the mean kept share.
 */
export async function computeGradients(
  engine: TrainingEngine,
  config: ModelConfig,
  options: TrainOptions,
  weights: Weights,
  windows: readonly Int32Array[],
  draw: Draw,
): Promise<Gradients> {
  const tape = new Tape(engine);
  const watch = new Watch(engine, weights);
  try {
    const { losses, search } = pass(tape, config, options, weights, windows, draw, watch);
    const [reading, counting] = [engine.read(losses), search.summary()];
    counting.catch(() => {}); // a loss that is NaN is reported first
    const loss = sum(await reading);
    if (!Number.isFinite(loss)) throw await watch.blame(`the loss is ${loss}`);
    const summary = await counting;
    return { gradients: gradientsOf(tape, weights), loss, ...summary };
  } catch (error) {
    throw await watch.explain(error);
  } finally {
    tape.dispose();
  }
}

/**
 * The same without waiting: returns once everything has been handed to the engine. So a GPU need not wait either, while
 * the host records the next step. Nothing is known yet about whether the results are finite.
 */
export function beginGradients(
  engine: TrainingEngine, config: ModelConfig, options: TrainOptions, weights: Weights, windows: readonly Int32Array[],
  draw: Draw,
): Begun {
  const tape = new Tape(engine);
  try {
    const { losses, search } = pass(tape, config, options, weights, windows, draw);
    const [reading, counting] = [engine.read(losses), search.summary()];
    const sums = Promise.all([reading, counting]).then(([each, summary]) => ({ loss: sum(each), ...summary }));
    sums.catch(() => {}); // whoever waits for it hears of it
    if (draw.step < options.steps) draw.noise?.ahead(draw.step + 1);
    return { gradients: gradientsOf(tape, weights), squaredLoss: engine.sumOfSquares([losses]), sums };
  } finally {
    tape.dispose();
  }
}

/** Records the pass, forward and backward. The tape owns all but the gradients. */
function pass(
  tape: Tape, config: ModelConfig, options: TrainOptions, weights: Weights, windows: readonly Int32Array[], draw: Draw,
  watch?: Watch,
): { losses: Tensor; search: Search } {
  const { engine } = tape;
  const B = windows.length;
  const N = windows[0].length - 1;
  expectTrainingRoom(engine, config, B, N);
  const [read, wanted] = [new Int32Array(B * N), new Int32Array(B * N)];
  windows.forEach((window, b) => {
    read.set(window.subarray(0, N), b * N);
    wanted.set(window.subarray(1), b * N);
  });
  const [ids, targets] = [read, wanted].map((list) => tape.own(engine.integers(list, [B, N]))) as [Tensor, Tensor];
  const positions = new Int32Array(B * N);
  for (let n = 0; n < B * N; n++) positions[n] = n % N;
  const search = new Search(tape, config, options, weights, B, N, draw, watch);
  const logits = decode(tape, config, weights, ids, positions, (layer, inputs) => search.attend(layer, inputs));
  const losses = crossEntropy(tape, logits, targets, (draw.scale ?? 1) / (options.batch * N));
  tape.backward();
  return { losses, search };
}

/** Takes the gradients of the weights from a tape. */
function gradientsOf(tape: Tape, weights: Weights): Map<string, Tensor> {
  const gradients = new Map<string, Tensor>();
  for (const [name, weight] of weights) {
    gradients.set(name, tape.takeGradient(weight) ?? tape.engine.zeros(weight.shape));
  }
  return gradients;
}

/** Those options of a run that the search needs. */
export interface SearchOptions extends Pick<TrainOptions, 'batch' | 'rule' | 'seed'> {
  /** Whether to measure also what the same scores keep without noise, as at inference. */
  readonly noiseless?: boolean;
}

/** The attention of a training pass, and a record of its types and lifetimes. */
export class Search {
  readonly #tape: Tape;
  readonly #config: ModelConfig;
  readonly #options: SearchOptions;
  readonly #weights: Weights;
  readonly #B: number;
  readonly #N: number;
  readonly #draw: Draw | undefined;
  readonly #watch: Watch | undefined;
  readonly #lifetimes: LifetimeOptions;
  /** The types of every layer, if they are not searched. */
  #fixed: Int32Array | undefined;
  readonly #chosen: { types: Tensor; kept: Tensor; noiselessKept?: Tensor }[] = [];

  /**
   * @param draw Determines the noise; without it the types are those of inference.
   * @param watch Observes every layer.
   */
  constructor(
    tape: Tape, config: ModelConfig, options: SearchOptions, weights: Weights, B: number, N: number, draw?: Draw,
    watch?: Watch,
  ) {
    this.#tape = tape;
    this.#config = config;
    this.#options = options;
    this.#weights = weights;
    this.#B = B;
    this.#N = N;
    this.#draw = draw;
    this.#watch = watch;
    this.#lifetimes = lifetimeOptions(parsePolicy(config.nats.policy), config);
  }

  /** Attention (§3) with the layer's types. The backward pass goes by §4, §5, §7 and §6 to q, k, v and the scores. */
  attend(layer: number, inputs: LayerInputs): Tensor {
    const { q, k, v, hidden } = inputs;
    const { engine } = this.#tape;
    this.#watch?.see(layer, inputs);
    const scale = 1 / Math.sqrt(this.#config.headDim);
    const { types, noiseless, backward } = this.#types(layer, hidden);
    const { last, kept } = this.#live(types);
    this.#chosen.push({ types, kept, ...(noiseless && { noiselessKept: this.#live(noiseless).kept }) });
    const { out, lse } = engine.attention({ q, k, v, last, scale });
    this.#tape.own(lse);
    this.#watch?.attended(layer, out);
    return this.#tape.record(out, (dOut) => {
      const { rule } = this.#options;
      const { dq, dk, dv, dTypes } = this.#tape.training.attentionBackward({
        q, k, v, last, scale, out, lse, dOut, ...(backward && { types: { types, rule, ...this.#lifetimes } }),
      });
      this.#tape.addGradient(q, dq);
      this.#tape.addGradient(k, dk);
      this.#tape.addGradient(v, dv);
      if (dTypes) backward?.(this.#tape.own(dTypes));
    });
  }

  /** The lifetimes [B,G,N] and the kept shares [B,G]. */
  #live(types: Tensor): { last: Tensor; kept: Tensor } {
    const last = this.#tape.own(this.#tape.engine.lifetime(types, this.#N, this.#lifetimes));
    return { last, kept: this.#tape.own(this.#tape.training.keptShare(last)) };
  }

  /**
   * The types [B,G,Nc] of a layer. If they are searched, also those without noise, and the backward pass from
   * (dg, dl, dw) to the scores.
   */
  #types(layer: number, hidden: Tensor): { types: Tensor; noiseless?: Tensor; backward?: (dTypes: Tensor) => void } {
    const tape = this.#tape;
    const { engine } = tape;
    const [B, N, G] = [this.#B, this.#N, this.#config.kvHeads];
    const { chunk } = this.#lifetimes;
    const chunks = chunkCount(N, chunk);
    const policy = parsePolicy(this.#config.nats.policy);
    const kind = kindOf(policy);
    if (!kind.learned) {
      this.#fixed ??= repeated(Int32Array.from({ length: N }, (_, n) => kind.type!(policy, n)), B * G);
      return { types: tape.own(engine.integers(this.#fixed, [B, G, N])) };
    }
    const { lambda, temperature, pooling } = this.#config.nats;
    const pooled = chunk === 1 ? hidden : tape.own(engine.poolChunks(hidden, chunk, pooling));
    const scores = typeScores(tape, pooled, this.#weights, layer, G);
    // The first chunk is the attention sink, and the last closes what is open (§2).
    const ends = Int32Array.from({ length: chunks }, (_, n) => (n === 0 || n === chunks - 1 ? 1 : 0));
    const forceGlobal = tape.own(engine.integers(repeated(ends, B), [B, chunks]));
    const choose = (noise?: Tensor) => {
      const chosen = engine.tokenTypes(scores, { ...(noise && { noise }), temperature, forceGlobal });
      return { types: tape.own(chosen.types), probabilities: tape.own(chosen.probabilities) };
    };
    const { types, probabilities } = choose(this.#draw && this.#noise(layer, this.#draw, [B, G, chunks, 3]));
    const scale = this.#draw?.scale ?? 1;
    const weight = (scale * lambda * 2) / (this.#config.layers * G * this.#options.batch * N * N);
    return {
      types,
      ...(this.#options.noiseless && { noiseless: choose().types }),
      backward: (dTypes) => {
        const priced = tape.own(tape.training.addMemoryPrice(dTypes, types, N, { ...this.#lifetimes, weight }));
        tape.addGradient(scores, tape.training.tokenTypesBackward(priced, probabilities, { temperature, forceGlobal }));
      },
    };
  }

  /** Gumbel noise that depends only on the seed, the step, the sequence and the layer. */
  #noise(layer: number, { step, sequences, noise }: Draw, shape: readonly number[]): Tensor {
    const each = shape.slice(1).reduce((a, b) => a * b, 1);
    const { precision } = this.#tape.engine;
    const all = new (precision === 'float32' ? Float32Array : Float64Array)(this.#B * each);
    for (const [b, sequence] of sequences.entries()) {
      const part = all.subarray(b * each, (b + 1) * each);
      if (noise) noise.fill(step, sequence, layer, part);
      else drawGumbel(this.#options.seed, [Stream.NOISE, step, sequence, layer], part);
    }
    return this.#tape.own(this.#tape.engine.tensor(all, shape));
  }

  /** The kept share and the counts of types of the pass. */
  async summary(): Promise<{ kept: number; typeCounts: number[] }> {
    const { engine } = this.#tape;
    const typeCounts = [0, 0, 0];
    // All are asked for before the first one is there: a GPU answers them together.
    const [types, shares] = await Promise.all([
      Promise.all(this.#chosen.map((layer) => engine.readIntegers(layer.types))),
      Promise.all(this.#chosen.map((layer) => engine.read(layer.kept))),
    ]);
    // A step may have 100,000 types, for which an iterator takes milliseconds until it is compiled.
    for (const layer of types) for (let n = 0; n < layer.length; n++) typeCounts[layer[n]]++;
    const kept = shares.reduce((all, layer) => all + sum(layer), 0);
    return { kept: kept / (this.#config.layers * this.#config.kvHeads), typeCounts };
  }

  /** The sum over sequences of each layer's mean kept share, without noise if `noiseless` was requested. */
  async keptByLayer(): Promise<number[]> {
    const shares: number[] = [];
    for (const { noiselessKept, kept } of this.#chosen) {
      shares.push(sum(await this.#tape.engine.read(noiselessKept ?? kept)) / this.#config.kvHeads);
    }
    return shares;
  }
}

function repeated(list: Int32Array, times: number): Int32Array {
  const all = new Int32Array(list.length * times);
  for (let n = 0; n < times; n++) all.set(list, n * list.length);
  return all;
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
