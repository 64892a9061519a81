/**
 * Matrix units of a GPU in the text of a kernel: products of 16x16 parts by subgroups of 32, with factors in float16
 * and sums in float32. Where there are none, the same text can be spelled out in core WGSL: slow, but it has the same
 * numbers up to the order of sums, so that kernels can be tested on any device.
 *
 * Factors lie in arrays of vec4u, eight halves to an element; offsets and strides count elements.
 * @module
 */
import type { Feature } from './template.ts';
import { wgsl } from './template.ts';

/** How a kernel speaks of them. Names are those of variables and arrays of the kernel. */
export interface Units {
  readonly features: readonly Feature[];
  /** Declares the parameter of main that tells subgroups apart, and `sg` in its body. */
  readonly parameter: string;
  readonly begin: string;
  /** Declares a left factor, and sets it to the rows of `array` from element `at` on. */
  left(name: string): string;
  loadLeft(name: string, array: string, at: number, stride: number): string;
  /** Declares a sum, or sets it to zero. */
  sum(name: string): string;
  /** sum += left right, where column n of the right factor is a line of `array` ('columns'), or row k is ('rows'). */
  multiply(sum: string, left: string, array: string, at: number, stride: number, lines: 'rows' | 'columns'): string;
  /** Stores a sum to an array of f32, whose lines are `stride` numbers apart. */
  store(sum: string, array: string, stride: number): string;
}

const left = 'subgroup_matrix_left<f16, 16, 16>';
const right = 'subgroup_matrix_right<f16, 16, 16>';
const result = 'subgroup_matrix_result<f32, 16, 16>';

/** By the matrix units. */
export const MATRIX_UNITS: Units = {
  features: ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'],
  parameter: ', @builtin(subgroup_id) sg: u32',
  begin: `var right: ${right};`,
  left: (name) => `var ${name}: ${left};`,
  loadLeft: (name, array, at, stride) => `${name} = subgroupMatrixLoad<${left}, row_major>(&${array}, ${at}, ${stride});`,
  sum: (name) => `var ${name} = ${result}();`,
  multiply: (sum, factor, array, at, stride, lines) =>
    `right = subgroupMatrixLoad<${right}, ${lines === 'rows' ? 'row_major' : 'col_major'}>(&${array}, ${at}, ${stride}); ` +
    `${sum} = subgroupMatrixMultiplyAccumulate(${factor}, right, ${sum});`,
  store: (sum, array, stride) => `subgroupMatrixStore<row_major>(&${array}, 0, ${sum}, ${stride});`,
};

/** Spelled out: of 32 invocations, l holds row l / 2 of a left factor, and columns l % 2 * 8 to + 7 of it of a sum. */
export const SPELLED_OUT: Units = {
  features: [],
  parameter: '',
  begin: wgsl`
let sg = t / 32;
let unit_row = t % 32 / 2;
let unit_column = t % 2 * 8;`.trim(),
  left: (name) => `var ${name}: array<f32, 16>;`,
  loadLeft: (name, array, at, stride) => wgsl`
for (var k = 0u; k < 16; k++) { ${name}[k] = half_of(${array}[${at} + unit_row * ${stride} + k / 8], k % 8); }`.trim(),
  sum: (name) => `var ${name} = array<f32, 8>();`,
  multiply: (sum, factor, array, at, stride, lines) => wgsl`
for (var k = 0u; k < 16; k++) {
  for (var c = 0u; c < 8; c++) {
    let n = unit_column + c;
    ${sum}[c] += ${factor}[k] * half_of(${array}[${at} + ${lines === 'rows' ? `k * ${stride} + n / 8` : `n * ${stride} + k / 8`}], ${lines === 'rows' ? 'n' : 'k'} % 8);
  }
}`.trim(),
  store: (sum, array, stride) =>
    `for (var c = 0u; c < 8; c++) { ${array}[unit_row * ${stride} + unit_column + c] = ${sum}[c]; }`,
};

/** Functions that kernels with units need: halves of eight numbers, one of them, and whether all are finite. */
export const HALVES: string = wgsl`
fn halves(a: vec4f, b: vec4f) -> vec4u {
  return vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}
fn half_of(eight: vec4u, n: u32) -> f32 { return unpack2x16float(eight[n / 2])[n % 2]; }
// Bits that are set for halves that are NaN or infinite: 0xffff for each of them.
fn strange(eight: vec4u) -> vec4u {
  let low = select(vec4u(), vec4u(0xffff), (eight & vec4u(0x7c00)) == vec4u(0x7c00));
  let high = select(vec4u(), vec4u(0xffff0000), (eight & vec4u(0x7c000000)) == vec4u(0x7c000000));
  return low | high;
}`.trim();

