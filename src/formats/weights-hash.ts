/**
 * A hash of a model's weights, computed while they are read. The digest of a tensor is the SHA-256 over the SHA-256 of
 * each block of 2^20 elements, as little-endian float32. It therefore depends neither on shards nor on the dtype in
 * which the numbers are stored.
 * @module
 */
import type { FloatArray } from '../core/tensor.ts';
import { byName } from './named-tensor.ts';
import { hexadecimal, sha256, sha256Bytes } from './sha256.ts';

/** The number of elements of a block. */
export const BLOCK: number = 1 << 20;
/** How many blocks may wait for their hash, each as a copy of 4 MiB. */
const WAITING = 4;

/** Hashes one tensor block by block, on other threads. */
export class TensorDigest {
  readonly #blocks: Promise<Uint8Array>[] = [];

  /** Adds the next block of BLOCK elements; only the last may have fewer. It is copied at once. */
  async add(values: FloatArray): Promise<void> {
    const { buffer } = new Float32Array(values); // a copy, as WebCrypto refuses shared memory
    this.#blocks.push(sha256Bytes(new Uint8Array(buffer)));
    await this.#blocks[this.#blocks.length - WAITING];
  }

  /** The digest of the tensor, in hexadecimal. */
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

/** The SHA-256 of all weights, in hexadecimal, made from their digests in the order of their names. */
export function weightsHash(digests: ReadonlyMap<string, string>): Promise<string> {
  const lines = [...digests].sort(byName).map(([name, digest]) => `${digest} ${name}\n`);
  return sha256(new TextEncoder().encode(lines.join('')));
}
