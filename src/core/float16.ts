/**
 * Half-precision numbers: binary16 (F16) and bfloat16 (BF16) as 16-bit patterns.
 * @module
 */

const scratch = new DataView(new ArrayBuffer(8));

/** The value of a binary16 pattern. */
export function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The value of a bfloat16 pattern: the upper half of a float32. */
export function fromBfloat16(bits: number): number {
  scratch.setUint32(0, (bits << 16) >>> 0);
  return scratch.getFloat32(0);
}

/** The binary16 pattern nearest to `x`, ties to even. Numbers beyond the largest become infinity. */
export function toFloat16(x: number): number {
  return nearestPattern(x, 10, -14, 0x7c00);
}

/** The bfloat16 pattern nearest to `x`, ties to even. Numbers beyond the largest become infinity. */
export function toBfloat16(x: number): number {
  return nearestPattern(x, 7, -126, 0x7f80);
}

/** The exponent of the leading bit of a float64: `2 ** e <= |x| < 2 ** (e + 1)`; -1023 for 0 and subnormals. */
export function exponentOf(x: number): number {
  scratch.setFloat64(0, x);
  return ((scratch.getUint16(0) >> 4) & 0x7ff) - 1023;
}

/**
 * Rounds once, directly from float64. By way of float32, a number near a tie could be rounded onto the tie and then the
 * wrong way. `least` is the exponent of the smallest normal, `infinity` the pattern of +Infinity.
 */
function nearestPattern(x: number, fractionBits: number, least: number, infinity: number): number {
  if (Number.isNaN(x)) return infinity | (1 << (fractionBits - 1));
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const size = Math.abs(x);
  if (size === Infinity) return sign | infinity;
  const exponent = Math.max(exponentOf(size), least); // subnormals share the spacing of the smallest normals
  const units = roundHalfEven(size * 2 ** (fractionBits - exponent)); // scaling by powers of two is exact
  // Patterns count up continuously through subnormals, normals and infinity, so a carry is right too.
  return sign | Math.min((exponent - least) * 2 ** fractionBits + units, infinity);
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
