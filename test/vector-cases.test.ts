/** The cases of the small suite on every engine, judged as any other kernel is: within the budgets of its dtype. */
import { expect, it } from 'vitest';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import type { NamedTensor } from '../src/formats/named-tensor.ts';
import { OUTPUT_ORDER } from '../src/oracle/types.ts';
import { makeCase, type OracleCase, SUITES, verifyCase } from '../src/vectors.ts';
import { engineOutputs } from './support/engine-outputs.ts';
import { describeEngines, OPERATIONS } from './support/engines.ts';
import { replay } from './support/oracle-truths.ts';
import { some, THOROUGH } from './support/thorough.ts';

/** What no operation of an engine gives: the dense mask, sums of its gradient by rows, and the book of the cache. */
const NOT_GIVEN = ['mask', 'dm_rows', 'cache_closed_by', 'cache_evicted_at', 'cache_bytes'];
/** Chunks, groups, a price with noise and forced types, keys that are NaN where hidden, and steps of a cache. */
const FEW = ['one-token', 'odd-3', 'hidden-nan', 'chunk-2', 'global-adjacent', 'temperature-half', 'rule-bounded'];
const RECIPES = SUITES.small.filter(({ name }) => THOROUGH || FEW.includes(name));
/** Heads of sizes that matrix units take, for engines that use them. Inputs are exact in float16. */
const TILES = some(2, SUITES.tiles.filter(({ tokens, headDim }) => tokens <= 160 && headDim % 32 === 0));

/** The case is made once for all engines. */
const cases = new Map<string, Promise<OracleCase>>();
const caseOf = (recipe: (typeof RECIPES)[number]): Promise<OracleCase> => {
  if (!cases.has(recipe.name)) cases.set(recipe.name, makeCase(recipe));
  return cases.get(recipe.name)!;
};

/** All outputs that an engine can give for a case, with the shapes of their truths and the dtype of the engine. */
async function outputsOf(engine: TrainingEngine, each: OracleCase): Promise<Record<string, NamedTensor>> {
  const { inputs, parameters: { tokens: N, window, chunk, temperature } } = each;
  const found: Record<string, ArrayLike<number>> = await engineOutputs(engine, each);
  const up = (name: string) => engine.tensor(inputs[name].data as Float64Array, inputs[name].shape);
  const whole = (name: string) => engine.integers(inputs[name].data as Int32Array, inputs[name].shape);
  const types = inputs.types ? whole('types') : engine.tokenTypes(up('scores'), {
    temperature, ...(inputs.noise && { noise: up('noise') }), ...(inputs.forced && { forceGlobal: whole('forced') }),
  }).types;
  if (each.expected.types) found['types'] = await engine.readIntegers(types);
  found['last'] = await engine.readIntegers(engine.lifetime(types, N, { window, chunk }));
  if (each.expected.cache_live) {
    const { live, out } = await replay(engine, each);
    found['cache_live'] = live;
    found['cache_out'] = out;
  }
  const dtype = engine.precision === 'float32' ? 'F32' : 'F64';
  return Object.fromEntries(Object.entries(found).map(([name, data]): [string, NamedTensor] => {
    const { shape, data: truth, dtype: own } = each.expected[name];
    if (truth instanceof Int32Array) return [name, { data: Int32Array.from(data), shape, dtype: own } as NamedTensor];
    return [name, { data: Float64Array.from(data), shape, dtype }];
  }));
}

describeEngines('the cases of the oracle', ({ engine, precision, computes }) => {
  it.each(computes ? [...RECIPES, ...TILES] : RECIPES)('$name: every output is within its budget', async (recipe) => {
    const each = await caseOf(recipe);
    const wanted = OUTPUT_ORDER.filter((name) => each.expected[name] && !NOT_GIVEN.includes(name));
    const outputs = await outputsOf(engine(), each);
    const { tensors } = verifyCase(each, outputs, { dtype: precision === 'float64' ? 'f64' : computes ?? 'f32' });
    const given = tensors.filter(({ name }) => !NOT_GIVEN.includes(name));
    expect(given.filter(({ status }) => status !== 'pass')).toEqual([]);
    expect(given.map(({ name }) => name)).toEqual(wanted);
  });
}, OPERATIONS);
