/**
 * Dispatches, and what is kept of those that are recorded again and again.
 * @module
 */
import type { FixedProgram, Program } from './program.ts';

/** Where a dispatch writes its parameters: the same bytes as whole and as real numbers, from word `at` on. */
export interface ParamWords {
  readonly whole: Uint32Array;
  readonly real: Float32Array;
  readonly at: number;
}

/** A dispatch: its parameters, the buffers that it reads, and then those that it writes. */
export interface Dispatch {
  readonly program: Program;
  /** The bytes of the parameters, or what writes them. */
  readonly params: ArrayBuffer | ((to: ParamWords) => void);
  readonly buffers: readonly GPUBuffer[];
  readonly groups: readonly [x: number, y: number, z: number];
  /** How much it computes, in the unit of the recorder's limits. */
  readonly work: number;
}

/** A dispatch with all that it needs, to be recorded again and again. */
export interface Repeated {
  readonly dispatch: Dispatch;
  readonly group: GPUBindGroup;
  /** Its parameters, which may be changed before each time. */
  readonly words: Uint32Array;
  /** How it is recorded if its parameters are at a place of their own. */
  readonly fixed?: { readonly program: FixedProgram; readonly group: GPUBindGroup; readonly params: FixedParams };
}

/** Parameters of dispatches that are repeated together: each has a slot. */
export interface FixedParams {
  readonly buffer: GPUBuffer;
  readonly words: Uint32Array<ArrayBuffer>;
}

/** A bind group, and what it binds. */
export interface Bound {
  readonly program: Program;
  readonly buffers: readonly GPUBuffer[];
  readonly group: GPUBindGroup;
}

/** Whether two lists of the same length hold the same buffers. */
export function areSame(a: readonly GPUBuffer[], b: readonly GPUBuffer[]): boolean {
  for (let n = 0; n < a.length; n++) if (a[n] !== b[n]) return false;
  return true;
}

/** Binds parameters and buffers. */
export const bindGroup = (
  device: GPUDevice, layout: GPUBindGroupLayout, params: GPUBufferBinding, buffers: readonly GPUBuffer[],
): GPUBindGroup => device.createBindGroup({
  layout,
  entries: [
    { binding: 0, resource: params }, ...buffers.map((buffer, n) => ({ binding: n + 1, resource: { buffer } })),
  ],
});

/** How a dispatch is recorded whose parameters are at byte `offset` of `params`. */
export function fixedOf(
  device: GPUDevice, { program, buffers }: Dispatch, params: FixedParams, offset: number,
): Pick<Repeated, 'fixed'> {
  const fixed = program.fixed?.();
  if (!fixed) return {};
  const own = { buffer: params.buffer, offset, size: program.paramBytes };
  return { fixed: { program: fixed, group: bindGroup(device, fixed.layout, own, buffers), params } };
}
