/**
 * Test vectors for attention kernels written elsewhere, and verdicts on the outputs of such kernels: the subpath
 * `neural-attention-search/vectors`. Everything is plain objects and bytes, and runs in Node, Deno and browsers.
 * @module neural-attention-search/vectors
 */
import { optional, wholeFrom } from './core/arguments.ts';
import type { Engine } from './core/engine.ts';
import { expectEngine } from './core/expect-engine.ts';
import { anything, expectFields, expectKnown } from './core/known-options.ts';
import { requireTraining, type TrainingEngine } from './core/training-engine.ts';
import { createEngine } from './engines.ts';
import { diagnose } from './oracle/diagnose/diagnose.ts';
import { expectCase, expectGiven, expectRecipe, expectTensors, expectVerify } from './oracle/cases/expected.ts';
import { caseOf as solveCase, makeCase as drawCase } from './oracle/cases/make-case.ts';
import { SUITES } from './oracle/cases/suites.ts';
import type { Recipe } from './oracle/cases/recipes.ts';
import type { CaseParameters, CaseReport, OracleCase, Tensors } from './oracle/types.ts';
import { verifyCase as judge, type VerifyOptions } from './oracle/judge/verify.ts';

/** Options for making cases. */
export interface CaseOptions {
  /** A whole number that seeds the draws. Default: 0. */
  readonly seed?: number;
  /**
   * Computes the truths, including gradients, so it must be able to train. You still have to dispose of it yourself.
   * Default: the float64 reference.
   */
  readonly engine?: Engine;
}

/**
 * Makes a case: inputs drawn by a seed, and what the algorithm computes from them in float64.
 *
 * @param recipe The sizes and hints. {@link SUITES} has those of the suites.
 * @returns The case, as plain objects.
 * @throws {ValueError} If the recipe contradicts itself or a number is out of range.
 * @example
 * ```ts
 * import { makeCase } from 'neural-attention-search/vectors';
 * const { inputs, expected } = await makeCase({
 *   name: 'mine', why: 'GLOBAL closes LOCAL', queryHeads: 2, kvHeads: 1, tokens: 5, headDim: 4, window: 1,
 *   types: { pattern: ['GLWGW'] },
 * });
 * console.log(inputs.q!.shape, expected.last!.data); // [1,2,5,4] [2147483647,3,3,2147483647,5]
 * ```
 */
export async function makeCase(recipe: Recipe, options: CaseOptions = {}): Promise<OracleCase> {
  expectRecipe('recipe', recipe);
  expectFields('makeCase()', 'options', options, { seed: optional(wholeFrom(0)), engine: anything });
  return withEngine(options, (engine) => drawCase(engine, recipe, options.seed));
}

/**
 * Makes the case of your own parameters and inputs.
 *
 * @param given.inputs q, k, v, and either types or scores; also dout for gradients. Floats are in Float64Arrays,
 *   integers in Int32Arrays, with shapes as in docs/vectors.md.
 * @returns The case, as plain objects.
 * @throws {ShapeError} If a tensor is missing, unknown, or its shape contradicts the parameters.
 * @throws {ValueError} If a number is out of range, or if there is a dout and q, k, v or dout is not finite everywhere.
 * @example
 * ```ts
 * import { caseOf } from 'neural-attention-search/vectors';
 * const reals = (...data: number[]) => ({ dtype: 'F64', shape: [1, 1, 2, 1], data: Float64Array.from(data) }) as const;
 * const { expected } = await caseOf({
 *   name: 'mine', why: 'from my model',
 *   parameters: {
 *     batch: 1, queryHeads: 1, kvHeads: 1, tokens: 2, headDim: 1, window: 0, chunk: 1, scale: 1, rule: 'bounded',
 *     temperature: 1, price: 0, steps: [],
 *   },
 *   inputs: {
 *     q: reals(0, 0), k: reals(1, 2), v: reals(3, 5),
 *     types: { dtype: 'I32', shape: [1, 1, 2], data: Int32Array.of(0, 0) },
 *   },
 * });
 * console.log(expected.out!.data); // [3,4]
 * ```
 */
export async function caseOf(
  given: { name: string; why: string; parameters: CaseParameters; inputs: Tensors },
  options: Pick<CaseOptions, 'engine'> = {},
): Promise<OracleCase> {
  expectGiven('given', given);
  expectFields('caseOf()', 'options', options, { engine: anything });
  return withEngine(options, (engine) => solveCase(engine, given));
}

