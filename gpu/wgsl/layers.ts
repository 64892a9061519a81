/**
 * All layers of a decoder for one token of each sequence. The commands of a token are those of the one before it, but
 * for where it goes in the caches: they are kept, with the memory that they use, and recorded again.
 *
 * Types that follow from the position come from the host. Learned ones are chosen between the projections and attention
 * of each layer, from the normed hidden states that the projections have stored. As types of later layers depend on
 * every bit, all commands are then those of single layers, and attention puts its own parts together.
 *
 * While the step of one token is in flight, the next one needs memory of its own. So there are several ways through
 * the layers, and a step takes one whose results nobody holds any more.
 * @module
 */
import type { Forms, LayersInputs, LayersMade, Projected } from '../../src/core/forms.ts';
import type { CacheKernels } from '../../src/core/kernels.ts';
import type { AttentionSizes } from '../../src/core/sizes.ts';
import { real, typesOf, WgslArray } from './array.ts';
import type { Place, WgslCache } from './cache.ts';
import { memoriesOf } from './cache-rows.ts';
import type { Capture } from './capture.ts';
import { type Attended, decodeFresh, partsOf } from './decode.ts';
import type { Memory, WgslDevice } from './device.ts';
import { embedding } from './embedding.ts';
import { linear } from './linear.ts';
import { tokenTypes } from './search.ts';
import type { StoredDtype } from './stored.ts';

type Inputs = LayersInputs<WgslArray, CacheKernels<WgslArray>>;
type Stage = Projected<WgslArray> & { readonly attended: WgslArray };

/** The most ways of a session: so many steps may be in flight. */
const MOST_WAYS = 8;
/** The most sequences: the kernels for few rows serve no more. */
const MOST_ROWS = 4;

/** From which to which command a layer's step of the cache is, and for which slots and parts these were made. */
interface LayerCommands {
  readonly from: number;
  readonly to: number;
  slots: Place['slots'];
  readonly sizes: AttentionSizes;
  readonly parts: number;
  readonly joins: boolean;
}

/** The commands of a step, and what they read and write. */
interface Way {
  readonly capture: Capture;
  readonly cos: Memory;
  readonly sin: Memory;
  /** The types of every layer, if they are given. */
  readonly types: Memory | undefined;
  /** The embedding of the tokens. */
  readonly start: Memory;
  readonly x: Memory;
  readonly stages: readonly Stage[];
  /** The types [B,G,1] of each layer, if it chooses them. */
  readonly chosen: readonly Memory[];
  readonly layers: LayerCommands[];
  /** How often commands had been submitted when it was taken: those of the way are not among them. */
  submits: number;
}

/** The ways of a session, by its first cache: for one list of layers, which are given types or choose them. */
interface Ways {
  readonly layers: Inputs['layers'];
  readonly learned: boolean;
  readonly all: Way[];
  /** Whether the commands can be kept at all. */
  possible: boolean;
}

/** Attention whose parts are put together by the product that follows. */
interface Joining {
  joinsParts(x: WgslArray, weight: WgslArray): boolean;
  outputOfParts(x: WgslArray, parts: Attended, weight: WgslArray): readonly [sum: WgslArray, attended: Memory];
}

