/**
 * §5: the derivatives of the relaxed mask, a tile of query rows at a time.
 * @module
 */
import type { LifetimeOptions } from '../../src/core/lifetime.ts';
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';
import { NO_WINDOW } from './lifetime.ts';

/** What §5 and §7 need to know about the types of every KV head. */
export interface TypePlan {
  readonly types: Memory;
  /** e(c) [BG,Nc]: the last token of the first GLOBAL chunk after c, or end(c) + localWindow, at most N-1. */
  readonly closing: Memory;
  /** The last GLOBAL chunk before c, or -1, [BG,Nc]. */
  readonly previous: Memory;
  readonly BG: number;
  readonly N: number;
  readonly chunks: number;
  readonly chunk: number;
  readonly window: number;
  /** Whether GLOBAL chunks close LOCAL ones, as they do without a second window. */
  readonly closes: boolean;
}

/** The types that count: a last chunk that is not full is GLOBAL. */
const SETTLED = kernel('settled types', 'types | n chunks C', `
  if ((this.thread.x + 1) * C > n) {
    return 0;
  }
  return types[this.thread.y * chunks + this.thread.x];`);

const CLOSING = kernel('closing', 'types | n chunks C | local', `
  let end = n - 1;
  let open = 1;
  if (local >= 0) {
    end = this.thread.x * C + C - 1 + local;
    open = 0;
  }
  for (let t = 1; t < chunks; t++) {
    if (open > 0 && this.thread.x + t < chunks) {
      if (types[this.thread.y * chunks + this.thread.x + t] === 0) {
        end = (this.thread.x + t + 1) * C - 1;
        open = 0;
      }
    } else {
      break;
    }
  }
  if (end > n - 1) {
    end = n - 1;
  }
  return end;`);

const PREVIOUS = kernel('previous GLOBAL', 'types | chunks', `
  let previous = -1;
  for (let t = 1; t < chunks; t++) {
    if (previous < 0 && t <= this.thread.x) {
      if (types[this.thread.y * chunks + this.thread.x - t] === 0) {
        previous = this.thread.x - t;
      }
    } else {
      break;
    }
  }
  return previous;`);

/** Works out the plan of the types [BG,Nc] of N tokens. */
export async function planTypes(
  scope: Scope, raw: Memory, BG: number, N: number, options: LifetimeOptions,
): Promise<TypePlan> {
  const { window, localWindow = NO_WINDOW, chunk } = options;
  const chunks = Math.ceil(N / chunk);
  const types = await scope.run(SETTLED, [chunks, BG], [raw], [N, chunks, chunk]);
  return {
    types, BG, N, chunks, chunk, window, closes: options.localWindow === undefined,
    closing: await scope.run(CLOSING, [chunks, BG], [types], [N, chunks, chunk], [localWindow]),
    previous: await scope.run(PREVIOUS, [chunks, BG], [types], [chunks]),
  };
}

/** X[c,r]: the sum of row r of dM over the tokens of chunk c, those after the query left out. */
const CHUNK_SUMS = kernel('chunk sums', 'dM | rows keys first C', `
  let sum = 0;
  for (let t = 0; t < C; t++) {
    if (this.thread.y * C + t <= first + this.thread.x) {
      sum += dM[(this.thread.z * keys + this.thread.y * C + t) * rows + this.thread.x];
    }
  }
  return sum;`);

/** Chunks per block, whose LOCAL sums are added up in advance. */
const BLOCK = 64;

const LOCAL_BLOCKS = kernel('sums of LOCAL chunks', 'x types | rows seen chunks', `
  let sum = 0;
  for (let t = 0; t < ${BLOCK}; t++) {
    if (this.thread.y * ${BLOCK} + t < seen) {
      if (types[this.thread.z * chunks + this.thread.y * ${BLOCK} + t] === 1) {
        sum += x[(this.thread.z * seen + this.thread.y * ${BLOCK} + t) * rows + this.thread.x];
      }
    }
  }
  return sum;`);

/**
 * What making chunk c GLOBAL would hide from row i: X summed over the LOCAL chunks since the last GLOBAL before
 * c, if c lies strictly before i's chunk and i <= e(c).
 */
