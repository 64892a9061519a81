/**
 * The shape of tiles of attention, and how they are loaded.
 * @module
 */
import { DeviceError } from '../../src/core/errors.ts';
import type { SlotDtype } from './cache-kernels.ts';
import type { WgslDevice } from './device.ts';

/** The constants of the kernels that work on tiles. */
export type TileConstant = 'ROWS' | 'LANES' | 'KEYS' | 'VECTORS' | 'ELEMENT' | 'LOADS';
/** Their names. */
export const TILE: readonly TileConstant[] = ['ROWS', 'LANES', 'KEYS', 'VECTORS', 'ELEMENT', 'LOADS'];

/** ROWS rows, each shared by LANES threads, and KEYS rows in workgroup memory, of VECTORS times four columns. */
export interface Tile extends Record<TileConstant, number | string> {
  readonly ROWS: number;
  readonly LANES: number;
  readonly KEYS: number;
  readonly VECTORS: number;
  /** The type of an element of q, k, v and dOut. */
  readonly ELEMENT: 'vec4f' | 'f32';
  /** The same of k and v, if they are stored in another dtype. */
  readonly HELD: 'vec4f' | 'f32' | 'vec2u' | 'u32';
  /** WGSL of fourOfQuery(row, column) and the like, which read four columns from `column` on, zeros beyond the last. */
  readonly LOADS: string;
}

/** Vectors of a tile that fit in 8 KiB. */
const VECTORS_HELD = 512;

/**
 * The tile for heads of size d.
 *
 * @param stored The dtype of keys and values.
 * @param held Tiles of KEYS rows that a kernel has in workgroup memory. The two of a backward are q, do or k, v.
 */
export function tileOf(device: WgslDevice, d: number, held: 1 | 2, stored: SlotDtype = 'f32'): Tile {
  const LANES = device.width === 4 ? 1 : 4;
  const ROWS = device.width / LANES;
  const VECTORS = Math.max(4, 2 ** Math.ceil(Math.log2(Math.ceil(d / 4))));
  if (VECTORS > VECTORS_HELD) throw new DeviceError(`heads of size ${d} are too long for the attention of this engine: at most ${VECTORS_HELD * 4}`);
  const arrays = held === 1 ? { Query: 'q', Key: 'k', Value: 'v' } : { Query: 'q', Key: 'k', Value: 'v', Cotangent: 'dOut' };
  const four = d % 4 === 0;
  const half = stored === 'f16';
  return {
    ROWS, LANES, VECTORS, KEYS: Math.max(1, Math.min(16 / held, VECTORS_HELD / held / VECTORS)),
    ELEMENT: four ? 'vec4f' : 'f32',
    HELD: half ? (four ? 'vec2u' : 'u32') : four ? 'vec4f' : 'f32',
    LOADS: Object.entries(arrays).map(([name, array]) => {
      const narrow = half && (array === 'k' || array === 'v');
      return (four ? whole : single)(name, array, narrow);
    }).join('\n'),
  };
}

const whole = (name: string, array: string, narrow: boolean): string => `fn fourOf${name}(row: u32, column: u32) -> vec4f {
  if (column >= p.d) { return vec4f(); }
  let raw = ${array}[(row * p.d + column) / 4u];
  return ${narrow ? 'vec4f(unpack2x16float(raw.x), unpack2x16float(raw.y))' : 'raw'};
}`;

const single = (name: string, array: string, narrow: boolean): string => `fn fourOf${name}(row: u32, column: u32) -> vec4f {
  var x = vec4f();
  for (var n = 0u; n < 4u; n++) { if (column + n < p.d) { x[n] = ${narrow ? `unpack2x16float(${array}[row * ((p.d + 1u) / 2u) + (column + n) / 2u])[(column + n) % 2u]` : `${array}[row * p.d + column + n]`}; } }
  return x;
}`;

/** One of the dispatches of a call: the blocks of rows before it, its workgroups, and its share of the work. */
export interface Blocks {
  readonly skipped: number;
  readonly groups: readonly [x: number, y: number];
  readonly work: number;
}

/** Cuts a call of `count` blocks of rows for each of `heads` heads so that no dispatch takes very long. */
export function blocks(device: WgslDevice, count: number, heads: number, work: number): readonly Blocks[] {
  const step = Math.max(1, Math.floor((count * device.dispatchWork) / Math.max(work, 1)));
  return Array.from({ length: Math.ceil(count / step) }, (_, n) => {
    const x = Math.min(step, count - n * step);
    return { skipped: n * step, groups: [x, heads], work: (work * x) / count };
  });
}
