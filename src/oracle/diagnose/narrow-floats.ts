/**
 * Rounding to the floats of tensor cores that formats/ does not store: TF32 and the two fp8 formats.
 * @module
 */
import { roundTo } from '../../formats/rounding.ts';

/** Rounds to the nearest number of `bits` bits, whose spacing is at least `least`. */
function nearest(
  bits: number, least: number, most: number, mode: 'even' | 'up' | 'away' | 'cut' = 'even',
): (x: number) => number {
  return (x) => {
    if (x === 0 || !Number.isFinite(x)) return x;
    const size = Math.abs(x);
    const unit = Math.max(2 ** (Math.floor(Math.log2(size)) - bits + 1), least);
    const n = size / unit;
    const down = Math.floor(n);
    if (mode === 'cut') return Math.sign(x) * Math.min(down * unit, most);
    if (mode === 'up') return Math.sign(x) * Math.min(Math.sign(x) * Math.round(Math.sign(x) * n) * unit, most);
    if (mode === 'away') return Math.sign(x) * Math.min(Math.round(n) * unit, most);
    const rounded = n - down === 0.5 ? down + down % 2 : Math.round(n);
    return Math.sign(x) * Math.min(rounded * unit, most);
  };
}

/** TF32 as an instruction that converts gives it. */
export const tf32: (x: number) => number = nearest(11, 0, Infinity);
/** TF32 as a tensor core takes it from a float32 that was not converted: cut, not rounded. */
export function tf32Cut(x: number): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(x))) - 10);
  return Math.trunc(x / unit) * unit;
}
/** fp8 e4m3, whose largest is 448 and whose subnormals are multiples of 2^-9, saturating. */
export const e4m3: (x: number) => number = nearest(4, 2 ** -9, 448);
/** fp8 e5m2, whose largest is 57344 and whose subnormals are multiples of 2^-16, saturating. */
export const e5m2: (x: number) => number = nearest(3, 2 ** -16, 57_344);
export const half = (x: number): number => roundTo(x, 'F16');
export const brain = (x: number): number => roundTo(x, 'BF16');

/** What ties of fp8 may go to, and cut. */
export const FP8: readonly (readonly [words: string, round: (x: number) => number])[] = (
  ['even', 'up', 'away', 'cut'] as const
).flatMap((mode) => [
  [`fp8 e4m3${mode === 'cut' ? ', cut' : ''}`, nearest(4, 2 ** -9, 448, mode)] as const,
  [`fp8 e5m2${mode === 'cut' ? ', cut' : ''}`, nearest(3, 2 ** -16, 57_344, mode)] as const,
]);

/** To whole numbers: to nearest, ties to even or up, or cut. */
export const whole: Readonly<Record<'even' | 'up' | 'cut', (x: number) => number>> = {
  even: (x: number): number => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)),
  up: (x: number): number => Math.floor(x + 0.5),
  cut: Math.trunc,
};
/** To `bits` bits, whatever the exponent. */
export const bitsOf = (bits: number, mode: keyof typeof whole): ((x: number) => number) => (x) => {
  if (x === 0 || !Number.isFinite(x)) return x;
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(x))) - bits + 1);
  return whole[mode](x / unit) * unit;
};

/** What an intermediate may be rounded to. */
export const FORMATS: readonly (readonly [string, (x: number) => number])[] = [
  ['float16', half], ['bfloat16', brain], ['bfloat16, cut', bitsOf(8, 'cut')], ['TF32, cut', tf32Cut], ['TF32', tf32],
  ['11 bits', bitsOf(11, 'up')], ['10 bits', bitsOf(10, 'even')], ['9 bits', bitsOf(9, 'even')],
  ['fp8 e4m3', e4m3], ['fp8 e5m2', e5m2],
];
