/**
 * The angles of rotary embedding, computed in float64 for all engines.
 * @module
 */
import { cosSin, inversePowers, log } from '../core/elementary.ts';
import type { Tensor } from '../core/engine.ts';
import type { Tape } from '../core/tape.ts';
import type { ModelConfig } from './config/config.ts';
import type { Llama3Scaling, YarnScaling } from './config/rope-config.ts';

/** The radians per position of each pair, [d/2]: theta^(-2n/d), or less with a scaling. */
export function rotaryFrequencies({ headDim, ropeTheta, ropeScaling: scaling }: ModelConfig): Float64Array {
  const half = headDim / 2;
  return inversePowers(ropeTheta, half).map((frequency, n) => {
    if (!scaling) return frequency;
    const own = scaling.kind === 'linear' ? 0
      : scaling.kind === 'yarn' ? ownShareOfYarn(n, scaling, headDim, ropeTheta) : ownShareOfLlama3(frequency, scaling);
    return (1 - own) * (frequency / scaling.factor) + own * frequency;
  });
}

/**
 * How much of its own frequency a pair keeps: nothing for waves longer than original / low, all of it for waves shorter
 * than original / high, and a mixture in between.
 */
function ownShareOfLlama3(frequency: number, scaling: Llama3Scaling): number {
  const { lowFreqFactor: low, highFreqFactor: high, originalMaxPositions: original } = scaling;
  const waves = original / ((2 * Math.PI) / frequency); // how many fit in the original context
  return clamp((waves - low) / (high - low));
}

/**
 * The same for YaRN: all of it up to the pair with `betaFast` turns, nothing from the pair with `betaSlow` turns on.
 */
function ownShareOfYarn(n: number, scaling: YarnScaling, headDim: number, theta: number): number {
  const { originalMaxPositions: original, betaFast, betaSlow, truncate } = scaling;
  // original * theta^(-2n/d) = 2 pi turns, solved for n
  const pairOf = (turns: number) => (headDim * log(original / (turns * 2 * Math.PI))) / (2 * log(theta));
  const [fast, slow] = [pairOf(betaFast), pairOf(betaSlow)];
  const begin = Math.max(truncate ? Math.floor(fast) : fast, 0);
  const end = Math.min(truncate ? Math.ceil(slow) : slow, headDim - 1);
  return 1 - clamp((n - begin) / (begin === end ? 0.001 : end - begin));
}

function clamp(x: number): number {
  return Math.min(1, Math.max(0, x));
}

/** cos and sin of position * frequency for positions [B*N], each [B,N,d/2]. YaRN multiplies both by a factor. */
export function rotaryTables(
  tape: Tape, config: ModelConfig, positions: ArrayLike<number>, B: number, N: number,
): { cos: Tensor; sin: Tensor } {
  let angles = rotaryAngles(config, positions);
  if (tape.engine.precision === 'float32' && positions.length > MANY) angles = angles.narrow ??= narrowed(angles);
  const shape = [B, N, config.headDim / 2];
  return {
    cos: tape.own(tape.engine.tensor(angles.cos, shape)), sin: tape.own(tape.engine.tensor(angles.sin, shape)),
  };
}

/** The same on the host, [B*N,d/2]. */
export function rotaryAngles(config: ModelConfig, positions: ArrayLike<number>): Angles {
  const angles = latest.get(config);
  if (angles && equal(angles.positions, positions)) return angles;
  const made = anglesOf(config, positions);
  latest.set(config, made);
  return made;
}

/** cos and sin of some positions. */
interface Angles {
  readonly positions: ArrayLike<number>;
  readonly cos: Float64Array | Float32Array;
  readonly sin: Float64Array | Float32Array;
  /** The same in float32, to which an engine would round them in every step of training. */
  narrow?: Angles;
}

/** Positions that only training has at once. */
const MANY = 2048;

function narrowed({ positions, cos, sin }: Angles): Angles {
  return { positions, cos: Float32Array.from(cos), sin: Float32Array.from(sin) };
}

/** The angles that a config was last asked for: every step of training has the same positions. */
const latest = /* @__PURE__ */ new WeakMap<ModelConfig, Angles>();

function anglesOf(config: ModelConfig, positions: ArrayLike<number>): Angles {
  const frequencies = rotaryFrequencies(config);
  const { ropeScaling: scaling } = config;
  const sharpness = scaling?.kind === 'yarn' ? scaling.attentionFactor : 1;
  const half = frequencies.length;
  const [cos, sin] = [new Float64Array(positions.length * half), new Float64Array(positions.length * half)];
  const rows = new Map<number, number>(); // sequences of a batch mostly have the same positions
  for (let t = 0; t < positions.length; t++) {
    const like = rows.get(positions[t]);
    if (like !== undefined) {
      for (const table of [cos, sin]) table.copyWithin(t * half, like * half, (like + 1) * half);
      continue;
    }
    rows.set(positions[t], t);
    for (let n = 0; n < half; n++) {
      const [c, s] = cosSin(positions[t] * frequencies[n]);
      cos[t * half + n] = sharpness * c;
      sin[t * half + n] = sharpness * s;
    }
  }
  return { positions: Float64Array.from(positions), cos, sin };
}

function equal(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let n = 0; n < a.length; n++) if (a[n] !== b[n]) return false;
  return true;
}
