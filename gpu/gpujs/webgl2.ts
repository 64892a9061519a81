/**
 * gpu.js on WebGL2, for browsers without WebGPU: a kernel is a fragment shader, memory a texture of one float32 per
 * texel (R32F). Row copies are framebuffer blits, so that a cache is updated in place here, too.
 * @module
 */
import { DeviceError, DeviceLostError } from '../../src/core/errors.ts';
import type { LateRead } from '../device/reads.ts';
import type { CopyRange, Device, Memory, Size, Tuning } from './device.ts';
import type { Kernel } from './kernel.ts';
import { createKernel, type Library, type Shortcut } from './library.ts';

interface TextureMemory extends Memory {
  readonly texture: WebGLTexture;
  readonly width: number;
  readonly height: number;
  /** gpu.js's view of the texture as an argument. */
  readonly handle: object;
  /** How many memories hold the texture. */
  readonly holds: { count: number };
}

/** Texels per row of the textures made here; gpu.js chooses the size of results. */
const ROW = 2048;

export class WebGL2Device implements Device {
  readonly mode = 'webgl2' as const;
  readonly description: string;
  readonly maxLength: number;
  readonly limitName = 'MAX_TEXTURE_SIZE squared, times four,';
  readonly vectors: boolean = false;
  readonly parallel: boolean = true;
  readonly tuning: Tuning;
  readonly #library: Library;
  readonly #gl: WebGL2RenderingContext;
  readonly #gpu: InstanceType<Library['GPU']>;
  readonly #kernels = new Map<string, Shortcut>();
  readonly #frames: [read: WebGLFramebuffer, draw: WebGLFramebuffer];
  readonly #poison: boolean;
  readonly #side: number;

  constructor(library: Library, options: { poison: boolean; tuning: Tuning }) {
    this.#library = library;
    this.#poison = options.poison;
    this.tuning = options.tuning;
    const canvas = typeof document === 'undefined' ? new OffscreenCanvas(1, 1) : document.createElement('canvas');
    const gl = canvas.getContext('webgl2') as WebGL2RenderingContext | null;
    if (!gl) throw new DeviceError('this browser gives no WebGL2 context: turn hardware acceleration on, or leave gpu out to run on the CPU');
    if (!gl.getExtension('EXT_color_buffer_float')) {
      throw new DeviceError('this GPU cannot render to float textures (EXT_color_buffer_float): leave gpu out to run on the CPU');
    }
    this.#gl = gl;
    const info = gl.getExtension('WEBGL_debug_renderer_info');
    const renderer = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
    this.description = `gpu.js webgl2 (${rendererName(renderer)})`;
    const side = Math.min(gl.getParameter(gl.MAX_TEXTURE_SIZE) as number, 2 ** 13);
    this.#side = side;
    this.maxLength = side * side;
    this.#gpu = new library.GPU({ mode: 'webgl2', canvas, context: gl });
    this.#frames = [gl.createFramebuffer(), gl.createFramebuffer()];
  }

