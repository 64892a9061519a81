/**
 * The gradients of attention by matrix units. Few devices let WebGPU reach any, so their kernels run here with each
 * 16x16 product spelled out in core WGSL: the same text with the same roundings.
 */
import { expect, it } from 'vitest';
import { create } from 'webgpu';
import { attend } from '../gpu/wgsl/attention.ts';
import { attentionBackward } from '../gpu/wgsl/attention-backward.ts';
import { unitKeyGradients } from '../gpu/wgsl/attention-units-dkv.ts';
import { unitQueryGradients } from '../gpu/wgsl/attention-units-dq.ts';
import { type Memory, WgslDevice } from '../gpu/wgsl/device.ts';
import { MATRIX_UNITS, SPELLED_OUT } from '../gpu/wgsl/fast/units.ts';
import { openGpuDevice } from '../gpu/device/adapter.ts';
import { fromFloat16, toFloat16 } from '../src/core/float16.ts';
import { type AttentionProblem, attentionProblem, type Sizes } from './support/arbitraries.ts';
import { boundedBackward } from './support/bounded.ts';
import { some, THOROUGH } from './support/thorough.ts';
import { type Bounded, expectWithin, Rounding } from './support/tolerance.ts';
import { describeWebGPU } from './support/webgpu.ts';

const R = new Rounding('float32');
/** Half a unit of float16, relatively, and below its smallest normal number. */
const [HALF, TINY] = [2 ** -11, 2 ** -25];
const SHAPE: Sizes = {
  B: 1, G: 1, H: 2, group: 2, N: 75, d: 32, window: 9, chunk: 1, seed: 3, only: null, tied: false,
};

/** A problem whose factors are float16 numbers, so that to round them changes nothing. */
function problem(change: Partial<Sizes>): AttentionProblem {
  const p = attentionProblem({ ...SHAPE, ...change }, 'float32');
  const halves = (x: Float64Array): Float64Array => x.map((each) => fromFloat16(toFloat16(each)));
  return { ...p, q: halves(p.q), k: halves(p.k), v: halves(p.v), dOut: halves(p.dOut) };
}

/** Errors of dq, dk, dv by the roundings of the weights A and dS to float16. */
function weightErrors(p: AttentionProblem): Record<'dq' | 'dk' | 'dv', Float64Array> {
  const { B, H, G, N, d, scale } = p;
  const [dq, dk, dv] = [p.q, p.k, p.v].map(({ length }) => new Float64Array(length));
  const dot = (a: Float64Array, i: number, b: Float64Array, j: number): number => {
    let sum = 0;
    for (let x = 0; x < d; x++) sum += a[i * d + x] * b[j * d + x];
    return sum;
  };
  for (let head = 0; head < B * H; head++) {
    const base = Math.floor(head / (H / G)) * N;
    for (let i = 0; i < N; i++) {
      const query = head * N + i;
      const seen = Array.from({ length: i + 1 }, (_, j) => base + j).filter((key) => p.last[key] >= i);
      const exps = seen.map((key) => Math.exp(scale * dot(p.q, query, p.k, key)));
      const all = exps.reduce((a, b) => a + b, 0);
      const changes = seen.map((key) => dot(p.dOut, query, p.v, key));
      const D = changes.reduce((sum, change, n) => sum + (change * exps[n]) / all, 0);
      seen.forEach((key, n) => {
        const A = exps[n] / all;
        const dS = Math.abs(scale * A * (changes[n] - D));
        for (let x = 0; x < d; x++) {
          dq[query * d + x] += (dS * HALF + TINY) * Math.abs(p.k[key * d + x]);
          dk[key * d + x] += (dS * HALF + TINY) * Math.abs(p.q[query * d + x]);
          dv[key * d + x] += (A * HALF + TINY) * Math.abs(p.dOut[query * d + x]);
        }
      });
    }
  }
  return { dq, dk, dv };
}

