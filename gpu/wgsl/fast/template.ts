/**
 * Kernels as text: WGSL whose constants are filled in, together with what a caller must know to run it.
 * @module
 */

/** What may stand in a hole of the text: a whole number, a piece of text, or lines. */
export type Piece = number | string | readonly string[];

/** WGSL with its holes filled. Lines take the indentation of their hole; numbers must be whole. */
export function wgsl(text: TemplateStringsArray, ...pieces: readonly Piece[]): string {
  let out = text[0];
  pieces.forEach((piece, n) => {
    if (typeof piece === 'number' && !Number.isSafeInteger(piece)) throw new RangeError(`${piece} is no whole number`);
    const indent = /(?:^|\n)([ ]*)[^\n]*$/.exec(out)![1];
    const filled = Array.isArray(piece) ? piece.join('\n') : String(piece);
    out += filled.replaceAll('\n', `\n${indent}`) + text[n + 1];
  });
  return out;
}

/** The pieces for 0..count-1. */
export function each(count: number, piece: (n: number) => string): string[] {
  return Array.from({ length: count }, (_, n) => piece(n));
}

/** Types of which arrays are made, and their bytes. */
const BYTES = { f32: 4, u32: 4, i32: 4, vec2u: 8, vec2i: 8, vec2f: 8, vec4u: 16, vec4f: 16, 'atomic<u32>': 4 } as const;
export type Element = keyof typeof BYTES;

/** An array in workgroup memory, or `count` of them in an array. */
export type Local = readonly [type: Element, length: number, count?: number];

/** Features of WebGPU that some kernels need. */
export type Feature = 'shader-f16' | 'subgroups' | 'chromium-experimental-subgroup-matrix';

/** How many workgroups to dispatch. */
export type Workgroups = readonly [x: number, y: number, z: number];

/** What a kernel is made from. */
export interface KernelText<S> {
  readonly name: string;
  /** The equation, the layout of the arrays, and how the work is split; the first lines of the code. */
  readonly header: string;
  readonly features?: readonly Feature[];
  /** Numbers of the call, in the uniform buffer at binding 0 in this order, 4 bytes each. */
  readonly params: Readonly<Record<string, 'u32' | 'f32'>>;
  /** Read-only storage buffers, from binding 1 on. */
  readonly inputs: Readonly<Record<string, Element>>;
  /** Storage buffers that are written, after the inputs. */
  readonly outputs: Readonly<Record<string, Element>>;
  /** Arrays in workgroup memory. */
  readonly locals?: Readonly<Record<string, Local>>;
  /** Invocations per workgroup. */
  readonly threads: number;
  /** Declarations and functions, among them `main`. */
  readonly body: string;
  readonly workgroups: (sizes: S) => Workgroups;
}

/** A kernel that can be compiled and run on a device that has its features and limits. */
export interface FastKernel<S> {
  readonly name: string;
  /** WGSL with the entry point `main`. Group 0: the parameters at binding 0, then inputs, then outputs. */
  readonly code: string;
  readonly features: readonly Feature[];
  /** The fields of Params, in order, 4 bytes each. */
  readonly fields: readonly { readonly name: string; readonly type: 'u32' | 'f32' }[];
  /** How many arrays it reads, and how many it writes. */
  readonly inputs: number;
  readonly outputs: number;
  /** The names of these arrays, in the order of their bindings. */
  readonly arrays: readonly string[];
  readonly threads: number;
  /** Bytes of workgroup memory (limit maxComputeWorkgroupStorageSize). */
  readonly workgroupBytes: number;
  readonly workgroups: (sizes: S) => Workgroups;
}

/** Every kernel made so far, by its text. */
const made = new Map<string, unknown>();

const ENABLES: Readonly<Record<Feature, string>> = {
  'shader-f16': 'enable f16;',
  'subgroups': 'enable subgroups;\ndiagnostic(off, subgroup_uniformity);',
  'chromium-experimental-subgroup-matrix':
    'enable chromium_experimental_subgroup_matrix;\ndiagnostic(off, chromium.subgroup_matrix_uniformity);',
};

