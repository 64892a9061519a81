/**
 * Where the time of a GPU goes: WebGPU as an engine sees it, but with a clock around every dispatch. Each dispatch
 * gets a pass of its own, which costs time: the sum says how the work is shared out rather than how long it takes.
 * @module
 */
import { create } from 'webgpu';

const [MAP_READ, COPY_SRC, COPY_DST, RESOLVE] = [1, 4, 8, 512];
/** Dispatches between two readings of the clock. */
const ROOM = 2048;

/** One kernel: how often it ran, and for how many microseconds in all. */
export interface KernelTime {
  readonly name: string;
  count: number;
  us: number;
}

/** An instance of Dawn must outlive its devices. */
let kept: GPU;

/** What is recorded while it runs. */
export class Profile {
  readonly #names: string[] = [];
  readonly #times = new Map<string, KernelTime>();
  #device: GPUDevice | undefined;
  #stamps!: GPUQuerySet;
  #resolved!: GPUBuffer;
  #submits = 0;

  /** Puts WebGPU with a clock where engines look for it: navigator.gpu. */
  install(switches: readonly string[]): void {
    kept = create([...switches, 'disable-dawn-features=timestamp_quantization']);
    const gpu = {
      requestAdapter: async (options: GPURequestAdapterOptions) => {
        const adapter = await kept.requestAdapter(options);
        if (!adapter) return null;
        const request = adapter.requestDevice.bind(adapter);
        replace(adapter, 'requestDevice', async (descriptor: GPUDeviceDescriptor = {}) => {
          const features = [...descriptor.requiredFeatures ?? [], 'timestamp-query' as const];
          return this.#watch(await request({ ...descriptor, requiredFeatures: features }));
        });
        return adapter;
      },
    };
    replace(globalThis, 'navigator', { gpu });
  }

  #watch(device: GPUDevice): GPUDevice {
    this.#device = device;
    this.#stamps = device.createQuerySet({ type: 'timestamp', count: 2 * ROOM });
    this.#resolved = device.createBuffer({ size: 16 * ROOM, usage: RESOLVE | COPY_SRC });
    const labels = new WeakMap<object, string>();
    for (const method of ['createComputePipeline', 'createComputePipelineAsync'] as const) {
      const make = device[method].bind(device) as
        (descriptor: GPUComputePipelineDescriptor) => GPUComputePipeline | Promise<GPUComputePipeline>;
      const named = (made: GPUComputePipeline, label = 'unnamed'): GPUComputePipeline => {
        labels.set(made, label);
        return made;
      };
      replace(device, method, (descriptor: GPUComputePipelineDescriptor) => {
        const made = make(descriptor);
        if (made instanceof Promise) return made.then((one) => named(one, descriptor.label));
        return named(made, descriptor.label);
      });
    }
    const encoders = device.createCommandEncoder.bind(device);
    replace(device, 'createCommandEncoder', () => {
      const encoder = encoders();
      const begin = encoder.beginComputePass.bind(encoder);
      replace(encoder, 'beginComputePass', () => this.#pass(begin, labels));
      return encoder;
    });
    const submit = device.queue.submit.bind(device.queue);
    const { queue } = device;
    replace(device, 'queue', queue);
    replace(queue, 'submit', (commands: Iterable<GPUCommandBuffer>) => {
      this.#submits++;
      submit(commands);
    });
    return device;
  }

  /** A pass that is many: one for each dispatch. */
  #pass(begin: (d: GPUComputePassDescriptor) => GPUComputePassEncoder, labels: WeakMap<object, string>): unknown {
    let pipeline: GPUComputePipeline;
    let group: [GPUBindGroup, number[]?];
    return {
      setPipeline: (next: GPUComputePipeline) => void (pipeline = next),
      setBindGroup: (_: number, next: GPUBindGroup, offsets?: number[]) => void (group = [next, offsets]),
      dispatchWorkgroups: (...size: [number, number, number]) => {
        const n = this.#names.length;
        const clocked = n < ROOM;
        if (clocked) this.#names.push(labels.get(pipeline) ?? 'unnamed');
        const [querySet, beginningOfPassWriteIndex, endOfPassWriteIndex] = [this.#stamps, 2 * n, 2 * n + 1];
        const clock = { timestampWrites: { querySet, beginningOfPassWriteIndex, endOfPassWriteIndex } };
        const pass = begin(clocked ? clock : {});
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group[0], group[1] ?? []);
        pass.dispatchWorkgroups(...size);
        pass.end();
      },
      end: () => {},
    };
  }

  /** Takes in what ran since the last call; `count` says whether it counts. */
  async collect(count: boolean): Promise<void> {
    const device = this.#device!;
    const names = this.#names.splice(0);
    if (names.length === 0) return;
    const staging = device.createBuffer({ size: 16 * names.length, usage: MAP_READ | COPY_DST });
    const encoder = device.createCommandEncoder();
    encoder.resolveQuerySet(this.#stamps, 0, 2 * names.length, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, staging, 0, 16 * names.length);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(1);
    const stamps = new BigUint64Array(staging.getMappedRange().slice(0));
    staging.destroy();
    if (!count) return;
    names.forEach((name, n) => {
      const known = this.#times.get(name) ?? { name, count: 0, us: 0 };
      this.#times.set(name, known);
      known.count++;
      known.us += Number(stamps[2 * n + 1] - stamps[2 * n]) / 1000;
    });
  }

  /** Submits so far. */
  get submits(): number {
    return this.#submits;
  }

  /** The kernels since the last call, the longest first. */
  take(): KernelTime[] {
    const all = [...this.#times.values()].sort((a, b) => b.us - a.us);
    this.#times.clear();
    return all;
  }
}

function replace(object: object, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, configurable: true, writable: true });
}