/**
 * Makes the cases of the small suite, which `natsearch vectors` writes: about 4 MB in a second.
 *
 * @returns Every case, in the suite's order.
 * @example
 * ```ts
 * import { smallSuite } from 'neural-attention-search/vectors';
 * const [first] = await smallSuite();
 * console.log(first!.name, first!.parameters.tokens); // one-token 1
 * ```
 */
export async function smallSuite(options: CaseOptions = {}): Promise<OracleCase[]> {
  expectFields('smallSuite()', 'options', options, { seed: optional(wholeFrom(0)), engine: anything });
  return withEngine(options, async (engine) => {
    const cases: OracleCase[] = [];
    for (const recipe of SUITES.small) cases.push(await drawCase(engine, recipe, options.seed));
    return cases;
  });
}

/**
 * Judges the outputs of a kernel for a case. NaN, wrong shapes and missing tensors never pass.
 *
 * @param oracleCase With its truths.
 * @param outputs By the names of docs/vectors.md, in any dtype; further ones are ignored.
 * @param options.dtype The arithmetic that the outputs claim, which sets the budgets: f64, f32, f16 or bf16.
 * @param options.products What P and dS are rounded to before products, if coarser: tf32, e4m3 or e5m2.
 * @param options.tensors The names or groups of the outputs to check. Default: all.
 * @returns A report per tensor, whether all pass, and if not, where they first go wrong and what mistake that looks
 * like.
 * @throws {ValueError} If `tensors` holds a name that is no output, or the case has no truths.
 * @example
 * ```ts
 * import { makeCase, SUITES, verifyCase } from 'neural-attention-search/vectors';
 * const each = await makeCase(SUITES.small.find(({ name }) => name === 'tile-63')!);
 * const { out, lse } = each.expected;
 * console.log(verifyCase(each, { out: out!, lse: lse! }, { tensors: ['forward'] }).pass); // true
 * const doubled = { ...lse!, data: lse!.data.map((x) => 2 * x) } as typeof lse;
 * const { pass, tensors } = verifyCase(each, { out: out!, lse: doubled! }, { tensors: ['forward'] });
 * console.log(pass, tensors.find(({ name }) => name === 'lse')!.status); // false fail
 * ```
 */
export function verifyCase(oracleCase: OracleCase, outputs: Tensors, options: VerifyOptions = {}): CaseReport {
  expectCase('the case', oracleCase);
  expectTensors('outputs', outputs);
  expectVerify('options', options);
  expectKnown('verifyCase()', options, ['dtype', 'products', 'tensors', 'diagnose']);
  return judge(oracleCase, outputs, { diagnose, ...options });
}

async function withEngine<T>({ engine }: CaseOptions, use: (engine: TrainingEngine) => Promise<T>): Promise<T> {
  optional(expectEngine)('engine', engine);
  if (engine) return use(requireTraining(engine));
  const own = createEngine();
  try {
    return await use(own);
  } finally {
    own.dispose();
  }
}

export { SUITES, type SuiteName } from './oracle/cases/suites.ts';
export type { GivenTypes, Logits, Poison, Recipe, ScoredTypes } from './oracle/cases/recipes.ts';
export {
  type CaseEntry, type FileFormat, formatManifest, type Heading, type Manifest, MANIFEST_FILE, MANIFEST_VERSION,
  readManifest, SUITE_VERSION, type TensorEntry,
} from './oracle/cases/manifest.ts';
export { openVectors, packCase, type Vectors } from './oracle/cases/vector-files.ts';
export type { Diagnose, VerifyOptions } from './oracle/judge/verify.ts';
export { type Verdict, verdictsOf } from './oracle/judge/verdict.ts';
export { DIAGNOSES, type DiagnosisName } from './oracle/diagnose/diagnoses.ts';
export type {
  CaseParameters, CaseReport, ClaimedDtype, Diagnosis, Divergence, ErrorMap, NotCompared, OracleCase, OutputName,
  Products, TensorReport, Tensors,
} from './oracle/types.ts';
export type { FloatDtype, FloatTensor, IntegerDtype, IntegerTensor, NamedTensor } from './formats/named-tensor.ts';