  upload(values: Float32Array, length: number = values.length): Memory {
    const memory = this.#empty(length);
    const { width, height, texture } = memory;
    const padded = new Float32Array(width * height);
    if (this.#poison) padded.fill(NaN);
    padded.set(values);
    const gl = this.#gl;
    gl.activeTexture(gl.TEXTURE15);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, false);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, height, gl.RED, gl.FLOAT, padded);
    return memory;
  }

  allocate(length: number): Memory {
    return this.#poison ? this.upload(new Float32Array(0), length) : this.#empty(length);
  }

  #empty(length: number): TextureMemory {
    this.#check();
    if (length > this.maxLength) {
      throw new DeviceError(`${length * 4} bytes were asked for but ${this.limitName} is ${this.maxLength * 4} here: use a shorter context or a smaller batch`);
    }
    const gl = this.#gl;
    const width = Math.min(Math.max(length, 1), ROW);
    const height = Math.max(1, Math.ceil(length / width));
    const texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE15);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const [name, value] of [
      [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
      [gl.TEXTURE_MIN_FILTER, gl.NEAREST], [gl.TEXTURE_MAG_FILTER, gl.NEAREST],
    ] as const) gl.texParameteri(gl.TEXTURE_2D, name, value);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.R32F, width, height);
    return this.#memory(texture, width, height, length);
  }

  #memory(texture: WebGLTexture, width: number, height: number, length: number): TextureMemory {
    const handle = new this.#library.Texture({
      texture, size: [width, height], dimensions: [Math.max(length, 1), 1, 1], output: [Math.max(length, 1)],
      context: this.#gl, type: 'ArrayTexture(1)', kernel: {},
    });
    return { length, texture, width, height, handle, holds: { count: 1 } };
  }

  share(memory: Memory): Memory {
    (memory as TextureMemory).holds.count++;
    return { ...memory };
  }

  async run(
    kernel: Kernel, [x, y = 1, z = 1]: Size, arrays: readonly Memory[], integers: readonly number[],
    floats: readonly number[],
  ): Promise<Memory> {
    const length = x * y * z;
    if (length === 0) return this.allocate(0);
    if (length > this.maxLength) {
      throw new DeviceError(`kernel '${kernel.name}' has ${length} results but a texture holds ${this.maxLength} here: use a shorter context or a smaller batch`);
    }
    let shortcut = this.#kernels.get(kernel.name);
    if (!shortcut) {
      shortcut = createKernel(this.#gpu, kernel, 'webgl2', { immutable: true });
      this.#kernels.set(kernel.name, shortcut);
    }
    // gpu.js makes a texture of x * y texels, however long and thin, or a square one if there are layers.
    const layers = z === 1 && Math.max(x, y) > this.#side ? 2 : z;
    shortcut.kernel.setOutput(kernel.flat ? [x] : [x, y, layers]);
    const args = arrays.map((memory) => (memory as TextureMemory).handle);
    let result: { texture: WebGLTexture; size: [number, number] };
    try {
      result = shortcut(...args, ...integers, ...floats) as typeof result;
    } catch (error) {
      this.#check(); // a lost context compiles nothing
      throw new DeviceError(`kernel '${kernel.name}' was refused by WebGL2 (${oneLine(error)}): update the graphics driver, or leave gpu out to run on the CPU`);
    }
    const built: unknown = shortcut.kernel.constructor;
    if (built !== this.#library.WebGL2Kernel) {
      throw new DeviceError(`kernel '${kernel.name}' was not built for WebGL2 though 'webgl2' was asked for: report this size, ${[x, y, z]}`);
    }
    return this.#memory(result.texture, result.size[0], result.size[1], length);
  }

  flush(): void {
    // The browser submits by itself.
  }

  copy(from: Memory, to: Memory, ranges: readonly CopyRange[]): void {
    if (ranges.length === 0) return;
    const gl = this.#gl;
    const [source, target] = [from as TextureMemory, to as TextureMemory];
    gl.disable(gl.SCISSOR_TEST); // it would clip the blit, and gpu.js leaves it on
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, this.#frames[0]);
    gl.framebufferTexture2D(gl.READ_FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, source.texture, 0);
    gl.bindFramebuffer(gl.DRAW_FRAMEBUFFER, this.#frames[1]);
    gl.framebufferTexture2D(gl.DRAW_FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, target.texture, 0);
    for (const range of ranges) {
      let done = 0;
      while (done < range.length) {
        const [a, b] = [range.from + done, range.to + done];
        const [sx, sy] = [a % source.width, Math.floor(a / source.width)];
        const [tx, ty] = [b % target.width, Math.floor(b / target.width)];
        const w = Math.min(range.length - done, source.width - sx, target.width - tx);
        const h = w === source.width && w === target.width ? Math.floor((range.length - done) / w) : 1;
        gl.blitFramebuffer(sx, sy, sx + w, sy + h, tx, ty, tx + w, ty + h, gl.COLOR_BUFFER_BIT, gl.NEAREST);
        done += w * h;
      }
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.enable(gl.SCISSOR_TEST);
  }

  async read(memory: Memory, length: number): Promise<Float32Array> {
    this.#check();
    const { texture, width } = memory as TextureMemory;
    const rows = Math.ceil(length / width);
    if (rows === 0) return new Float32Array(0);
    const gl = this.#gl;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.#frames[0]);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    const texels = new Float32Array(width * rows * 4);
    gl.readPixels(0, 0, width, rows, gl.RGBA, gl.FLOAT, texels);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    this.#check();
    return Float32Array.from({ length }, (_, n) => texels[4 * n]);
  }

  readLater(memory: Memory, length: number): LateRead<Float32Array> {
    return { now: () => this.read(memory, length) };
  }

  free(memory: Memory): void {
    const { texture, holds } = memory as TextureMemory;
    if (--holds.count === 0) this.#gl.deleteTexture(texture);
  }

  dispose(): void {
    this.#kernels.clear();
    void this.#gpu.destroy();
    for (const frame of this.#frames) this.#gl.deleteFramebuffer(frame);
    this.#gl.getExtension('WEBGL_lose_context')?.loseContext();
  }

  #check(): void {
    if (this.#gl.isContextLost()) {
      throw new DeviceLostError('the WebGL2 context was lost: create a new engine and upload again');
    }
    const error = this.#gl.getError();
    if (error !== this.#gl.NO_ERROR) {
      throw new DeviceError(`WebGL2 refused a command (error 0x${error.toString(16)}): use a shorter context or a smaller batch`);
    }
  }
}

/** The GPU in a renderer's name: 'ANGLE (Intel, Intel(R) UHD (0x9B41) Direct3D11 vs_5_0 ps_5_0, D3D11)'. */
export function rendererName(renderer: string): string {
  const parts = /^ANGLE \((.*)\)/.exec(renderer)?.[1]?.split(', ') ?? [renderer];
  // Vendor, renderer (which may have commas of its own), version.
  const name = (parts.length > 2 ? parts.slice(1, -1) : parts.slice(-1)).join(', ')
    .replace(/ ?\(0x[\da-f]+\)| vs_\d_\d| ps_\d_\d|^ANGLE Metal Renderer: /gi, '')
    .replace(/^Vulkan [\d.]+ \((.*)\)$/, '$1')
    .trim();
  return name.length < 60 ? name || 'unnamed renderer' : `${name.slice(0, 58)}…`;
}

/** An error's message on one line: the log of a shader has one per problem. */
function oneLine(error: unknown): string {
  // Some drivers end their log with a NUL.
  return (error instanceof Error ? error.message : String(error)).replace(/[\s\0]+/g, ' ').trim();
}
