/**
 * Gumbel noise by WebAssembly, several times as fast as in JavaScript. Its arithmetic is that of IEEE 754, so it has
 * the same bits.
 * @module
 */
import { GUMBEL_MODULE } from './gumbel-module.ts';

/** What wasm/kernels/gumbel.ts exports. */
interface Program {
  readonly memory: WebAssembly.Memory;
  /** The most numbers that draw() writes, and where. */
  block(): number;
  numbers(): number;
  begin(s01: number, s00: number, s11: number, s10: number): void;
  draw(count: number): void;
  narrow(count: number): void;
}

/** Null where there is no WebAssembly, no SIMD, or a policy of the page forbids it. */
let program: Program | null | undefined;

/** Fills `noise` from the stream with this state. @returns Whether it did: not where WebAssembly is not available. */
export function fastGumbel(state: readonly number[], noise: Float64Array | Float32Array): boolean {
  program = program === undefined ? instantiated() : program;
  if (!program) return false;
  const most = program.block();
  const narrow = noise instanceof Float32Array;
  const block = new (narrow ? Float32Array : Float64Array)(program.memory.buffer, program.numbers(), most);
  const [s01, s00, s11, s10] = state;
  program.begin(s01, s00, s11, s10);
  for (let at = 0; at < noise.length; at += most) {
    const count = Math.min(most, noise.length - at);
    program.draw(count);
    if (narrow) program.narrow(count);
    noise.set(block.subarray(0, count), at);
  }
  return true;
}

function instantiated(): Program | null {
  try {
    const bytes = Uint8Array.from(atob(GUMBEL_MODULE), (letter) => letter.charCodeAt(0));
    // Small enough that browsers allow to compile it at once.
    return new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports as unknown as Program;
  } catch {
    return null;
  }
}