const HIDDEN = kernel('hidden by a GLOBAL', 'x blocks types closing previous | rows seen chunks first C', `
  const i = first + this.thread.x;
  const c = this.thread.y;
  const end = closing[this.thread.z * chunks + c];
  let sum = 0;
  if (c < Math.floor((i + 0.5) / C) && i <= end) {
    const start = previous[this.thread.z * chunks + c] + 1;
    const whole = Math.floor((start + ${BLOCK} - 1 + 0.5) / ${BLOCK});
    const full = Math.floor((c + 0.5) / ${BLOCK});
    let from = start;
    if (whole <= full) {
      from = full * ${BLOCK};
      for (let n = 0; n < full - whole; n++) {
        sum += blocks[at(at(this.thread.z, Math.floor((seen + ${BLOCK} - 0.5) / ${BLOCK}), whole + n), rows, this.thread.x)];
      }
      for (let t = 0; t < whole * ${BLOCK} - start; t++) {
        if (types[at(this.thread.z, chunks, start + t)] === 1) {
          sum += x[at(at(this.thread.z, seen, start + t), rows, this.thread.x)];
        }
      }
    }
    for (let u = 0; u < c - from; u++) {
      if (types[at(this.thread.z, chunks, from + u)] === 1) {
        sum += x[at(at(this.thread.z, seen, from + u), rows, this.thread.x)];
      }
    }
  }
  return sum;`);

/** Adds what rows first..first+rows-1 contribute to (dg, dl, dw) of chunk c. A GLOBAL hides nothing if closes = 0. */
const GATHER = kernel('type gradient', 'before x hidden closing | rows seen chunks first C closes | window', `
  const c = this.thread.y;
  let sum = before[(this.thread.z * chunks + this.thread.y) * 3 + this.thread.x];
  if (c < seen) {
    const end = closing[this.thread.z * chunks + c];
    for (let r = 0; r < rows; r++) {
      const i = first + r;
      const value = x[(this.thread.z * seen + this.thread.y) * rows + r];
      if (this.thread.x === 0) {
        let ended = 0;
        if (closes > 0) {
          ended = hidden[(this.thread.z * seen + this.thread.y) * rows + r];
        }
        sum += value - ended;
      }
      if (this.thread.x === 1 && i <= end) {
        sum += value;
      }
      if (this.thread.x === 2 && i <= c * C + C - 1 + window) {
        sum += value;
      }
    }
  }
  return sum;`);

/**
 * dTypes + the contribution of a tile of dM [BG,keys,rows] whose row r is query first + r, for
 * keys = first + rows.
 */
export async function addTypeGradient(
  scope: Scope, plan: TypePlan, dTypes: Memory, dM: Memory, first: number, rows: number,
): Promise<Memory> {
  const { BG, chunk, chunks, closes, closing, window } = plan;
  const keys = first + rows;
  const seen = Math.ceil(keys / chunk);
  const x = await scope.run(CHUNK_SUMS, [rows, seen, BG], [dM], [rows, keys, first, chunk]);
  const hidden = closes ? await hiddenByGlobals(scope, plan, x, first, rows, seen) : x; // where it is not read
  const next = await scope.run(
    GATHER, [3, chunks, BG], [dTypes, x, hidden, closing], [rows, seen, chunks, first, chunk, closes ? 1 : 0], [window],
  );
  scope.free(x, dTypes);
  if (closes) scope.free(hidden);
  return next;
}

async function hiddenByGlobals(
  scope: Scope, { BG, chunk, chunks, closing, previous, types }: TypePlan, x: Memory, first: number, rows: number,
  seen: number,
): Promise<Memory> {
  const blocks = await scope.run(
    LOCAL_BLOCKS, [rows, Math.ceil(seen / BLOCK), BG], [x, types], [rows, seen, chunks],
  );
  const hidden = await scope.run(
    HIDDEN, [rows, seen, BG], [x, blocks, types, closing, previous], [rows, seen, chunks, first, chunk],
  );
  scope.free(blocks);
  return hidden;
}
