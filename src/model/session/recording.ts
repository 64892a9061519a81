/**
 * A pass through all layers while it is recorded: what it owns, and how far it came.
 * @module
 */
import type { Cache, ChunkPool, Tensor } from '../../core/engine.ts';
import type { LayersMade } from '../../core/forms.ts';
import { Tape } from '../../core/tape.ts';
import { kindOf, type Policy } from '../../policies/index.ts';
import { layersAtOnce, layerStates } from '../decoder.ts';
import { rankScores } from '../scorer.ts';
import type { Pass } from './results.ts';
import type { SessionModel } from './session-options.ts';
import { fixedTypes, learnedTypes } from './step-types.ts';
import { Watch } from './watch.ts';

/** What a pass reads and changes: by layer, the caches and, if chunks have several tokens, the pools of these. */
export interface Memories {
  readonly policy: Policy;
  /** The tokens that each sequence has seen before. */
  readonly seen: readonly number[];
  readonly caches: readonly Cache[];
  readonly pools: readonly ChunkPool[];
}

export class Recording {
  readonly model: SessionModel;
  readonly taken: readonly number[];
  readonly T: number;
  readonly positions: readonly number[];
  /** Owns the tensors of the pass. */
  readonly tape: Tape;
  readonly watch: Watch;
  /** Whether some layer's cache has taken the tokens, and whether all have. */
  readonly reached: { layers: boolean; end: boolean } = { layers: false, end: false };
  #x: Tensor | undefined;
  readonly #chosen: Tensor[] = [];
  /** The types of every layer, where the host had them and no tensor was needed; or else those that layers chose. */
  #pattern: Int32Array | undefined;
  #later: LayersMade['types'];

  /** @param seen How many tokens each sequence has seen before. It takes taken[b] of T. */
  constructor(model: SessionModel, seen: readonly number[], T: number, taken: readonly number[]) {
    this.model = model;
    this.taken = taken;
    this.T = T;
    this.positions = Array.from({ length: seen.length * T }, (_, n) => seen[Math.floor(n / T)] + (n % T));
    this.tape = new Tape(model.engine, false);
    this.watch = new Watch(model.engine, model.weights, taken);
  }

  /** The pass, once it is recorded. */
  get pass(): Pass {
    const { model, tape, watch, taken, T, positions } = this;
    return { model, tape, watch, x: this.#x!, taken, T, positions };
  }

  /** The types that each layer has chosen. */
  get chosen(): readonly Tensor[] {
    const { model: { engine, config }, tape, taken, T } = this;
    if (this.#pattern && this.#chosen.length === 0) {
      const types = tape.own(engine.integers(this.#pattern, [taken.length, config.kvHeads, T]));
      for (let layer = 0; layer < config.layers; layer++) this.#chosen.push(types);
    }
    if (this.#later) this.#chosen.push(...this.#later().map((types) => tape.own(types)));
    this.#later = undefined;
    return this.#chosen;
  }

  /** Frees what the pass owns. */
  dispose(): void {
    this.watch.dispose();
    this.tape.dispose();
  }

  /** Runs the layers over tokens [batch,T]: these, or those of a tensor. */
  run(ids: ArrayLike<number> | Tensor, memories: Memories): void {
    const { model: { engine, config, weights }, tape, watch, T, taken, positions, reached } = this;
    const { policy, seen, caches } = memories;
    const fresh = seen.every((tokens) => tokens === 0);
    const tokens = 'kind' in ids ? ids : tape.own(engine.integers(ids, [seen.length, T]));
    const fixed = fixedTypes(policy, { config, seen, T });
    const known = fixed !== undefined || kindOf(policy).learned === true;
    if (known && T === 1 && seen.every((before) => before > 0) && taken.every((count) => count === 1)) {
      const made = layersAtOnce(tape, config, weights, tokens, positions, { caches, types: fixed });
      if (made) {
        watch.later(made.stages);
        this.#x = made.x;
        this.#pattern = fixed;
        this.#later = made.types;
        reached.layers = reached.end = true;
        return;
      }
    }
    const pattern = fixed && tape.own(engine.integers(fixed, [seen.length, config.kvHeads, T]));
    this.#x = layerStates(tape, config, weights, tokens, positions, (layer, inputs) => {
      reached.layers = true;
      watch.see(layer, inputs);
      const types = pattern ?? this.#types(layer, inputs.hidden, memories);
      if (types && !kindOf(policy).ranks) this.#chosen.push(types);
      const asked = { q: inputs.q, k: inputs.k, v: inputs.v, types, scale: 1 / Math.sqrt(config.headDim) };
      const out = tape.own(fresh ? caches[layer].prefill(asked, taken) : caches[layer].step(asked, taken));
      watch.attended(layer, out);
      return out;
    });
    reached.end = true;
  }

  /**
   * The types of the chunks that this step touches, [B,G,nc], if the model's scorers give them. Under a budget
   * undefined, or the scores of types [B,G,T,3] if they rank entries.
   */
  #types(layer: number, hidden: Tensor, { policy, seen, pools }: Memories): Tensor | undefined {
    const { model: { config, weights }, tape, T, taken, positions } = this;
    const { learned, ranks } = kindOf(policy);
    if (ranks) return rankScores(tape, hidden, weights, layer, config, positions);
    if (!learned) return undefined;
    const pool = pools[layer];
    const pooled = pool ? tape.own(pool.push(hidden, taken)) : hidden;
    return learnedTypes(tape, pooled, weights, layer, { config, seen, T });
  }
}
