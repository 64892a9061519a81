/**
 * Rotary embedding as config.json describes it: by `rope_theta` and `rope_scaling` at the top level, or by both in
 * `rope_parameters`, as transformers 5 writes them.
 * @module
 */
import { log } from '../../core/elementary.ts';
import { ConfigError } from '../../core/errors.ts';
import { type Fields, shown } from './config-fields.ts';

/** Divides positions by `factor` (Chen et al., 2023). */
export interface LinearScaling {
  readonly kind: 'linear';
  readonly factor: number;
}

/** The scaling of Llama 3.1: slows long waves by `factor`, and leaves short ones unchanged. */
export interface Llama3Scaling {
  readonly kind?: undefined;
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  /** The number of tokens of context before the scaling. */
  readonly originalMaxPositions: number;
}

/** YaRN (Peng et al., 2023): like Llama 3.1, but with a ramp over pairs, and with sharper attention. */
export interface YarnScaling {
  readonly kind: 'yarn';
  readonly factor: number;
  /** The number of tokens of context before the scaling. */
  readonly originalMaxPositions: number;
  /** Pairs with more turns than this within the original context keep their frequency. */
  readonly betaFast: number;
  /** Pairs with fewer turns than this are slowed by `factor`. */
  readonly betaSlow: number;
  /** Whether the ramp begins and ends at whole pairs. */
  readonly truncate: boolean;
  /** Multiplies cos and sin, hence each score by its square. */
  readonly attentionFactor: number;
}

/** Below this, the frequencies of rotary embedding, which are powers of 1 / theta, exceed float32 at some position. */
export const MIN_ROPE_THETA = 1e-30;

/** How rotary frequencies are scaled to longer contexts. */
export type RopeScaling = LinearScaling | Llama3Scaling | YarnScaling;

/** What config.json says about rotary embedding. */
interface Rope {
  readonly ropeTheta: number;
  readonly ropeScaling?: RopeScaling;
}

/** The fields of each type. Those of another type would have no effect. */
const OF_TYPE = {
  default: [],
  linear: ['factor'],
  llama3: ['factor', 'low_freq_factor', 'high_freq_factor'],
  yarn: ['factor', 'attention_factor', 'beta_fast', 'beta_slow', 'mscale', 'mscale_all_dim', 'truncate'],
} as const;
type RopeType = keyof typeof OF_TYPE;

/** The fields of all supported types, and those of `longrope` and of vision models (`mrope_section`). */
const everyField = (): readonly string[] =>
  [...new Set(Object.values(OF_TYPE).flat()), 'short_factor', 'long_factor', 'mrope_section', 'mrope_interleaved'];

/** `rope_theta` and the scaling, wherever they are. */
export function parseRope(fields: Fields, maxPositions: number): Rope {
  const sources = ['rope_scaling', 'rope_parameters'].flatMap((name) => {
    const source = fields.object(name);
    return source && !source.isEmpty() ? [source] : [];
  });
  const [first, second] = sources.map((source) => parseSource(fields, source, maxPositions));
  if (first && second && JSON.stringify(first) !== JSON.stringify(second)) {
    throw new ConfigError('config.json: rope_parameters and rope_scaling contradict each other: keep the one that the model was trained with');
  }
  return first ?? { ropeTheta: fields.number('rope_theta', MIN_ROPE_THETA, 10_000) };
}

function parseSource(fields: Fields, rope: Fields, maxPositions: number): Rope {
  const type = parseType(rope);
  const ropeTheta = rope.number('rope_theta', MIN_ROPE_THETA, fields.number('rope_theta', MIN_ROPE_THETA, 10_000));
  if (fields.has('rope_theta')) {
    rope.refuse('rope_theta', (x) => x !== null && x !== fields.positive('rope_theta'),
      `rope_theta beside it is ${fields.positive('rope_theta')}: keep the one that the model was trained with`);
  }
  rope.refuse('partial_rotary_factor', (x) => x !== null && x !== 1, 'only whole heads are rotated');
  const own: readonly string[] = OF_TYPE[type];
  for (const name of everyField()) {
    if (!own.includes(name)) rope.refuse(name, (x) => x !== null && x !== 1 && x !== false, `the type "${type}" has no such field`);
  }
  rope.refuseMisspelt([...own, 'rope_type', 'rope_theta', 'original_max_position_embeddings']);
  if (type === 'default') return { ropeTheta };
  const factor = rope.number('factor', 1);
  if (type === 'linear') return { ropeTheta, ropeScaling: { kind: 'linear', factor } };
  const original = originalPositions(fields, rope, maxPositions);
  return { ropeTheta, ropeScaling: type === 'yarn' ? parseYarn(rope, factor, original, ropeTheta) : parseLlama3(rope, factor, original) };
}

