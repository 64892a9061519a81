/**
 * Rung 5: rung 3's online softmax on a GPU, one thread per query, in WGSL.
 * @module
 */
import type { Head } from './head.ts';

const code = (d: number): string => `
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> last: array<i32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= arrayLength(&last)) { return; }
  var o: array<f32, ${d}>;
  var m = -3e38;
  var Z = 0.0;
  for (var j = 0u; j <= i; j++) {
    if (i32(i) > last[j]) { continue; } // hidden: neither k nor v is read
    var s = 0.0;
    for (var c = 0u; c < ${d}u; c++) { s += q[i * ${d}u + c] * k[j * ${d}u + c]; }
    s /= sqrt(f32(${d}));
    let most = max(m, s);
    let old = exp(m - most);
    let e = exp(s - most);
    Z = Z * old + e;
    for (var c = 0u; c < ${d}u; c++) { o[c] = o[c] * old + e * v[j * ${d}u + c]; }
    m = most;
  }
  for (var c = 0u; c < ${d}u; c++) { out[i * ${d}u + c] = o[c] / Z; }
}`;

/** Makes a function that runs the kernel for heads of size d on a device. */
export function onDevice(device: GPUDevice, d: number): (head: Head) => Promise<Float32Array> {
  const module = device.createShaderModule({ code: code(d) });
  const pipeline = device.createComputePipeline({ layout: 'auto', compute: { module } });
  return async ({ N, q, k, v, last }) => {
    const bytes = 4 * N * d;
    const inputs = [q, k, v, last].map((data) => {
      const buffer = device.createBuffer({ size: data.byteLength, usage: 0x80 | 0x8 }); // storage, copied to
      device.queue.writeBuffer(buffer, 0, data);
      return buffer;
    });
    const out = device.createBuffer({ size: bytes, usage: 0x80 | 0x4 }); // storage, copied from
    const read = device.createBuffer({ size: bytes, usage: 0x1 | 0x8 }); // mapped to be read, copied to
    const entries = [...inputs, out].map((buffer, binding) => ({ binding, resource: { buffer } }));
    const commands = device.createCommandEncoder();
    const pass = commands.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(Math.ceil(N / 64));
    pass.end();
    commands.copyBufferToBuffer(out, 0, read, 0, bytes);
    device.queue.submit([commands.finish()]);
    await read.mapAsync(1);
    const result = new Float32Array(read.getMappedRange().slice(0));
    for (const buffer of [...inputs, out, read]) buffer.destroy();
    return result;
  };
}
