/** How a GPU is found in browsers, and what it is called. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { adapterName } from '../gpu/device/adapter.ts';
import { TUNING } from '../gpu/gpujs/device.ts';
import { rendererName, WebGL2Device } from '../gpu/gpujs/webgl2.ts';
import { gpuEngine } from '../gpu/gpujs/index.ts';
import { type Library, loadLibrary } from '../gpu/gpujs/library.ts';
import { openEngine } from '../gpu/gpujs/open.ts';
import { DeviceError } from '../src/core/errors.ts';
import { expectError } from './support/expect-error.ts';

describe('in a browser', () => {
  afterEach(() => void vi.unstubAllGlobals());

  /** Simulates a page with this WebGPU adapter and this WebGL2 context. */
  function stubPage(adapter: object | null, context: object | null): void {
    vi.stubGlobal('navigator', { gpu: { requestAdapter: async () => adapter } });
    vi.stubGlobal('WebGL2RenderingContext', class {});
    vi.stubGlobal('OffscreenCanvas', class {
      getContext(): object | null {
        return context;
      }
    });
  }

  it('without any GPU, gpu: true says that neither WebGPU nor WebGL2 was found', async () => {
    stubPage(null, null);
    await expectError(() => openEngine({ gpu: true }), DeviceError, 'no GPU was found, neither by WebGPU (no GPU adapter was found) nor by WebGL2 (this browser gives no WebGL2 context): turn hardware acceleration on or update the driver, or leave gpu out to run on the CPU');
    await expectError(() => openEngine({ gpu: 'webgpu' }), DeviceError, /^no GPU adapter was found: /);
    await expectError(() => openEngine({ gpu: 'webgl2' }), DeviceError, /^this browser gives no WebGL2 context: /);
  });

  it('if an adapter gives no device, the error says why', async () => {
    const refuse = (): Promise<never> => Promise.reject(new Error('out of memory\n    at Dawn'));
    stubPage({ limits: {}, features: new Set(), requestDevice: refuse }, null);
    await expectError(() => openEngine({ gpu: 'webgpu' }), DeviceError, /^the GPU adapter gave no device \(out of memory\): update the driver, or leave --gpu out /);
    await expectError(() => openEngine({ gpu: true }), DeviceError,
      /^no GPU was found, neither by WebGPU \(the GPU adapter gave no device \(out of memory\)\) nor by WebGL2 /);
  });

  it('if WebGL2 refuses a shader, the error is one line with the name of the kernel', async () => {
    const context = new Proxy({}, {
      get: (_, name) => (name === 'getParameter' ? () => 4096 : name === 'isContextLost' ? () => false :
        name === 'getError' ? () => 0 : name === 'NO_ERROR' ? 0 : () => ({})),
    });
    stubPage(null, context);
    const real = await loadLibrary();
    const failing = {
      ...real,
      GPU: class {
        createKernel(): object {
          const refuse = (): never => {
            throw new Error('Error compiling fragment shader: ERROR: 0:7: \'x\' : syntax error\nERROR: 1 error\n\0');
          };
          return Object.assign(refuse, { kernel: { setOutput: () => {} } });
        }
      },
      Texture: class {},
    } as unknown as Library;
    const engine = gpuEngine(new WebGL2Device(failing, { poison: false, tuning: TUNING }));
    const x = engine.tensor([1], [1]);
    await expectError(() => engine.read(engine.add(x, x)), DeviceError, 'kernel \'add\' was refused by WebGL2 (Error compiling fragment shader: ERROR: 0:7: \'x\' : syntax error ERROR: 1 error): update the graphics driver, or leave gpu out to run on the CPU');
  });
});

describe('the name of a GPU', () => {
  it.each([
    [{ vendor: 'google', architecture: 'swiftshader', device: '', description: '' }, 'google, swiftshader'],
    [{ vendor: 'nvidia', architecture: 'ampere', device: 'NVIDIA A100', description: '' }, 'ampere, NVIDIA A100'],
    [{ vendor: 'apple', architecture: 'metal-3' }, 'apple, metal-3'],
    [{ vendor: 'intel', architecture: 'intel' }, 'intel'],
    [{ vendor: '65541', architecture: '', device: '0', description: 'llvmpipe (LLVM 15.0.6, 256 bits)' }, 'llvmpipe (LLVM 15.0.6, 256 bits)'],
    [{}, 'unnamed adapter'],
    [undefined, 'unnamed adapter'],
  ])('of WebGPU %#', (info, name) => void expect(adapterName(info as GPUAdapterInfo)).toBe(name));

  it.each([
    ['ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device (Subzero) (0x0000C0DE)), SwiftShader driver)', 'SwiftShader Device (Subzero)'],
    ['ANGLE (NVIDIA, NVIDIA GeForce RTX 3080 (0x00002206) Direct3D11 vs_5_0 ps_5_0, D3D11)', 'NVIDIA GeForce RTX 3080 Direct3D11'],
    ['ANGLE (Apple, ANGLE Metal Renderer: Apple M1 Pro, Unspecified Version)', 'Apple M1 Pro'],
    ['ANGLE (AMD, AMD Radeon Graphics (renoir, LLVM 15.0.7), OpenGL 4.6)', 'AMD Radeon Graphics (renoir, LLVM 15.0.7)'],
    ['ANGLE (NVIDIA GeForce GTX 980 Direct3D11 vs_5_0 ps_5_0)', 'NVIDIA GeForce GTX 980 Direct3D11'],
    ['Adreno (TM) 640', 'Adreno (TM) 640'],
    ['', 'unnamed renderer'],
    [`ANGLE (A, ${'b'.repeat(70)}, C)`, `${'b'.repeat(58)}…`],
  ])('of WebGL2 in %j', (renderer, name) => {
    expect(rendererName(renderer)).toBe(name);
    expect(name.length).toBeLessThan(60);
  });
});