/** The form of the contract, made of `forms`. */
export function layersOn(
  device: WgslDevice, forms: Pick<Forms<WgslArray>, 'project' | 'output' | 'feedForward'> & Joining,
): NonNullable<Forms<WgslArray, CacheKernels<WgslArray>>['layers']> {
  const known = new WeakMap<WgslCache, Ways>();

  function waysOf(first: WgslCache, layers: Inputs['layers'], learned: boolean): Ways {
    let ways = known.get(first);
    if (ways?.layers === layers && ways.learned === learned) return ways;
    if (ways) forget(ways);
    known.set(first, ways = { layers, learned, all: [], possible: true });
    const made = ways;
    first.keep(() => forget(made));
    return ways;
  }

  function forget({ all }: Ways): void {
    for (const way of all.splice(0)) release(way);
  }

  function release({ capture, cos, sin, types, start }: Way): void {
    device.release(capture);
    for (const memory of [cos, sin, start, ...(types ? [types] : [])]) device.free(memory);
  }

  const isFree = ({ x, submits }: Way): boolean => x.holds.count === 1 && submits < device.submits;

  return (inputs): LayersMade<WgslArray> | undefined => {
    const { ids, layers } = inputs;
    const caches = inputs.caches as readonly WgslCache[];
    const [B, G] = [ids.shape[0], layers[0]?.attention.k.heads];
    if (layers.length === 0 || B > MOST_ROWS || !caches.every((cache) => cache.canAppendOne)) return undefined;
    const ways = waysOf(caches[0], layers, inputs.types === undefined);
    if (!ways.possible || (ways.all.length >= MOST_WAYS && !ways.all.some(isFree))) return undefined;
    const places = caches.map((cache) => cache.beginOne());
    const fits = ({ layers: made }: Way): boolean =>
      made.every(({ parts, joins, sizes }, n) => parts === partsOf(device, sizes, places[n].most, joins));
    let way = ways.all.find((each) => isFree(each) && fits(each));
    if (way) {
      repeat(way, inputs, places);
    } else {
      const old = ways.all.findIndex(isFree);
      // Its memory serves the new one, which so has most of its bind groups.
      if (old >= 0) release(ways.all.splice(old, 1)[0]);
      way = take(inputs, places);
      ways.all.push(way);
      ways.possible = way.capture.whole;
    }
    for (const cache of caches) cache.endOne();
    const { x, stages, chosen } = way;
    way.submits = device.submits;
    return {
      x: new WgslArray([B, 1, inputs.embedding.shape[1]], device.share(x)),
      stages: () => stages.map((stage) => Object.fromEntries(Object.entries(stage).map(([name, { shape, memory }]) =>
        [name, new WgslArray(shape, device.share(memory))])) as unknown as Stage),
      ...(ways.learned && { types: () => chosen.map((memory) => typesOf(device.share(memory), [B, G, 1])) }),
    };
  };

  /** Takes the steps of a token, and keeps them. */
  function take(inputs: Inputs, places: readonly Place[]): Way {
    const { ids, embedding: table, layers, cos, sin, types, scale } = inputs;
    const [B, D] = [ids.shape[0], table.shape[1]];
    // Whatever is widened for good is widened before.
    for (const { attention, feedForward } of layers) {
      const { norm, q, k, v } = attention;
      for (const each of [norm, feedForward.norm, q.norm, k.norm, v.norm]) if (each) real(device, each.weight);
      for (const { bias } of [q, k, v]) if (bias) real(device, bias);
    }
    const [cosine, sine] = [cos, sin].map((table) => device.upload(Float32Array.from(table)));
    const given = types && device.upload(Int32Array.from(types));
    const start = device.allocate(B * D);
    embedding(device, table.memory, table.dtype as StoredDtype, ids.memory, B, D, start);
    const half = cos.length / B;
    const [c, s] = [cosine, sine].map((memory) => new WgslArray([B, 1, half], memory));
    const stages: Stage[] = [];
    const chosen: Memory[] = [];
    const made: Way['layers'] = [];
    let last: Memory;
    const capture = device.capture((kept) => {
      let x = new WgslArray([B, 1, D], device.share(start));
      layers.forEach(({ attention, feedForward, output, scorer }, n) => {
        const { slots, most, first, window, local, reach } = places[n];
        const stage = forms.project({ x, ...attention, cos: c, sin: s });
        const { q, k, v } = stage;
        const [, H, , d] = q.shape;
        const G = k.shape[1];
        const sizes = { B, H, G, N: 1, d };
        const kinds = given ?? choose(stage.hidden, scorer!, G);
        if (!given) chosen.push(kinds);
        const from = kept.commands.length;
        const joins = given !== undefined && forms.joinsParts(x, output);
        const out = decodeFresh(device, q.memory, slots, most, sizes, scale, {
          k: k.memory, v: v.memory, types: kinds, first, window, local, reach,
        }, joins);
        let sum: WgslArray;
        let attended: WgslArray;
        if ('sums' in out) {
          const [added, merged] = forms.outputOfParts(x, out, output);
          [sum, attended] = [added, new WgslArray(q.shape, merged)];
        } else {
          attended = new WgslArray(q.shape, out);
          sum = forms.output(x, attended, output);
        }
        made.push({ from, to: kept.commands.length, slots, sizes, parts: partsOf(device, sizes, most, joins), joins });
        stages.push({ ...stage, attended });
        device.free(x.memory);
        x = forms.feedForward({ ...feedForward, x: sum });
        device.free(sum.memory);
      });
      last = x.memory;
    });
    return { capture, cos: cosine, sin: sine, types: given, start, x: last!, stages, chosen, layers: made, submits: 0 };
  }

  /** The types [B,G,1] with the largest scores of hidden states [B,1,D], by the kernels of tokens that are not kept. */
  function choose({ shape: [B, , D], memory }: WgslArray, scorer: WgslArray, G: number): Memory {
    const sizes = { rows: B, K: D, M: 3 * G };
    const scores = linear(device, memory, scorer.memory, scorer.dtype as StoredDtype, undefined, sizes);
    const [types, probabilities] = tokenTypes(device, scores, { temperature: 1 }, { B, G, chunks: 1 });
    for (const each of [scores, probabilities]) device.free(each);
    return types;
  }

  /** Takes them again. */
  function repeat(way: Way, { ids, embedding: table, cos, sin, types }: Inputs, places: readonly Place[]): void {
    device.write(way.cos, Float32Array.from(cos));
    device.write(way.sin, Float32Array.from(sin));
    if (way.types && types) device.write(way.types, Int32Array.from(types));
    embedding(device, table.memory, table.dtype as StoredDtype, ids.memory, ids.shape[0], table.shape[1], way.start);
    const { commands } = way.capture;
    for (let n = 0; n < places.length; n++) {
      const { first, slots } = places[n];
      const layer = way.layers[n];
      for (let at = layer.from; at < layer.to; at++) {
        // Slots are laid out anew from time to time.
        if (layer.slots !== slots) {
          commands[at] = device.rebound(commands[at], memoriesOf(layer.slots), memoriesOf(slots));
        }
        const { words, fields } = commands[at];
        words[fields['first']] = first;
        words[fields['parity']] = slots.parity;
      }
      layer.slots = slots;
    }
    device.repeat(commands);
  }
}
