/**
 * How weights and caches are stored, and how a kernel makes float32 of them.
 * @module
 */
import type { Element } from './template.ts';

/** float32, or 16 bits each and two to a word, the earlier one in the lower half. */
export type Stored = 'f32' | 'f16' | 'bf16';

/** The type of an array that is read four elements at a time. */
export const FOUR: Readonly<Record<Stored, Element>> = { f32: 'vec4f', f16: 'vec2u', bf16: 'vec2u' };

/** An expression for four float32 from one element of such an array. */
export function four(stored: Stored, raw: string): string {
  if (stored === 'f32') return raw;
  if (stored === 'f16') return `vec4f(unpack2x16float(${raw}.x), unpack2x16float(${raw}.y))`;
  return `bitcast<vec4f>(vec4u(${raw}.x << 16, ${raw}.x & 0xffff0000, ${raw}.y << 16, ${raw}.y & 0xffff0000))`;
}

/** The type of an array that is read one element at a time. */
export const ONE: Readonly<Record<Stored, Element>> = { f32: 'f32', f16: 'u32', bf16: 'u32' };

/** An expression for element `at` of such an array as float32. */
export function one(stored: Stored, array: string, at: string): string {
  if (stored === 'f32') return `${array}[${at}]`;
  if (stored === 'f16') return `unpack2x16float(${array}[(${at}) / 2])[(${at}) % 2]`;
  return `bitcast<f32>((${array}[(${at}) / 2] >> (16 * ((${at}) % 2))) << 16)`;
}

/** Two expressions for eight float32, from a vec4u of 16-bit elements. */
export function eight(stored: 'f16' | 'bf16', raw: string): readonly [string, string] {
  return [four(stored, `${raw}.xy`), four(stored, `${raw}.zw`)];
}

/**
 * half(bits), the float16 nearest to the float32 with these bits, ties to even: 16 bits. WGSL's own conversion may
 * round either way.
 */
export const HALF = `fn half(bits: u32) -> u32 {
  let sign = (bits >> 16u) & 0x8000u;
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) { return sign | 0x7e00u; }
  if (size >= 0x47800000u) { return sign | 0x7c00u; }
  if (size >= 0x38800000u) { return sign | ((size - 0x38000000u + 0xfffu + ((size >> 13u) & 1u)) >> 13u); }
  if (size < 0x33000000u) { return sign; }
  let shift = 126u - (size >> 23u); // to multiples of 2^-24
  let whole = (size & 0x7fffffu) | 0x800000u;
  let low = whole & ((1u << shift) - 1u);
  let middle = 1u << (shift - 1u);
  let number = whole >> shift;
  return sign | (number + u32(low > middle || (low == middle && (number & 1u) == 1u)));
}`;
