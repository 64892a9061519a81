/**
 * A GPU to measure kernels on: its own random numbers, its own clock.
 * @module
 */
import type { FastKernel } from '../../gpu/wgsl/fast/index.ts';
import { fromBfloat16, fromFloat16 } from '../../src/core/float16.ts';
import { median } from '../measure.ts';

const [MAP_READ, COPY_SRC, COPY_DST, UNIFORM, STORAGE, RESOLVE] = [1, 4, 8, 64, 128, 512];

/** Switches for Dawn without which it keeps float16 and matrix units back. */
export const DAWN: readonly string[] = [
  'enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia,use_vulkan_memory_model',
];

/** What `Bench.call` makes: the kernel with its buffers bound, ready to be dispatched again and again. */
export interface Call {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly workgroups: readonly [number, number, number];
}

/** Random numbers [P.n words]: about normal, as f32 or as two f16 or two bf16 to a word. */
const FILL = `
struct Params { n: u32, seed: u32, kind: u32, size: f32 }
@group(0) @binding(0) var<uniform> P: Params;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
fn hash(x: u32) -> u32 { var h = x * 747796405u + 2891336453u; h = ((h >> ((h >> 28) + 4)) ^ h) * 277803737u; return (h >> 22) ^ h; }
fn normal(i: u32) -> f32 {
  var sum = 0f;
  for (var n = 0u; n < 4; n++) { sum += f32(hash(hash(i * 4 + n) ^ P.seed) >> 8) / 16777216f - 0.5; }
  return sum * 1.7320508 * P.size;
}
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < P.n; i += groups.x * 256) {
    if (P.kind == 0) { out[i] = bitcast<u32>(normal(i)); }
    else if (P.kind == 1) { out[i] = pack2x16float(vec2f(normal(2 * i), normal(2 * i + 1))); }
    else { out[i] = (bitcast<u32>(normal(2 * i)) >> 16) | (bitcast<u32>(normal(2 * i + 1)) & 0xffff0000); }
  }
}`;

function fillParams(words: number, seed: number, kind: number, size: number): DataView {
  const params = new DataView(new ArrayBuffer(16));
  [words, seed, kind].forEach((n, i) => params.setUint32(4 * i, n, true));
  params.setFloat32(12, size, true);
  return params;
}

/** A device, with what was made on it. */
export class Bench {
  readonly device: GPUDevice;
  readonly adapter: GPUAdapter;
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  readonly #stamps: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #stampsRead: GPUBuffer;
  #buffers: GPUBuffer[] = [];
  #seed = 1;
  #ballast: Pick<Call, 'pipeline' | 'group'> | undefined;
  /** Milliseconds of work before times are taken. */
  readonly #warmUp: number;

  constructor(adapter: GPUAdapter, device: GPUDevice, warmUp: number) {
    this.#warmUp = warmUp;
    this.adapter = adapter;
    this.device = device;
    this.#stamps = device.createQuerySet({ type: 'timestamp', count: 2 });
    this.#resolved = device.createBuffer({ size: 16, usage: RESOLVE | COPY_SRC });
    this.#stampsRead = device.createBuffer({ size: 16, usage: MAP_READ | COPY_DST });
  }

  /** Opens Dawn as this project ships it, bounds checks on, but with a clock that is not rounded. */
  static async open(warmUp: number): Promise<Bench> {
    const { create } = (await import('webgpu')) as { create(options: string[]): GPU };
    kept = create([...DAWN, 'disable-dawn-features=timestamp_quantization']);
    const adapter = await kept.requestAdapter({ powerPreference: 'high-performance' });
    if (!adapter) throw new Error('no GPU adapter');
    const features = ['timestamp-query', 'shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'];
    const { maxBufferSize, maxStorageBufferBindingSize, maxComputeWorkgroupStorageSize } = adapter.limits;
    const device = await adapter.requestDevice({
      requiredFeatures: features.filter((name) => adapter.features.has(name as GPUFeatureName)) as GPUFeatureName[],
      requiredLimits: { maxBufferSize, maxStorageBufferBindingSize, maxComputeWorkgroupStorageSize },
    });
    device.addEventListener('uncapturederror', (event) => console.error((event as GPUUncapturedErrorEvent).error.message));
    return new Bench(adapter, device, warmUp);
  }

  empty(words: number): GPUBuffer {
    const buffer = this.device.createBuffer({ size: Math.ceil(words / 4) * 16, usage: STORAGE | COPY_SRC | COPY_DST });
    this.#buffers.push(buffer);
    return buffer;
  }

  upload(data: Uint32Array | Float32Array): GPUBuffer {
    const buffer = this.empty(data.length);
    this.device.queue.writeBuffer(buffer, 0, data as Uint32Array<ArrayBuffer>);
    return buffer;
  }

