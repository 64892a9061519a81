/** compute: 'f16' on the engine of hand-written WGSL: who may have it, and kernels that no software device runs. */
import { expect, it } from 'vitest';
import { create } from 'webgpu';
import { GATHER, NARROWED } from '../gpu/wgsl/prefill-kernels.ts';
import { DeviceError, ValueError } from '../src/core/errors.ts';
import { createEngine } from '../src/engines.ts';
import { describeWebGPU } from './support/webgpu.ts';

/** Kept here because an instance must outlive its devices. */
const instance: GPU = create(['backend=null']);

it('the kernels that bring keys to float16 are valid WGSL', async () => {
  const device = await (await instance.requestAdapter())!.requestDevice();
  const gather = GATHER({
    FROM: 'vec4f', ELEMENT: 'vec4f', WIDE: 'x', NAME: 'f16', TO: 'vec2u',
    NARROW: 'vec2u(pack2x16float(x.xy), pack2x16float(x.zw))',
  });
  for (const { name, code, inputs, outputs } of [gather, NARROWED]) {
    const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
    expect(messages.map(({ lineNum, message }) => `${name}, line ${lineNum}: ${message}`)).toEqual([]);
    expect(inputs + outputs).toBeLessThanOrEqual(8); // which every device has
  }
  device.destroy();
});

it('gpu.js refuses to compute in float16, and no other name is known', async () => {
  await expect(createEngine({ gpu: 'gpujs:cpu', compute: 'f16' })).rejects.toThrow(ValueError);
  await expect(createEngine({ gpu: 'wgsl', compute: 'f64' as 'f16' })).rejects.toThrow(ValueError);
});

describeWebGPU('compute: f16', () => {
  it('is refused by name where WebGPU reaches no matrix units, and else said by the name of the engine', async () => {
    const found = await createEngine({ gpu: 'wgsl', compute: 'f16' }).catch((error: unknown) => error as Error);
    if (found instanceof Error) {
      expect(found).toBeInstanceOf(DeviceError);
      expect(found.message).toMatch(/matrix units|no GPU adapter/);
    } else {
      expect(found.name).toContain('computes float16 products of many rows by matrix units');
      found.dispose();
    }
  });

  it('is what the name of an engine says it is without: float32', async () => {
    const engine = await createEngine({ gpu: 'wgsl' });
    expect(engine.name).toMatch(/^wgsl \(.*; computes float32/);
    engine.dispose();
  });
});
