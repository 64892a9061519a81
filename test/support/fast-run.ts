/**
 * Runs the kernels of gpu/wgsl/fast/ on a device, with NaN around everything that they are given and in everything that
 * they must write.
 * @module
 */
import type { AdapterInfo, FastKernel } from '../../gpu/wgsl/fast/index.ts';

/** Words of NaN after each array: as two halves they are NaN too. */
const MARGIN = 64;
const NAN_WORD = 0x7fc07fc0;

const [MAP_READ, COPY_SRC, COPY_DST, UNIFORM, STORAGE] = [1, 4, 8, 64, 128];

type Words = Float32Array | Uint32Array;

function withMargin(data: Words | number): Uint32Array<ArrayBuffer> {
  const length = typeof data === 'number' ? data : data.length;
  const words = new Uint32Array(Math.ceil(length / 4) * 4 + MARGIN).fill(NAN_WORD);
  if (typeof data !== 'number') words.set(new Uint32Array(data.buffer, data.byteOffset, data.length));
  return words;
}

/** Kernels on one device, with the buffers that pass from one to the next. */
export class FastRun {
  readonly device: GPUDevice;
  readonly info: AdapterInfo;

  constructor({ device, info }: { device: GPUDevice; info: AdapterInfo }) {
    this.device = device;
    this.info = info;
  }

  /** A buffer with these words, or with `data` words of NaN. */
  buffer(data: Words | number): GPUBuffer {
    const words = withMargin(data);
    const buffer = this.device.createBuffer({ size: words.byteLength, usage: STORAGE | COPY_SRC | COPY_DST });
    this.device.queue.writeBuffer(buffer, 0, words);
    return buffer;
  }

  /** Dispatches a kernel. `arrays` are its inputs and outputs by name. */
  async run<S>(
    kernel: FastKernel<S>, sizes: S, params: Readonly<Record<string, number>>,
    arrays: Readonly<Record<string, GPUBuffer>>,
  ): Promise<void> {
    const { device } = this;
    const fields = new DataView(new ArrayBuffer(Math.ceil(kernel.fields.length / 4) * 16));
    kernel.fields.forEach(({ name, type }, n) => {
      if (type === 'f32') fields.setFloat32(4 * n, params[name], true);
      else fields.setUint32(4 * n, params[name], true);
    });
    const uniform = device.createBuffer({ size: fields.byteLength, usage: UNIFORM | COPY_DST });
    device.queue.writeBuffer(uniform, 0, fields.buffer as ArrayBuffer);
    const pipeline = await device.createComputePipelineAsync({
      layout: 'auto',
      compute: { module: device.createShaderModule({ label: kernel.name, code: kernel.code }), entryPoint: 'main' },
    });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [uniform, ...kernel.arrays.map((name) => arrays[name])]
        .map((buffer, binding) => ({ binding, resource: { buffer } })),
    }));
    pass.dispatchWorkgroups(...kernel.workgroups(sizes));
    pass.end();
    device.queue.submit([encoder.finish()]);
  }

  /** The first `length` words of a buffer as float32. Fails if anything was written after them. */
  async read(buffer: GPUBuffer, length: number): Promise<Float32Array> {
    const copy = this.device.createBuffer({ size: buffer.size, usage: MAP_READ | COPY_DST });
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, copy, 0, buffer.size);
    this.device.queue.submit([encoder.finish()]);
    await copy.mapAsync(1);
    const words = new Uint32Array(copy.getMappedRange().slice(0));
    copy.destroy();
    for (let n = length; n < words.length; n++) {
      if (words[n] !== NAN_WORD) throw new Error(`word ${n} was written, but there are ${length}`);
    }
    return new Float32Array(words.buffer).slice(0, length);
  }
}

/** Two 16-bit numbers to a word, the first one in the lower half. */
export function packedHalves(bits: Uint16Array): Uint32Array {
  const words = new Uint32Array(Math.ceil(bits.length / 2)).fill(NAN_WORD);
  const halves = new Uint16Array(words.buffer);
  halves.set(bits);
  return words;
}
