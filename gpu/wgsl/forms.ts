/**
 * The forms of the contract. A few rows take the kernels of few-rows.ts; more take one operation after the other.
 * @module
 */
import type { Drawing, Forms, Norm, Projected, Projection } from '../../src/core/forms.ts';
import type { CacheKernels } from '../../src/core/kernels.ts';
import { sizeOf } from '../../src/core/tensor.ts';
import { argmax } from './argmax.ts';
import { real, WgslArray } from './array.ts';
import { type Memory, MOST_GROUPS, type WgslDevice } from './device.ts';
import type { Attended } from './decode.ts';
import { draw } from './draw.ts';
import { add } from './elementwise.ts';
import { fewRows, type FewRows, MERGE_THREADS, ROW_BYTES, sharing, unitsOf, widthOf } from './few-rows.ts';
import { mergeHeads, splitHeads } from './heads.ts';
import { layersOn } from './layers.ts';
import { linear } from './linear.ts';
import { rmsNorm, SMALL } from './rmsnorm.ts';
import { rope } from './rope.ts';
import type { StoredDtype } from './stored.ts';
import { swiglu } from './swiglu.ts';

/** The most rows that are few. */
const FEW = 4;
/** Arrays of the kernel `rotate`, which may be more than a device allows. */
const [ROTATE_ARRAYS, BIASES] = [11, 3];

