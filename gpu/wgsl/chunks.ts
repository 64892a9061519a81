/**
 * §2 with C > 1: the hidden states of a chunk are pooled into one before they are scored.
 * @module
 */
import type { ChunkPoolSnapshot } from '../../src/core/cache.ts';
import type { Pooling } from '../../src/core/engine.ts';
import type { PoolKernels } from '../../src/core/kernels.ts';
import type { AppendSizes, PoolSizes } from '../../src/core/sizes.ts';
import { real, WgslArray } from './array.ts';
import { flat, type Memory, type WgslDevice } from './device.ts';
import { kernel } from './template.ts';

const PUSH = kernel('pool chunks', `
// rows[b, r] pools what has arrived of the r-th chunk that the step touches, 0 if nothing has; next[b] is the sum or the
// largest of the newest chunk. steps has (tokens before in that chunk, tokens of the step) of each b, and state what was
// kept of the former. A thread for each (b, column).
struct Params { B: u32, T: u32, D: u32, C: u32, rows: u32, largest: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> state: array<f32>;
@group(0) @binding(3) var<storage, read> steps: array<u32>;
@group(0) @binding(4) var<storage, read_write> pooled: array<f32>;
@group(0) @binding(5) var<storage, read_write> next: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.B * p.D) { return; }
  let b = n / p.D;
  let column = n % p.D;
  let used = steps[2u * b];
  let count = steps[2u * b + 1u];
  var kept = state[n];
  for (var r = 0u; r < p.rows; r++) {
    let first = max(r * p.C, used);                      // counted from the start of the chunk of row 0
    let end = min((r + 1u) * p.C, used + count);
    var row = 0.0;
    for (var t = first; t < end; t++) {
      let value = x[(b * p.T + t - used) * p.D + column];
      if (t == r * p.C) { kept = value; }
      else if (p.largest == 1u) { kept = max(kept, value); }
      else { kept += value; }
    }
    if (first < end) { row = kept / select(f32(end - r * p.C), 1.0, p.largest == 1u); }
    pooled[(b * p.rows + r) * p.D + column] = row;
  }
  next[n] = kept;
}`);

interface Step extends PoolSizes {
  readonly T: number;
  readonly rows: number;
  readonly largest: boolean;
  /** Tokens of each sequence's newest chunk that had arrived before, and tokens that arrive. */
  readonly used: readonly number[];
  readonly counts: readonly number[];
}

function pushed(
  device: WgslDevice, x: Memory, state: Memory, { B, T, D, C, rows, largest, used, counts }: Step,
): [pooled: Memory, next: Memory] {
  const steps = device.upload(Uint32Array.from(counts.flatMap((count, b) => [used[b], count])));
  const [pooled, next] = [device.allocate(B * rows * D), device.allocate(B * D)];
  device.run(PUSH, {
    params: { B, T, D, C, rows, largest: largest ? 1 : 0 }, inputs: [x, state, steps], outputs: [pooled, next],
    groups: flat(B * D), work: B * T * D * 4,
  });
  device.free(steps);
  return [pooled, next];
}

/** x [B,N,D] -> [B,ceil(N/C),D]: the mean, or the largest, of each chunk. */
export function poolChunks(
  device: WgslDevice, x: Memory, pooling: Pooling, { B, N, D, C, chunks }: PoolSizes & { N: number; chunks: number },
): Memory {
  const state = device.upload(new Float32Array(B * D));
  const [used, counts] = [0, N].map((n) => new Array<number>(B).fill(n));
  const step = { B, T: N, D, C, rows: chunks, largest: pooling === 'max', used, counts };
  const [pooled, next] = pushed(device, x, state, step);
  device.free(state);
  device.free(next);
  return pooled;
}

/** The same in steps. The state is on the device; the tokens seen are counted on the host. */
export class WgslChunkPool implements PoolKernels<WgslArray> {
  readonly #device: WgslDevice;
  readonly #pooling: Pooling;
  readonly #sizes: PoolSizes;
  #state: Memory;
  #seen: number[];

  constructor(
    device: WgslDevice, pooling: Pooling, sizes: PoolSizes,
    state: Memory = device.upload(new Float32Array(sizes.B * sizes.D)),
    seen: readonly number[] = new Array<number>(sizes.B).fill(0),
  ) {
    this.#device = device;
    this.#pooling = pooling;
    this.#sizes = sizes;
    this.#state = state;
    this.#seen = [...seen];
  }

  push(x: WgslArray, { T, rows, counts }: AppendSizes): WgslArray {
    const { B, D, C } = this.#sizes;
    const step = { B, T, D, C, rows, largest: this.#pooling === 'max', used: this.#seen.map((n) => n % C), counts };
    const [pooled, next] = pushed(this.#device, real(this.#device, x), this.#state, step);
    this.#device.free(this.#state);
    this.#state = next;
    counts.forEach((count, b) => (this.#seen[b] += count));
    return new WgslArray([B, rows, D], pooled);
  }

  fork(): WgslChunkPool {
    // A step replaces the state and leaves the old one as it is.
    return new WgslChunkPool(this.#device, this.#pooling, this.#sizes, this.#device.share(this.#state), this.#seen);
  }

  async snapshot(): Promise<ChunkPoolSnapshot> {
    const seen = Int32Array.from(this.#seen);
    return { seen, state: new Float32Array(await this.#device.read(this.#state)) };
  }

  restore({ seen, state }: ChunkPoolSnapshot): void {
    this.#device.free(this.#state);
    this.#state = this.#device.upload(Float32Array.from(state));
    this.#seen = Array.from(seen);
  }

  dispose(): void {
    this.#device.free(this.#state);
  }
}