async function gradients(
  device: WgslDevice, p: AttentionProblem, by: 'units' | 'float32' = 'units',
): Promise<Record<'dq' | 'dk' | 'dv', Float32Array>> {
  const { B, H, G, N, d, scale } = p;
  const [q, k, v, dOut] = [p.q, p.k, p.v, p.dOut].map((x) => device.upload(Float32Array.from(x)));
  const last = device.upload(Int32Array.from(p.last));
  const sizes = { B, H, G, N, d };
  const [out, lse] = attend(device, q, { k, v, entries: last }, sizes, scale);
  const found = attentionBackward(device, { q, k, v, last, out, lse, dOut }, sizes, scale, undefined, by === 'units' ? SPELLED_OUT : undefined);
  const read = async (memory: Memory, length: number): Promise<Float32Array> =>
    new Float32Array(await device.read(memory), 0, length);
  const [dq, dk, dv] = await Promise.all([p.q, p.k, p.v].map(({ length }, n) => read(found[n]!, length)));
  return { dq, dk, dv };
}

const open = async (): Promise<WgslDevice> =>
  new WgslDevice({ ...await openGpuDevice(undefined, []), testing: true, width: 64 });

describeWebGPU('the gradients of attention by matrix units', () => {
  it.each(some<Partial<Sizes>>(1, [
    {}, { d: 64, N: 140, B: 2, G: 2, H: 2, group: 1 }, { d: 128, N: 66, reach: 40 }, { only: 0, N: 64 },
    { d: 96, chunk: 3, N: 37 }, { N: 1 }, { only: 2, window: 0, N: 80 },
  ]))('equal the formulas to the rounding of their weights to float16: %o', async (change) => {
    const p = problem(change);
    const device = await open();
    const [truth, more] = [boundedBackward(p, R), weightErrors(p)];
    const found = await gradients(device, p);
    for (const name of ['dq', 'dk', 'dv'] as const) {
      const budget = truth[name].map(({ value, error }, n): Bounded => ({ value, error: error + more[name][n] }));
      expectWithin(found[name], budget, name);
    }
    // It did round, by as much as these roundings are: float32 is closer. Where each query sees one key, weights are 1.
    const plain = await gradients(device, p, 'float32');
    const distance = (x: Float32Array): number => Math.hypot(...x.map((each, n) => each - truth.dv[n].value));
    const alone = p.N === 1 || (p.only === 2 && p.window === 0);
    if (!alone) expect(distance(found.dv)).toBeGreaterThan(8 * distance(plain.dv));
    device.dispose();
  }, 240_000);

  if (THOROUGH) it('are the same to the bit where a NaN or an infinity is hidden', async () => {
    const p = problem({ only: 2, window: 3, N: 70 });
    const BAD = 50; // queries 50 to 53 see it
    const device = await open();
    const clean = await gradients(device, p);
    for (const bad of [NaN, Infinity, 1e6]) { // the last one is beyond float16
      const spoiled = (x: Float64Array): Float64Array => x.map((y, n) => (Math.floor(n / p.d) === BAD ? bad : y));
      const found = await gradients(device, { ...p, k: spoiled(p.k), v: spoiled(p.v) });
      for (const [name, reach] of [['dq', 0], ['dk', 3], ['dv', 3]] as const) {
        found[name].forEach((x, n) => {
          const row = Math.floor(n / p.d) % p.N;
          if (row < BAD - reach || row > BAD + 3) expect(x, `${name} ${n}`).toBe(clean[name][n]);
        });
      }
    }
    device.dispose();
  }, 240_000);
});

/** Kept here because an instance must outlive its devices. */
const instance: GPU = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);

it('their kernels are valid WGSL with and without matrix units', async () => {
  const adapter = await instance.requestAdapter();
  const features = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'] as GPUFeatureName[];
  const device = await adapter!.requestDevice({ requiredFeatures: features });
  for (const on of [MATRIX_UNITS, SPELLED_OUT]) {
    for (const d of [32, 64, 96, 128]) {
      const tile = { on, d, strips: on === SPELLED_OUT ? 2 : 4 } as const;
      for (const { name, code, workgroupBytes } of [unitQueryGradients(tile), unitKeyGradients(tile)]) {
        const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
        expect(messages.map(({ lineNum, message }) => `${name}, line ${lineNum}: ${message}`)).toEqual([]);
        expect(workgroupBytes, name).toBeLessThanOrEqual((on === SPELLED_OUT ? 32 : 48) * 1024);
      }
    }
  }
  device.destroy();
});