function parseType(rope: Fields): RopeType {
  const names = Object.keys(OF_TYPE);
  const type = rope.has('rope_type') ? rope.text('rope_type', 'default') : rope.text('type', 'default');
  for (const name of ['rope_type', 'type']) {
    rope.refuse(name, (x) => x !== null && !names.includes(x as string), `only ${names.join(', ')} are supported`);
    rope.refuse(name, (x) => x !== null && x !== type, `rope_type is "${type}": keep one of them`);
  }
  return type as RopeType;
}

/** The original context. Some files have it beside the scaling; if it is nowhere, it equals the present context. */
function originalPositions(fields: Fields, rope: Fields, maxPositions: number): number {
  const name = 'original_max_position_embeddings';
  const outer = fields.has(name) ? fields.whole(name, 1) : undefined;
  const inner = rope.whole(name, 1, outer ?? maxPositions);
  if (outer === undefined || inner === outer) return inner;
  throw new ConfigError(`config.json: ${name} is ${outer}, but ${inner} in its rotary scaling: keep the one that the model was trained with`);
}

function parseLlama3(rope: Fields, factor: number, originalMaxPositions: number): Llama3Scaling {
  const [low, high] = [rope.positive('low_freq_factor'), rope.positive('high_freq_factor')];
  if (high <= low) throw new ConfigError(`config.json: high_freq_factor (${high}) must be above low_freq_factor (${low})`);
  return { factor, lowFreqFactor: low, highFreqFactor: high, originalMaxPositions };
}

function parseYarn(rope: Fields, factor: number, originalMaxPositions: number, ropeTheta: number): YarnScaling {
  if (ropeTheta <= 1) throw new ConfigError(`config.json: rope_theta is ${shown(ropeTheta)}: YaRN needs one above 1`);
  // To transformers, 0 means the same as absent.
  const optional = (name: string) => (rope.has(name) ? rope.number(name, 0) : 0);
  const sharper = (scale: number) => (factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1);
  const [mscale, mscaleAllDim] = [optional('mscale'), optional('mscale_all_dim')];
  const usual = mscale > 0 && mscaleAllDim > 0 ? sharper(mscale) / sharper(mscaleAllDim) : sharper(1);
  return {
    kind: 'yarn',
    factor,
    originalMaxPositions,
    betaFast: optional('beta_fast') || 32,
    betaSlow: optional('beta_slow') || 1,
    truncate: !rope.isNull('truncate') && rope.boolean('truncate', true), // to transformers, null means false
    attentionFactor: rope.positive('attention_factor', usual),
  };
}

/** The `rope_scaling` of a config.json for a scaling. */
export function writeRopeScaling(scaling: RopeScaling): object {
  if (scaling.kind === 'linear') return { rope_type: 'linear', factor: scaling.factor };
  const { factor, originalMaxPositions: original } = scaling;
  if (scaling.kind === 'yarn') {
    const { betaFast, betaSlow, truncate, attentionFactor } = scaling;
    return {
      rope_type: 'yarn', factor, original_max_position_embeddings: original, attention_factor: attentionFactor,
      beta_fast: betaFast, beta_slow: betaSlow, truncate,
    };
  }
  return {
    rope_type: 'llama3', factor, low_freq_factor: scaling.lowFreqFactor, high_freq_factor: scaling.highFreqFactor,
    original_max_position_embeddings: original,
  };
}
