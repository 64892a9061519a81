/**
 * Checks of traces that callers pass: every field that is read, and the lengths of all arrays.
 * @module
 */
import { expectObject, type Expected, list, numberFrom, of, optional, record, wholeFrom } from '../../core/arguments.ts';
import { fail, tagOf } from '../../core/described.ts';
import { ValueError } from '../../core/errors.ts';
import { TOP_KEYS, TOP_QUERIES } from './trace.ts';

/** A typed array of one kind, with `length` elements if that is given. */
export const arrayOf = (kind: 'Uint8Array' | 'Int32Array' | 'Float32Array', length?: number): Expected => (name, value) => {
  if (typeof value !== 'object' || value === null || tagOf(value) !== kind) fail(name, value, `a ${kind}`);
  const found = (value as ArrayLike<number>).length;
  if (length !== undefined && found !== length) throw new ValueError(`${name} has ${found} numbers: it must have ${length}`);
};

/** Tokens to watch. */
export const expectMark: Expected = (name, value) =>
  record({ name: of('string'), begin: wholeFrom(0), end: wholeFrom(1) })(name, value);

/** What says of a policy how its entries end. */
export const expectRules: Expected = (name, value) => record({
  policy: of('string'), lifetimes: optional(record({ window: wholeFrom(0), localWindow: optional(wholeFrom(0)), chunk: wholeFrom(1) })),
  reach: optional(wholeFrom(0)),
})(name, value);

/** A trace, as recordTrace() makes it. */
export function expectTrace(name: string, value: unknown): void {
  record({ tokens: arrayOf('Int32Array') })(name, value);
  const N = (value as { tokens: Int32Array }).tokens.length;
  const { kvHeads, layers } = value as { kvHeads: unknown; layers: unknown };
  record({
    model: of('string'), engine: of('string'), pieces: list(of('string')), texts: expectTexts, layers: list(wholeFrom(0)),
    kvHeads: wholeFrom(1), marks: list(expectMark),
  })(name, value);
  const whole = (what: string, count: unknown, each: Expected): Expected => (field, given) => {
    list(each)(field, given);
    const { length } = given as unknown[];
    if (length !== count) throw new ValueError(`${field} has ${length} ${what}: the trace has ${String(count)}`);
  };
  const head: Expected = (field, given) => {
    record({
      types: arrayOf('Uint8Array', N), last: arrayOf('Int32Array', N), scores: arrayOf('Float32Array'),
      received: arrayOf('Float32Array', N), users: arrayOf('Int32Array', N * TOP_QUERIES),
      userWeights: arrayOf('Float32Array', N * TOP_QUERIES), used: arrayOf('Int32Array', N * TOP_KEYS),
      usedWeights: arrayOf('Float32Array', N * TOP_KEYS),
    })(field, given);
    const { length } = (given as { scores: Float32Array }).scores;
    if (length !== 0 && length !== 3 * N) throw new ValueError(`scores has ${length} numbers: it must have 0 or ${3 * N}`);
  };
  const heads = whole('layers', (layers as unknown[]).length, whole('KV heads', kvHeads, head));
  record({
    policies: list((field, given) => {
      expectRules(field, given);
      record({
        budget: optional(record({ by: of('string'), base: numberFrom(0), perToken: numberFrom(0) })),
        entryBytes: numberFrom(0), loss: arrayOf('Float32Array', N), predicted: arrayOf('Int32Array', N), heads,
      })(field, given);
    }),
  })(name, value);
}

const expectTexts: Expected = (name, value) => {
  expectObject(name, value);
  for (const [token, text] of Object.entries(value as object)) of('string')(`the text of token ${token}`, text);
};
