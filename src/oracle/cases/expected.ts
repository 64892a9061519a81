/**
 * Checks on the arguments of the functions of `neural-attention-search/vectors`.
 * @module
 */
import { type Expected, finite, list, of, oneOf, optional, record, shape, typed, wholeFrom } from '../../core/arguments.ts';
import { fail } from '../../core/described.ts';
import { ShapeError } from '../../core/errors.ts';
import { expectFields } from '../../core/known-options.ts';
import { expectShape } from '../../core/shape.ts';
import { expectElements } from '../../core/tensor.ts';
import { checkParameters } from './recipes.ts';
import { inputShapes, outputShapes } from './shapes.ts';
import type { OracleCase } from '../types.ts';

/** A size within the limit that holds for every dimension of a case. */
const size = wholeFrom(1, 2 ** 20);
const text = of('string');
const steps = list(finite);
const rule = oneOf('bounded', 'exact');

/** Types as letters, or as scores to draw. */
const types: Expected = (name, value) => {
  record()(name, value);
  if ('pattern' in (value as object)) record({ pattern: list(text) })(name, value);
  else record({ scores: oneOf('spread', 'tied', 'near'), forced: optional(oneOf('first', 'ends')) })(name, value);
};

/** A recipe. What a case cannot have, such as a second window, is refused. */
export const expectRecipe: Expected = (name, value) => expectFields(name, name, value, {
  name: text, why: text, draws: optional(text), batch: optional(size), queryHeads: size, kvHeads: size, tokens: size,
  headDim: size, window: wholeFrom(0, 2 ** 31 - 1), chunk: optional(size), scale: optional(finite), types,
  rule: optional(rule), temperature: optional(finite), price: optional(finite), backward: optional(of('boolean')),
  logits: optional(oneOf('normal', 'flat', 'sharp', 'rising', 'falling', 'large', 'close', 'equal-keys', 'equal-queries')),
  poison: optional(record({ with: oneOf('nan', 'infinity'), positions: list(wholeFrom(0)) })),
  steps: optional(steps), exact: optional(oneOf('e5m2')),
});

const expectParameters: Expected = (name, value) => {
  record({
    batch: size, queryHeads: size, kvHeads: size, tokens: size, headDim: size, window: wholeFrom(0, 2 ** 31 - 1),
    chunk: size, scale: finite, rule, temperature: finite, price: finite, steps,
  })(name, value);
  checkParameters(value as OracleCase['parameters']);
};

/** A tensor of a case: floats are in a Float64Array, integers in an Int32Array. */
const expectTensor: Expected = (name, value) => {
  record({ dtype: text, shape })(name, value);
  const { data, shape: sizes } = value as { data: unknown; shape: readonly number[] };
  if (!(data instanceof Float64Array) && !(data instanceof Int32Array)) {
    fail(`the data of ${name}`, data, 'a Float64Array or an Int32Array');
  }
  expectElements(name, data, sizes);
};

/** An object all of whose values are as expected. */
const each = (expected: Expected): Expected => (name, value) => {
  record()(name, value);
  for (const [key, tensor] of Object.entries(value as object)) expected(`${name}.${key}`, tensor);
};

/** Tensors by name. */
export const expectTensors: Expected = each(expectTensor);

/** The kinds and shapes of tensors, by name, as in a manifest. */
export const expectEntries: Expected = each(record({ dtype: text, shape }));

/** The argument of caseOf(). */
export const expectGiven: Expected = record({
  name: text, why: text, parameters: expectParameters, inputs: each(record({ dtype: text, shape, data: typed })),
});

/** A case whose tensors have the shapes that follow from its parameters. */
export const expectCase: Expected = (name, value) => {
  record({
    name: text, why: text, parameters: expectParameters, inputs: expectTensors, expected: expectTensors,
    notCompared: record(),
  })(name, value);
  const { parameters, inputs, expected, notCompared } = value as OracleCase;
  for (const [tensors, shapes] of [[inputs, inputShapes(parameters)], [expected, outputShapes(parameters)]] as const) {
    for (const [key, tensor] of Object.entries(tensors)) {
      const wanted = (shapes as Record<string, readonly number[]>)[key];
      if (!wanted) throw new ShapeError(`${name} has a tensor ${key}: the names are ${Object.keys(shapes).join(', ')}`);
      expectShape(key, tensor, wanted, 'the parameters say so');
    }
  }
  for (const key of ['q', 'k', 'v']) if (!inputs[key]) throw new ShapeError(`${name} has no ${key}: make it with makeCase or caseOf`);
  if (!inputs.types === !inputs.scores) throw new ShapeError(`${name} has both types and scores, or neither: give exactly one of them`);
  for (const [key, at] of Object.entries(notCompared)) list(wholeFrom(0))(`${name}.notCompared.${key}`, at);
};

export const expectVerify: Expected = record({
  dtype: optional(oneOf('f64', 'f32', 'f16', 'bf16')), products: optional(oneOf('tf32', 'e4m3', 'e5m2')), tensors: optional(list(text)), onProgress: optional(of('function')),
});

export const expectPacking: Expected =
  record({ fileFormat: oneOf('safetensors', 'npz'), dtype: oneOf('f64', 'f32', 'f16', 'bf16') });

export const expectReports: Expected = list(record({
  diagnosis: optional(record({ name: text, candidates: list(text) })),
}));
