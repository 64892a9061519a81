/**
 * The outputs of an engine for a case of the oracle.
 * @module
 */
import type { Tensor } from '../../src/core/engine.ts';
import type { TrainingEngine } from '../../src/core/training-engine.ts';
import type { OracleCase } from '../../src/oracle/types.ts';

/**
 * Every float tensor that the engine computes for a case, by the name of its truth, without dm_rows and the cache's.
 */
export async function engineOutputs(
  engine: TrainingEngine, each: OracleCase,
): Promise<Record<string, ArrayLike<number>>> {
  const { inputs, parameters: { tokens: N, window, chunk, scale, rule, temperature, price } } = each;
  const up = (name: string): Tensor => {
    const { data, shape } = inputs[name];
    return data instanceof Int32Array ? engine.integers(data, shape) : engine.tensor(data, shape);
  };
  const optional = (name: string, as: string): Record<string, Tensor> => (inputs[name] ? { [as]: up(name) } : {});
  const search = { temperature, ...optional('noise', 'noise'), ...optional('forced', 'forceGlobal') };
  const chosen = inputs.scores && engine.tokenTypes(up('scores'), search);
  const types = chosen?.types ?? up('types');
  const life = { window, chunk };
  const attending = { q: up('q'), k: up('k'), v: up('v'), last: engine.lifetime(types, N, life), scale };
  const { out, lse } = engine.attention(attending);
  const got: Record<string, ArrayLike<number>> = { out: await engine.read(out), lse: await engine.read(lse) };
  if (!inputs.dout) return got;
  const back = engine.attentionBackward({ ...attending, out, lse, dOut: up('dout'), types: { types, rule, ...life } });
  for (const name of ['dq', 'dk', 'dv'] as const) got[name] = await engine.read(back[name]);
  const triples = await engine.read(back.dTypes!);
  ['dg', 'dl', 'dw'].forEach((name, c) => (got[name] = triples.filter((_, n) => n % 3 === c)));
  if (chosen) {
    const priced = engine.addMemoryPrice(back.dTypes!, types, N, { ...life, weight: price });
    got['dscores'] = await engine.read(engine.tokenTypesBackward(priced, chosen.probabilities, search));
  }
  return got;
}
