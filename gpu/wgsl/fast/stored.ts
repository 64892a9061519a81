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
