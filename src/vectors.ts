/**
 * Test vectors for attention kernels written elsewhere, and the verdict on what such a kernel gives: the subpath
 * `neural-attention-search/vectors`. Everything is plain objects and bytes, in Node, Deno and browsers.
 * @module neural-attention-search/vectors
 */
import { of, optional, record, wholeFrom } from './core/arguments.ts';
import type { Engine } from './core/engine.ts';
import { requireTraining, type TrainingEngine } from './core/training-engine.ts';
import { createEngine } from './engines.ts';
import { diagnose } from './oracle/diagnose/diagnose.ts';
import { expectCase, expectGiven, expectRecipe, expectTensors, expectVerify } from './oracle/cases/expected.ts';
import { caseOf as solveCase, makeCase as drawCase } from './oracle/cases/make-case.ts';
import { SUITES } from './oracle/cases/suites.ts';
import type { Recipe } from './oracle/cases/recipes.ts';
import type { CaseParameters, CaseReport, OracleCase, Tensors } from './oracle/types.ts';
import { verifyCase as judge, type VerifyOptions } from './oracle/judge/verify.ts';

/** How cases are made. */
export interface CaseOptions {
  /** A whole number that names the draws (default 0). */
  readonly seed?: number;
  /** Computes the truths, gradients among them: one that trains (default: the float64 reference). Yours to dispose. */
  readonly engine?: Engine;
}

/**
 * Makes a case: inputs drawn from the seed, and what the algorithm makes of them in float64.
 *
 * @param recipe Its sizes and hints; those of the suites are in {@link SUITES}.
 * @returns The case, as plain objects.
 * @throws {ValueError} If the recipe asks for what cannot be.
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
  record({ seed: optional(wholeFrom(0)) })('options', options);
  return withEngine(options, (engine) => drawCase(engine, recipe, options.seed));
}

/**
 * The case of your own parameters and inputs.
 *
 * @param given.inputs q, k, v, and types or scores; dout for gradients. Reals are Float64Arrays, whole numbers
 *   Int32Arrays; shapes as in docs/vectors.md.
 * @returns The case, as plain objects.
 * @throws {ShapeError} If a tensor is missing, unknown, or its shape contradicts the parameters.
 * @throws {ValueError} If a number is out of range, or keys that are not finite come with a dout.
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
  record()('options', options);
  return withEngine(options, (engine) => solveCase(engine, given));
}

/**
 * The cases of the small suite, about 2 MB in half a second; what `natsearch vectors` writes.
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
  record({ seed: optional(wholeFrom(0)) })('options', options);
  return withEngine(options, async (engine) => {
    const cases: OracleCase[] = [];
    for (const recipe of SUITES.small) cases.push(await drawCase(engine, recipe, options.seed));
    return cases;
  });
}

/**
 * The verdict on what a kernel makes of a case: NaN, wrong shapes and missing tensors never pass.
 *
 * @param oracleCase With its truths.
 * @param outputs By the names of docs/vectors.md, in any dtype; further ones are ignored.
 * @param options.dtype The arithmetic claimed, which sets the budgets: f64, f32, f16 or bf16.
 * @param options.tensors Names or groups of outputs to check (default: all).
 * @returns A report per tensor, whether all pass, and if not, where it first goes wrong and what that looks like.
 * @throws {ValueError} If `tensors` names what is no output, or the case has no truths.
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
  return judge(oracleCase, outputs, { diagnose, ...options });
}

async function withEngine<T>({ engine }: CaseOptions, use: (engine: TrainingEngine) => Promise<T>): Promise<T> {
  optional(record({ attention: of('function') }))('engine', engine);
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
  readManifest, type TensorEntry,
} from './oracle/cases/manifest.ts';
export { openVectors, packCase, type Vectors } from './oracle/cases/vector-files.ts';
export type { Diagnose, VerifyOptions } from './oracle/judge/verify.ts';
export { type Verdict, verdictsOf } from './oracle/judge/verdict.ts';
export { DIAGNOSES, type DiagnosisName } from './oracle/diagnose/diagnoses.ts';
export type {
  CaseParameters, CaseReport, ClaimedDtype, Diagnosis, Divergence, NotCompared, OracleCase, OutputName, TensorReport,
  Tensors,
} from './oracle/types.ts';
export type { FloatDtype, FloatTensor, IntegerDtype, IntegerTensor, NamedTensor } from './formats/named-tensor.ts';
