#!/usr/bin/env node
/**
 * What a dispatch costs the host, apart from this package: 158 dispatches of kernels that do nothing, as many as a
 * decoded token of 22 layers took, in one pass and one submit. Variants say what it depends on.
 *
 *     npm install webgpu
 *     node bench/peers/dispatch.mjs
 */
import { create, globals } from 'webgpu';

Object.assign(globalThis, globals);
const gpu = create([]);
const adapter = await gpu.requestAdapter();
const { maxStorageBuffersPerShaderStage } = adapter.limits;
const device = await adapter.requestDevice({ requiredLimits: { maxStorageBuffersPerShaderStage } });
const [COUNT, SLOT, ROUNDS] = [158, 256, 40];
const uniform = device.createBuffer({ size: SLOT * COUNT, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
const buffers = Array.from({ length: 2 * COUNT }, () =>
  device.createBuffer({ size: 1024, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST }));
const params = new Uint8Array(SLOT * COUNT);

/** A kernel that binds so many arrays, of which it writes the last one, and does nothing. */
function kernelOf(arrays, dynamic) {
  const all = Array.from({ length: arrays }, (_, n) => n);
  const last = arrays - 1;
  const code = `struct P { a: u32, b: u32 }
@group(0) @binding(0) var<uniform> p: P;
${all.map((n) => `@group(0) @binding(${n + 1}) var<storage, ${n === last ? 'read_write' : 'read'}> a${n}: array<u32>;`).join('\n')}
@compute @workgroup_size(1) fn main() { if (p.a == 7777u) { a${last}[0] = p.b${all.slice(0, last).map((n) => ` + a${n}[0]`).join('')}; } }`;
  const visibility = GPUShaderStage.COMPUTE;
  const layout = device.createBindGroupLayout({ entries: [
    { binding: 0, visibility, buffer: { type: 'uniform', hasDynamicOffset: dynamic } },
    ...all.map((n) => ({ binding: n + 1, visibility, buffer: { type: n === last ? 'storage' : 'read-only-storage' } })),
  ] });
  const pipeline = device.createComputePipeline({
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: { module: device.createShaderModule({ code }), entryPoint: 'main' },
  });
  return { layout, pipeline };
}

async function measure(what, { arrays = 7, dynamic = true, kernels = 6, perPass = COUNT } = {}) {
  const made = Array.from({ length: kernels }, () => kernelOf(arrays, dynamic));
  const calls = Array.from({ length: COUNT }, (_, n) => {
    const { layout, pipeline } = made[n % kernels];
    const place = (k) => buffers[(2 * n + (k === arrays - 1 ? 1 : k === 0 ? 2 * COUNT - 1 : 2 * k)) % buffers.length];
    const group = device.createBindGroup({ layout, entries: [
      { binding: 0, resource: { buffer: uniform, offset: dynamic ? 0 : n * SLOT, size: 64 } },
      ...Array.from({ length: arrays }, (_, k) => ({ binding: k + 1, resource: { buffer: place(k) } })),
    ] });
    return { pipeline, group, offsets: [n * SLOT] };
  });
  const [encoding, submitting] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    const begin = performance.now();
    const encoder = device.createCommandEncoder();
    let pass = encoder.beginComputePass();
    let set;
    calls.forEach(({ pipeline, group, offsets }, n) => {
      if (n > 0 && n % perPass === 0) {
        pass.end();
        pass = encoder.beginComputePass();
        set = undefined;
      }
      if (set !== pipeline) pass.setPipeline(set = pipeline);
      if (dynamic) pass.setBindGroup(0, group, offsets);
      else pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(1, 1, 1);
    });
    pass.end();
    const commands = encoder.finish();
    device.queue.writeBuffer(uniform, 0, params);
    const encoded = performance.now();
    device.queue.submit([commands]);
    const submitted = performance.now();
    if (round >= ROUNDS / 4) {
      encoding.push(encoded - begin);
      submitting.push(submitted - encoded);
    }
    await device.queue.onSubmittedWorkDone();
  }
  const median = (all) => (1000 * [...all].sort((a, b) => a - b)[all.length >> 1]) / COUNT;
  console.log(`${what.padEnd(44)} ${median(encoding).toFixed(1)} us to record, ${median(submitting).toFixed(1)} us to submit`);
}

await measure('warm-up');
await measure('6 kernels, 7 arrays, dynamic offsets');
await measure('the same, offsets in the bind groups', { dynamic: false });
await measure('the same, one kernel', { kernels: 1 });
await measure('the same, one kernel, offsets in bind groups', { kernels: 1, dynamic: false });
await measure('the same, 3 arrays', { arrays: 3 });
await measure('the same, a pass for each dispatch', { perPass: 1 });
device.destroy();
