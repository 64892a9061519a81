/**
 * A hash of a model's weights, made while they are read. Each tensor counts as float32 numbers, little-endian, in
 * blocks of 2^20: SHA-256 over the SHA-256 of each block. So neither shards matter, nor which dtype holds the numbers.
 * @module
 */
import type { FloatArray } from '../core/tensor.ts';
import { byName } from './named-tensor.ts';
import { hexadecimal, sha256, sha256Bytes } from './sha256.ts';

/** Elements of a block. */
export const BLOCK: number = 1 << 20;
/** Blocks that wait for their hash, each a copy of 4 MiB. */
const WAITING = 4;

/** Hashes one tensor, block by block; other threads do the work. */
export class TensorDigest {
  readonly #blocks: Promise<Uint8Array>[] = [];

  /** The next block: BLOCK elements, fewer only at the end. It is copied at once. */
  async add(values: FloatArray): Promise<void> {
    const { buffer } = new Float32Array(values); // never on shared memory, which WebCrypto refuses
    this.#blocks.push(sha256Bytes(new Uint8Array(buffer)));
    await this.#blocks[this.#blocks.length - WAITING];
  }

  /** In hexadecimal. */
  async end(): Promise<string> {
    const parts = await Promise.all(this.#blocks);
    const all = new Uint8Array(32 * parts.length);
    parts.forEach((part, n) => all.set(part, 32 * n));
    return hexadecimal(await sha256Bytes(all));
  }
}

/** The digest of a tensor that is in memory. */
export async function tensorDigest(data: FloatArray): Promise<string> {
  const digest = new TensorDigest();
  for (let at = 0; at < data.length; at += BLOCK) await digest.add(data.subarray(at, at + BLOCK));
  return digest.end();
}

/** SHA-256, in hexadecimal, of all weights: of their digests by name, in the order of the names. */
export function weightsHash(digests: ReadonlyMap<string, string>): Promise<string> {
  const lines = [...digests].sort(byName).map(([name, digest]) => `${digest} ${name}\n`);
  return sha256(new TextEncoder().encode(lines.join('')));
}