  /** Random elements, `size` times normally distributed. */
  random(elements: number, kind: 'f32' | 'f16' | 'bf16', size = 1): Promise<GPUBuffer> {
    const words = kind === 'f32' ? elements : elements / 2;
    const buffer = this.empty(words);
    const params = fillParams(words, this.#seed++, ['f32', 'f16', 'bf16'].indexOf(kind), size);
    return this.#bind(FILL, params, [buffer]).then(({ pipeline, group }) => {
      this.submit([{ pipeline, group, workgroups: [4096, 1, 1] }]);
      return buffer;
    });
  }

  /** Binds a kernel. */
  async call<S>(
    kernel: FastKernel<S>, sizes: S, values: Readonly<Record<string, number>>,
    arrays: Readonly<Record<string, GPUBuffer>>,
  ): Promise<Call> {
    const params = new DataView(new ArrayBuffer(Math.ceil(kernel.fields.length / 4) * 16));
    kernel.fields.forEach(({ name, type }, n) => {
      if (type === 'f32') params.setFloat32(4 * n, values[name], true);
      else params.setUint32(4 * n, values[name], true);
    });
    const bound = await this.#bind(kernel.code, params, kernel.arrays.map((name) => arrays[name]));
    return { ...bound, workgroups: kernel.workgroups(sizes) };
  }

  async #bind(code: string, params: DataView, buffers: readonly GPUBuffer[]): Promise<Pick<Call, 'pipeline' | 'group'>> {
    const { device } = this;
    const uniform = device.createBuffer({ size: params.byteLength, usage: UNIFORM | COPY_DST });
    device.queue.writeBuffer(uniform, 0, params.buffer as ArrayBuffer);
    let made = this.#pipelines.get(code);
    if (!made) {
      made = device.createComputePipelineAsync({
        layout: 'auto', compute: { module: device.createShaderModule({ code }), entryPoint: 'main' },
      });
      this.#pipelines.set(code, made);
    }
    const pipeline = await made;
    const entries = [uniform, ...buffers].map((buffer, binding) => ({ binding, resource: { buffer } }));
    return { pipeline, group: device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }) };
  }

  submit(calls: readonly Call[], times = 1, stamped = false): void {
    const encoder = this.device.createCommandEncoder();
    const stamps = { querySet: this.#stamps, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 };
    const pass = encoder.beginComputePass(stamped ? { timestampWrites: stamps } : {});
    for (let n = 0; n < times; n++) {
      for (const { pipeline, group, workgroups } of calls) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...workgroups);
      }
    }
    pass.end();
    if (stamped) {
      encoder.resolveQuerySet(this.#stamps, 0, 2, this.#resolved, 0);
      encoder.copyBufferToBuffer(this.#resolved, 0, this.#stampsRead, 0, 16);
    }
    this.device.queue.submit([encoder.finish()]);
  }

  /** Microseconds of one turn through the calls: the median of nine passes of 2 ms or more, once the card is warm. */
  async time(calls: readonly Call[]): Promise<number> {
    const once = async (times: number): Promise<number> => {
      this.submit(calls, times, true);
      await this.#stampsRead.mapAsync(1);
      const [begin, end] = new BigUint64Array(this.#stampsRead.getMappedRange());
      const took = Number(end - begin) / 1000;
      this.#stampsRead.unmap();
      return took / times;
    };
    // A card that idled while numbers were compared runs at a fraction of its clock.
    await this.#warm();
    const times = Math.max(1, Math.min(2000, Math.ceil(2000 / await once(2))));
    const found: number[] = [];
    for (let n = 0; n < 9; n++) found.push(await once(times));
    return median(found);
  }

  /** Keeps the GPU busy until its clock has risen. */
  async #warm(): Promise<void> {
    this.#ballast ??= await this.#bind(FILL, fillParams(2 ** 24, 0, 0, 1), [
      this.device.createBuffer({ size: 2 ** 26, usage: STORAGE }),
    ]);
    const call: Call = { ...this.#ballast, workgroups: [4096, 1, 1] };
    for (const end = performance.now() + this.#warmUp; performance.now() < end;) {
      for (let n = 0; n < 2; n++) this.submit([call], this.#warmUp);
      await this.device.queue.onSubmittedWorkDone();
    }
  }

  /** Words `begin`..`begin + length - 1` of a buffer. */
  async words(buffer: GPUBuffer, begin: number, length: number): Promise<Uint32Array> {
    const copy = this.device.createBuffer({ size: length * 4, usage: MAP_READ | COPY_DST });
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, begin * 4, copy, 0, length * 4);
    this.device.queue.submit([encoder.finish()]);
    await copy.mapAsync(1);
    const words = new Uint32Array(copy.getMappedRange().slice(0));
    copy.destroy();
    return words;
  }

  /** The same as numbers. */
  async numbers(buffer: GPUBuffer, kind: 'f32' | 'f16' | 'bf16', begin: number, length: number): Promise<Float64Array> {
    if (kind === 'f32') return Float64Array.from(new Float32Array((await this.words(buffer, begin, length)).buffer));
    const bits = new Uint16Array((await this.words(buffer, begin / 2, length / 2)).buffer);
    return Float64Array.from(bits, kind === 'f16' ? fromFloat16 : fromBfloat16);
  }

  /** Destroys all buffers made since the last time. */
  free(): void {
    for (const buffer of this.#buffers) buffer.destroy();
    this.#buffers = [];
  }
}

/** An instance of Dawn must outlive its devices. */
let kept: GPU;

/** ‖found - truth‖ / ‖truth‖, which NaN makes NaN. */
export function relativeError(found: ArrayLike<number>, truth: ArrayLike<number>): number {
  let [apart, size] = [0, 0];
  for (let n = 0; n < truth.length; n++) {
    apart += (found[n] - truth[n]) ** 2;
    size += truth[n] ** 2;
  }
  return Math.sqrt(apart / size);
}
