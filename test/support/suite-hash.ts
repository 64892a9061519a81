/**
 * The identity of the small suite, which is the same in every runtime.
 * @module
 */
import { sha256 } from '../../src/formats/sha256.ts';
import { type OracleCase, packCase } from '../../src/vectors.ts';

/** It depends on the suite and on the order in which truths are summed, but never on the machine. */
export const SMALL_SUITE_HASH = '5de0189b19c4ebb25c173d211a84ae9f936e9aa16263d36bd7a586fd23637681';
/** The same of the 61 cases that version 1 of the suite had. */
export const FIRST_SUITE_HASH = 'aaaf35ae74109c31dc1292ae742677c53db7cfe684e148b005be3703d8c5b53f';

/** The SHA-256 of the hashes of the files of `cases`, with seed 0, as safetensors. */
export async function suiteHash(cases: readonly OracleCase[]): Promise<string> {
  const heading = { suite: 'mine', seed: 0, fileFormat: 'safetensors', dtype: 'f64' } as const;
  const packed = await Promise.all(cases.map((each) => packCase(each, heading)));
  return sha256(new TextEncoder().encode(packed.map(({ entry }) => `${entry.sha256}\n`).join('')));
}