/** Puts a kernel together: header, features, bindings, workgroup memory, body. Equal texts give the same object. */
export function fastKernel<S>(text: KernelText<S>): FastKernel<S> {
  const { name, header, features = [], params, inputs, outputs, locals = {}, threads, body, workgroups } = text;
  const binding = (n: number, kind: string, label: string, type: string): string =>
    `@group(0) @binding(${n}) var<${kind}> ${label}: ${type};`;
  const reads = Object.entries(inputs);
  const written = Object.entries(outputs);
  // Features are enabled before diagnostics are set: WGSL wants directives in front, in any order.
  const directives = features.map((feature) => ENABLES[feature]);
  const lines = [
    header.trim().split('\n').map((line) => `// ${line.trim()}`.trimEnd()).join('\n'),
    ...directives,
    `struct Params { ${Object.entries(params).map(([label, type]) => `${label}: ${type}`).join(', ')} }`,
    binding(0, 'uniform', 'P', 'Params'),
    ...reads.map(([label, type], n) => binding(n + 1, 'storage, read', label, `array<${type}>`)),
    ...written.map(([label, type], n) => binding(n + 1 + reads.length, 'storage, read_write', label, `array<${type}>`)),
    ...Object.entries(locals).map(([label, [type, length, count]]) =>
      `var<workgroup> ${label}: ${count ? `array<array<${type}, ${length}>, ${count}>` : `array<${type}, ${length}>`};`),
    body.trim(),
  ];
  const code = `${lines.join('\n')}\n`;
  const known = made.get(code);
  if (known) return known as FastKernel<S>; // the same text comes from the same function
  const kernel: FastKernel<S> = {
    name, code, features, threads, workgroups,
    fields: Object.entries(params).map(([label, type]) => ({ name: label, type })),
    inputs: reads.length, outputs: written.length, arrays: [...reads, ...written].map(([label]) => label),
    workgroupBytes: Object.values(locals)
      .reduce((sum, [type, length, count = 1]) => sum + BYTES[type] * length * count, 0),
  };
  made.set(code, kernel);
  return kernel;
}

/** A 16x16x16 product as the kernels here use it: f16 factors, f32 sums. */
interface MatrixConfig {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly componentType: string;
  readonly resultComponentType: string;
}

/** What an adapter says of itself (adapter.info); that of a device lacks the products of its matrix units. */
export type AdapterInfo = Pick<GPUAdapterInfo, 'subgroupMinSize' | 'subgroupMaxSize'> & {
  readonly subgroupMatrixConfigs?: Iterable<MatrixConfig>;
};

/**
 * Whether a device can run a kernel: it has the features and the workgroup memory; subgroups, if they are used, always
 * have 32 lanes; and matrix units, if they are used, multiply 16x16x16 f16 to f32.
 */
export function runsOn(
  device: Pick<GPUDevice, 'features' | 'limits'>, info: AdapterInfo,
  kernel: Pick<FastKernel<never>, 'features' | 'threads' | 'workgroupBytes'>,
): boolean {
  const { features, limits } = device;
  const lacks = (name: Feature, has: boolean): boolean => kernel.features.includes(name) && !has;
  const product = ({ M, N, K, componentType, resultComponentType }: MatrixConfig): boolean =>
    M === 16 && N === 16 && K === 16 && componentType === 'f16' && resultComponentType === 'f32';
  return kernel.features.every((name) => features.has(name as GPUFeatureName)) &&
    kernel.threads <= limits.maxComputeInvocationsPerWorkgroup &&
    kernel.workgroupBytes <= limits.maxComputeWorkgroupStorageSize &&
    !lacks('subgroups', info.subgroupMinSize === 32 && info.subgroupMaxSize === 32) &&
    !lacks('chromium-experimental-subgroup-matrix', [...info.subgroupMatrixConfigs ?? []].some(product));
}

/** Workgroups in a row, folded so that no dimension exceeds the limit; `flat` in the kernel unfolds them. */
export function folded(count: number): Workgroups {
  const x = Math.max(1, Math.min(count, 65535));
  return [x, Math.max(1, Math.ceil(count / x)), 1];
}
