/** Every variant of the fast kernels, checked by Dawn without a GPU: its backend `null` compiles and runs nothing. */
import { expect, it } from 'vitest';
import { create } from 'webgpu';
import { matrixTile, prefillMatrix, runsOn } from '../gpu/wgsl/fast/index.ts';
import { fastVariants } from './support/fast-variants.ts';
import { some } from './support/thorough.ts';

/** Kept here because an instance must outlive its devices. */
const instance: GPU = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);
const variants = some(120, fastVariants());

it('every variant of a fast kernel is valid WGSL, and binds at most the 8 arrays that every device has, or 12 to append', async () => {
  const adapter = await instance.requestAdapter();
  const features = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'] as GPUFeatureName[];
  const device = await adapter!.requestDevice({ requiredFeatures: features });
  const faults = await Promise.all(variants.map(async ({ name, code }) => {
    const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
    return messages.map(({ lineNum, message }) => `${name}, line ${lineNum}: ${message}`);
  }));
  device.destroy();
  expect(faults.flat()).toEqual([]);
  expect(variants.length).toBeGreaterThanOrEqual(120);
  for (const { name, inputs, outputs, arrays, code } of variants) {
    // Those that write a cache's states are used where a device has arrays enough.
    expect(inputs + outputs, name).toBeLessThanOrEqual(arrays.includes('states') ? 12 : 8);
    expect(arrays.length, name).toBe(inputs + outputs);
    expect(code.split('\n', 1)[0], name).toMatch(/^\/\/ .+ = /); // the equation comes first
    expect(code.split('var<storage').length - 1, name).toBe(inputs + outputs);
  }
});

it('kernels that exceed 16 KiB of workgroup memory or 256 invocations say so', () => {
  for (const { name, code, workgroupBytes, threads } of variants) {
    const declared = [...code.matchAll(/var<workgroup> \w+: (?:array<)?array<([\w<>]+), (\d+)>(?:, (\d+)>)?;/g)]
      .reduce((sum, [, type, length, count = '1']) => sum + Number(length) * Number(count) * 4 * Number(/^vec(\d)/.exec(type)?.[1] ?? 1), 0);
    expect(workgroupBytes, name).toBe(declared);
    expect(code, name).toContain(`@workgroup_size(${threads})`);
  }
});

it('a kernel runs only where its features, limits, subgroups and matrix products are', () => {
  const kernel = prefillMatrix({ group: 4, d: 128, queries: 'f16' });
  const limits = { maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupStorageSize: kernel.workgroupBytes };
  const product = { M: 16, N: 16, K: 16, componentType: 'f16', resultComponentType: 'f32' };
  const device = { features: new Set(kernel.features), limits } as unknown as GPUDevice;
  const info = { subgroupMinSize: 32, subgroupMaxSize: 32, subgroupMatrixConfigs: [product] };
  expect(runsOn(device, info, kernel)).toBe(true);
  expect(runsOn(device, { ...info, subgroupMatrixConfigs: [{ ...product, resultComponentType: 'f16' }] }, kernel)).toBe(false);
  expect(runsOn(device, { subgroupMinSize: 32, subgroupMaxSize: 32 }, kernel)).toBe(false);
  expect(runsOn(device, { ...info, subgroupMinSize: 16 }, kernel)).toBe(false);
  const small = { ...limits, maxComputeWorkgroupStorageSize: kernel.workgroupBytes - 1 };
  expect(runsOn({ ...device, limits: small } as unknown as GPUDevice, info, kernel)).toBe(false);
  expect(runsOn({ features: new Set(), limits } as unknown as GPUDevice, info, kernel)).toBe(false);
});

it('the tile of a product fills the GPU', () => {
  expect(matrixTile({ R: 4096, M: 4096 })).toEqual([128, 128]);
  expect(matrixTile({ R: 32, M: 2048 })).toEqual([64, 64]);
});
