/**
 * Makes cases from a recipe and a seed, or from a user's own numbers.
 * @module
 */
import type { TrainingEngine } from '../../core/training-engine.ts';
import { ShapeError, ValueError } from '../../core/errors.ts';
import type { FloatTensor, IntegerTensor } from '../../formats/named-tensor.ts';
import { isVisible } from '../../core/lifetime.ts';
import { expectShape } from '../../core/shape.ts';
import { expectElements } from '../../core/tensor.ts';
import { drawInputs } from './draw.ts';
import { checkParameters, parametersOf, type Recipe } from './recipes.ts';
import { inputShapes } from './shapes.ts';
import { solve } from './solve.ts';
import type { CaseParameters, NotCompared, OracleCase, Tensors } from '../types.ts';

/**
 * Makes the case of a recipe.
 *
 * @param engine Computes the truths in float64: the reference.
 * @param seed A whole number. Recipe and seed together determine every bit.
 * @throws {ValueError} If the recipe contradicts itself or a number is out of range.
 */
export async function makeCase(engine: TrainingEngine, recipe: Recipe, seed = 0): Promise<OracleCase> {
  checkRecipe(recipe);
  const { name, why } = recipe;
  return caseOf(engine, { name, why, parameters: parametersOf(recipe), inputs: drawInputs(recipe, seed) });
}

/** @throws {ValueError} If the recipe contradicts itself or a number is out of range. */
export function checkRecipe(recipe: Recipe): void {
  const { name, poison } = recipe;
  if (!/^[a-z0-9-]+$/.test(name)) throw new ValueError(`a case is named '${name}': use only a-z, 0-9 and -, as the name becomes that of a file`);
  const parameters = parametersOf(recipe);
  checkParameters(parameters);
  if (poison && poison.positions.some((j) => !(j >= 0 && j < parameters.tokens))) {
    throw new ValueError(`poison at [${poison.positions}] of ${parameters.tokens} tokens: name positions that exist`);
  }
}

/**
 * Makes the case of any parameters and inputs.
 *
 * @param given.inputs q, k, v, and either types or scores; the rest of the inputs in types.ts is optional.
 * @throws {ShapeError} If a tensor is missing, unknown, or its shape contradicts the parameters.
 * @throws {ValueError} If a number is out of range, or if there is a dout and q, k, v or dout is not finite everywhere.
 */
export async function caseOf(
  engine: TrainingEngine, given: { name: string; why: string; parameters: CaseParameters; inputs: Tensors },
): Promise<OracleCase> {
  const { name, why, parameters, inputs } = given;
  checkParameters(parameters);
  checkInputs(parameters, inputs);
  const expected = await solve(engine, parameters, inputs);
  const skipped = notCompared(parameters, inputs, expected);
  // Processors differ in the sign bit of a computed NaN, and files must not.
  for (const [key, at] of Object.entries(skipped)) for (const n of at) expected[key].data[n] = NaN;
  return { name, why, parameters, inputs, expected, notCompared: skipped };
}

function checkInputs(parameters: CaseParameters, inputs: Tensors): void {
  const shapes: Readonly<Record<string, readonly number[]>> = inputShapes(parameters);
  for (const name of ['q', 'k', 'v']) if (!inputs[name]) throw new ShapeError(`${name} is missing: add it to the inputs`);
  if (!inputs.types === !inputs.scores) throw new ShapeError('types and scores are both given or both missing: give exactly one of them');
  for (const [name, tensor] of Object.entries(inputs)) {
    if (!Object.hasOwn(shapes, name)) throw new ShapeError(`an input is named ${name}: the names are ${Object.keys(shapes).join(', ')}`);
    expectShape(name, tensor, shapes[name], 'the parameters say so');
    expectElements(name, tensor.data, tensor.shape);
    const whole = name === 'types' || name === 'forced';
    if (!(tensor.data instanceof (whole ? Int32Array : Float64Array))) {
      throw new ValueError(`${name} is ${tensor.dtype}: it must hold ${whole ? 'integers' : 'floats'}`);
    }
  }
  const bad = ['q', 'k', 'v', 'dout'].find((name) => inputs[name] && !inputs[name].data.every(Number.isFinite));
  if (bad && inputs.dout) throw new ValueError(`${bad} is not finite everywhere, and gradients read hidden keys too: leave out dout`);
}

/** The rows that, by §2's mask, read numbers that are not finite: out, lse and cache_out may hold anything there. */
function notCompared(parameters: CaseParameters, inputs: Tensors, expected: Tensors): NotCompared {
  const { batch: B, queryHeads: H, kvHeads: G, tokens: N, headDim: d, steps } = parameters;
  const last = (expected.last as IntegerTensor).data;
  const nonFinite = (name: string): Uint8Array => {
    const { data, shape } = inputs[name] as FloatTensor;
    const rows = new Uint8Array(data.length / shape[3]);
    data.forEach((x, n) => (rows[Math.floor(n / d)] |= Number.isFinite(x) ? 0 : 1));
    return rows;
  };
  const [queries, keys, values] = [nonFinite('q'), nonFinite('k'), nonFinite('v')];
  const rows: number[] = [];
  const bad = Array.from({ length: B * G }, (_, head) =>
    Array.from({ length: N }, (_, j) => j).filter((j) => keys[head * N + j] | values[head * N + j]));
  for (let row = 0; row < B * H * N; row++) {
    const [b, h, i] = [Math.floor(row / (H * N)), Math.floor(row / N) % H, row % N];
    const head = b * G + Math.floor(h / (H / G));
    if (queries[row] || bad[head].some((j) => isVisible(i, j, last[head * N + j]))) rows.push(row);
  }
  if (rows.length === 0) return {};
  const out = rows.flatMap((row) => Array.from({ length: d }, (_, c) => row * d + c));
  return { out, lse: rows, ...(steps.length > 0 && { cache_out: out }) };
}