export function formsOf(device: WgslDevice): Forms<WgslArray, CacheKernels<WgslArray>> {
  const f32 = (x: WgslArray): Memory => real(device, x);
  const made = (memory: Memory, shape: readonly number[]): WgslArray => new WgslArray(shape, memory);
  const free = (...memories: readonly Memory[]): void => memories.forEach((memory) => device.free(memory));
  /**
   * Whether the kernels for few rows can do it, and are worth it: their limits, one dtype for all weights, and no
   * device that is fast with narrow workgroups only.
   */
  const few = (rows: number, K: number, weights: readonly WgslArray[], normed: boolean): boolean =>
    device.width > 4 && rows > 0 && rows <= FEW && K > 0 && (!normed || rows * K * 4 <= ROW_BYTES) &&
    weights.every(({ dtype }) => dtype === weights[0].dtype);
  const run = (
    { kind, K, rows, bias = false, parts }: Pick<FewRows, 'kind' | 'rows' | 'parts'> & { K: number; bias?: boolean },
    weight: WgslArray, units: number,
    params: Readonly<Record<string, number>>, inputs: readonly Memory[], outputs: readonly Memory[],
  ): void => {
    const stored = weight.dtype as StoredDtype;
    const width = widthOf(stored, K);
    const [pieces, wide] = [K / width, width > 1];
    const { subgroups } = device;
    const shared = sharing(kind, pieces, subgroups);
    const all = Math.ceil(units / unitsOf({ kind, subgroups, ...shared }));
    const folds = Math.max(1, Math.ceil(all / MOST_GROUPS));
    const made = fewRows({ kind, rows, stored, wide, ...shared, bias, subgroups, ...(parts && { parts }) });
    device.run(made, {
      params: {
        units, M: units, pieces, vectors: wide ? K / 4 : K, heads: 0, groups: 0, half: 0, N: 1, epsilon: 0,
        small: SMALL, ...params,
      },
      inputs, outputs,
      groups: [Math.ceil(all / folds), folds], work: rows * units * K * 4,
    });
  };
  const rowsOf = (x: WgslArray): readonly [rows: number, K: number] => {
    const K = x.shape[x.shape.length - 1];
    return [sizeOf(x.shape.slice(0, -1)), K];
  };
  const normOf = (x: WgslArray, { weight, epsilon }: Norm<WgslArray>): Memory => {
    const [rows, K] = rowsOf(x);
    return rmsNorm(device, f32(x), f32(weight), epsilon, rows, K);
  };
  const product = (x: Memory, rows: number, K: number, weight: WgslArray, bias?: WgslArray): Memory =>
    linear(device, x, weight.memory, weight.dtype as StoredDtype, bias && f32(bias), { rows, K, M: weight.shape[0] });

  /** Heads of the normed rows, one operation after the other. */
  const heads = (
    hidden: Memory, [B, N, D]: readonly number[], { heads: count, weight, bias, norm }: Projection<WgslArray>,
    turn?: readonly [cos: WgslArray, sin: WgslArray],
  ): WgslArray => {
    const sizes = { B, heads: count, N, d: weight.shape[0] / count };
    const flat = product(hidden, B * N, D, weight, bias);
    let y = splitHeads(device, flat, sizes);
    free(flat);
    const next = (to: Memory): void => {
      free(y);
      y = to;
    };
    if (norm) next(rmsNorm(device, y, f32(norm.weight), norm.epsilon, B * count * N, sizes.d));
    if (turn) next(rope(device, y, f32(turn[0]), f32(turn[1]), false, sizes));
    return made(y, [B, count, N, sizes.d]);
  };

  const forms: Omit<Forms<WgslArray>, 'layers'> = {
    project({ x, norm, q, k, v, cos, sin }): Projected<WgslArray> {
      const [B, N, D] = x.shape as [number, number, number];
      const d = q.weight.shape[0] / q.heads;
      const weights = [q.weight, k.weight, v.weight];
      const alike = !q.norm && !k.norm && !v.norm && !q.bias === !k.bias && !k.bias === !v.bias &&
        k.weight.shape[0] / k.heads === d && v.heads === k.heads && v.weight.shape[0] === k.weight.shape[0];
      const fits = device.storageBuffers >= ROTATE_ARRAYS + (q.bias ? BIASES : 0);
      if (!alike || !fits || !few(B * N, D, weights, true)) {
        const hidden = normOf(x, norm);
        const turn = [cos, sin] as const;
        return {
          hidden: made(hidden, x.shape), q: heads(hidden, x.shape, q, turn), k: heads(hidden, x.shape, k, turn),
          v: heads(hidden, x.shape, v),
        };
      }
      const [H, G, half] = [q.heads, k.heads, d / 2];
      const shapes = [x.shape, [B, H, N, d], [B, G, N, d], [B, G, N, d]];
      const outputs = shapes.map((shape) => device.allocate(sizeOf(shape)));
      const biases = q.bias && k.bias && v.bias ? [q.bias, k.bias, v.bias].map(f32) : [];
      run({ kind: 'rotate', K: D, rows: B * N, bias: biases.length > 0 }, q.weight, (H + 2 * G) * half,
        { heads: H, groups: G, half, N, epsilon: norm.epsilon },
        [f32(x), f32(norm.weight), ...weights.map(({ memory }) => memory), f32(cos), f32(sin), ...biases], outputs);
      const [hidden, queries, keys, values] = outputs.map((memory, n) => made(memory, shapes[n]));
      return { hidden, q: queries, k: keys, v: values };
    },

    output(x, attended, weight): WgslArray {
      const [B, H, N, d] = attended.shape as [number, number, number, number];
      const K = H * d;
      const merged = mergeHeads(device, f32(attended), { B, heads: H, N, d });
      const y = residual(x, merged, B * N, K, weight);
      free(merged);
      return y;
    },

    feedForward({ x, norm, gate, up, down }): WgslArray {
      const [rows, K] = rowsOf(x);
      const F = gate.shape[0];
      let gated: Memory;
      if (few(rows, K, [gate, up], true)) {
        gated = device.allocate(rows * F);
        run({ kind: 'gate', K, rows }, gate, F, { epsilon: norm.epsilon },
          [f32(x), f32(norm.weight), gate.memory, up.memory], [gated]);
      } else {
        const normed = normOf(x, norm);
        const [g, u] = [product(normed, rows, K, gate), product(normed, rows, K, up)];
        gated = swiglu(device, g, u, rows * F);
        free(normed, g, u);
      }
      const y = residual(x, gated, rows, F, down);
      free(gated);
      return y;
    },

    logits,

    nextToken(x, norm, head): WgslArray {
      const y = logits(x, norm, head);
      const [rows] = rowsOf(x);
      const best = argmax(device, y.memory, rows, head.shape[0]);
      free(y.memory);
      return tokens(x, best);
    },

    ...((device.width === 64 || device.testing) && { drawnToken }),
  };
  const parts = { joinsParts, outputOfParts };
  return { ...forms, ...(device.width === 64 && { layers: layersOn(device, { ...forms, ...parts }) }) };

  /** Drawing takes long where the threads of a workgroup that wait for one another share a processor. */
  function drawnToken(
    x: WgslArray, norm: Norm<WgslArray>, head: WgslArray, drawing: Drawing<WgslArray>,
  ): WgslArray {
    const y = logits(x, norm, head);
    const [rows] = rowsOf(x);
    const drawn = draw(device, y.memory, drawing.noise.memory, rows, head.shape[0], drawing);
    free(y.memory);
    return tokens(x, drawn);
  }

  /** Tokens after the rows of x, -1 where there is none. */
  function tokens(x: WgslArray, memory: Memory): WgslArray {
    const ids = new WgslArray(x.shape.slice(0, -1), memory, 'i32');
    ids.least = -1;
    return ids;
  }

  function logits(x: WgslArray, norm: Norm<WgslArray>, head: WgslArray): WgslArray {
    const [rows, K] = rowsOf(x);
    const V = head.shape[0];
    const shape = [...x.shape.slice(0, -1), V];
    if (few(rows, K, [head], true)) {
      const out = device.allocate(rows * V);
      run({ kind: 'plain', K, rows }, head, V, { epsilon: norm.epsilon },
        [f32(x), f32(norm.weight), head.memory], [out]);
      return made(out, shape);
    }
    const normed = normOf(x, norm);
    const y = product(normed, rows, K, head);
    free(normed);
    return made(y, shape);
  }

  /** Whether outputOfParts() can do it. */
  function joinsParts(x: WgslArray, weight: WgslArray): boolean {
    const [rows] = rowsOf(x);
    const K = weight.shape[1];
    return few(rows, K, [weight], true) && widthOf(weight.dtype as StoredDtype, K) > 1 &&
      (!device.subgroups || device.gpuDevice.limits.maxComputeInvocationsPerWorkgroup >= MERGE_THREADS);
  }

  /** x + W a for rows a of attention, which are put together of their parts on the way: both. */
  function outputOfParts(
    x: WgslArray, { sums, stats, types, book, params, ...parts }: Attended, weight: WgslArray,
  ): readonly [sum: WgslArray, attended: Memory] {
    const [[rows], [M, K]] = [rowsOf(x), weight.shape];
    const [out, attended] = [device.allocate(rows * M), device.allocate(rows * K)];
    run({ kind: 'merge', K, rows, parts }, weight, M, params,
      [sums, stats, types, weight.memory, f32(x)], [out, attended, book]);
    free(sums, stats);
    return [made(out, x.shape), attended];
  }

  /** x + W a for rows of a. */
  function residual(x: WgslArray, a: Memory, rows: number, K: number, weight: WgslArray): WgslArray {
    const M = weight.shape[0];
    if (few(rows, K, [weight], false)) {
      const out = device.allocate(rows * M);
      run({ kind: 'add', K, rows }, weight, M, {}, [a, weight.memory, f32(x)], [out]);
      return made(out, x.shape);
    }
    const y = product(a, rows, K, weight);
    const sum = add(device, f32(x), y, rows * M);
    free(y);
    return made(sum, x.shape);
  }
}
