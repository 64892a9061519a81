/**
 * Where the time of an engine's commands goes: a device whose every dispatch is a pass of its own, with timestamps.
 * @module
 */

const [MAP_READ, COPY_SRC, COPY_DST, RESOLVE] = [1, 4, 8, 512];
/** Timestamps of one query set. */
const STAMPS = 4096;

/** Microseconds and dispatches of each kernel, by its label. */
export type Profile = ReadonlyMap<string, { readonly us: number; readonly count: number }>;

/** Watches the command encoders of a device with timestamps. */
export class Profiler {
  readonly #device: GPUDevice;
  readonly #create: GPUDevice['createCommandEncoder'];
  readonly #labels = new WeakMap<GPUComputePipeline, string>();
  readonly #found = new Map<string, { us: number; count: number }>();
  #pending: Promise<void>[] = [];

  constructor(device: GPUDevice) {
    this.#device = device;
    this.#create = device.createCommandEncoder.bind(device);
    const compile = device.createComputePipeline.bind(device);
    device.createComputePipeline = (descriptor) => {
      const pipeline = compile(descriptor);
      this.#labels.set(pipeline, descriptor.label ?? '?');
      return pipeline;
    };
    const compileSoon = device.createComputePipelineAsync.bind(device);
    device.createComputePipelineAsync = async (descriptor) => {
      const pipeline = await compileSoon(descriptor);
      this.#labels.set(pipeline, descriptor.label ?? '?');
      return pipeline;
    };
  }

  /** Runs `work` with every dispatch timed. */
  async watch(work: () => Promise<unknown>): Promise<Profile> {
    this.#found.clear();
    this.#device.createCommandEncoder = () => this.#encoder();
    try {
      await work();
    } finally {
      this.#device.createCommandEncoder = this.#create;
    }
    await this.#device.queue.onSubmittedWorkDone();
    await Promise.all(this.#pending);
    this.#pending = [];
    return this.#found;
  }

  #encoder(): GPUCommandEncoder {
    const device = this.#device;
    const encoder = this.#create();
    const stamps = device.createQuerySet({ type: 'timestamp', count: STAMPS });
    const labels: string[] = [];
    const beginComputePass = (): Partial<GPUComputePassEncoder> => {
      let state: { pipeline?: GPUComputePipeline; group?: [GPUBindGroup, number[]] } = {};
      return {
        setPipeline: (pipeline) => void (state = { ...state, pipeline }),
        setBindGroup: ((_: number, group: GPUBindGroup, offsets: number[]) => void (state = { ...state, group: [group, offsets] })) as GPUComputePassEncoder['setBindGroup'],
        dispatchWorkgroups: (x, y, z) => {
          const n = labels.push(this.#labels.get(state.pipeline!) ?? '?') - 1;
          const pass = encoder.beginComputePass({
            timestampWrites: { querySet: stamps, beginningOfPassWriteIndex: 2 * n, endOfPassWriteIndex: 2 * n + 1 },
          });
          pass.setPipeline(state.pipeline!);
          pass.setBindGroup(0, ...state.group!);
          pass.dispatchWorkgroups(x, y, z);
          pass.end();
        },
        end: () => undefined,
      };
    };
    return {
      beginComputePass,
      copyBufferToBuffer: (...args: Parameters<GPUCommandEncoder['copyBufferToBuffer']>) => encoder.copyBufferToBuffer(...args),
      finish: () => {
        if (labels.length > 0) this.#resolve(encoder, stamps, labels);
        return encoder.finish();
      },
    } as unknown as GPUCommandEncoder;
  }

  #resolve(encoder: GPUCommandEncoder, stamps: GPUQuerySet, labels: readonly string[]): void {
    const size = 16 * labels.length;
    const resolved = this.#device.createBuffer({ size, usage: RESOLVE | COPY_SRC });
    const read = this.#device.createBuffer({ size, usage: MAP_READ | COPY_DST });
    encoder.resolveQuerySet(stamps, 0, 2 * labels.length, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, read, 0, size);
    // The commands are submitted right after this.
    this.#pending.push(Promise.resolve().then(async () => {
      await read.mapAsync(1);
      const times = new BigUint64Array(read.getMappedRange());
      labels.forEach((label, n) => {
        const { us, count } = this.#found.get(label) ?? { us: 0, count: 0 };
        const took = Number(times[2 * n + 1] - times[2 * n]) / 1000;
        this.#found.set(label, { us: us + took, count: count + 1 });
      });
      read.destroy();
      resolved.destroy();
      stamps.destroy();
    }));
  }
}
