/**
 * Policies that hold as many bytes as learned types did on a text, to be traced beside them.
 * @module
 */
import type { Engine } from '../../core/engine.ts';
import { FOREVER } from '../../core/lifetime.ts';
import type { ModelConfig } from '../../model/config/config.ts';
import { cacheRule } from '../../model/policy.ts';
import type { Policy } from '../../policies/index.ts';
import { matchedPolicies } from '../match.ts';
import type { PolicyTrace } from './trace.ts';

/** The share of all causal pairs that the queries of all recorded heads could see. */
export function meanLiveShare({ heads, loss: { length: N } }: PolicyTrace): number {
  const all = heads.flat();
  let pairs = 0;
  for (const { last } of all) for (let j = 0; j < N; j++) pairs += (last[j] === FOREVER ? N - 1 : last[j]) - j + 1;
  return pairs / (all.length * N * (N + 1) / 2);
}

/**
 * A policy of each kind whose cache takes as many bytes as that of `traced`, in the mean over the text. Entries under a
 * budget are larger by the numbers that rank them, so such a policy holds a little fewer.
 */
export async function equalPolicies(
  traced: PolicyTrace, kinds: readonly Policy['kind'][], engine: Engine, config: ModelConfig,
): Promise<Policy[]> {
  const share = meanLiveShare(traced);
  const lengths = [traced.loss.length];
  const found: Policy[] = [];
  for (const kind of kinds) {
    const at = (meanShare: number): Policy | undefined =>
      matchedPolicies({ lengths, meanLiveShare: meanShare, endShare: meanShare }, [kind]).find(({ by }) => by === 'mean')?.policy;
    const same = at(share);
    if (!same) continue;
    const bytes = await entryBytesUnder(same, engine, config);
    found.push(at(share * traced.entryBytes / bytes) ?? same);
  }
  return found;
}

async function entryBytesUnder(policy: Policy, engine: Engine, config: ModelConfig): Promise<number> {
  const { kvHeads, headDim } = config;
  const cache = engine.createCache({ batch: 1, kvHeads, headDim, blockSize: 1, ...cacheRule(policy, config) });
  try {
    return (await cache.stats()).entryBytes;
  } finally {
    cache.dispose();
  }
}
