/**
 * What mathjs lacks for reading the chapter's equations: positions that count from 0, and sums over an index with a
 * condition. tex.ts prints the same strings.
 *
 * - `x[i, j]` counts from 0, unlike mathjs's own indexing, because the paper's positions do.
 * - `total(j, j <= i, f)` is the sum of f over the j that satisfy the condition, which may be left out. `product`,
 *   `maximum` and `minimum` work in the same way. `first(n, condition)` is the smallest such n, or Infinity if there is
 *   none.
 * - An index runs over 0..N-1 unless the equation's `ranges` says otherwise.
 * @module
 */
import {
  all, create, type AccessorNode, type AssignmentNode, type EvalFunction, type IndexNode, type MathJsInstance,
  type MathNode, type SymbolNode,
} from 'mathjs';

/** Numbers, BigNumbers, or nested arrays of them. */
export type Value = unknown;
/** Values by name. */
export type Scope = Record<string, Value>;

/** What is needed to evaluate a list of definitions. */
export interface Definitions {
  /** `name[i, j] = formula`, in order; later lines may use earlier names. */
  readonly expressions: readonly string[];
  /** A condition on the indices. Where it does not hold, the value is 0. */
  readonly given?: string;
  /** Upper bounds of indices that do not run over the N tokens: `{ n: 'Nc' }`. */
  readonly ranges?: Readonly<Record<string, string>>;
}

/** A mathjs instance that knows the functions above. `digits` switches to BigNumber arithmetic. */
export function createMathematics(digits?: number): MathJsInstance {
  // Comparisons are exact. By default mathjs treats numbers that agree to 12 digits as equal, which would make ties of
  // numbers that merely are close.
  const math = create(all, {
    relTol: 1e-300, absTol: 0, ...(digits ? { number: 'BigNumber', precision: digits } : {}),
  }) as MathJsInstance;
  const compiled = new WeakMap<MathNode, EvalFunction>();
  const run = (node: MathNode, scope: Map<string, Value>): Value => {
    if (!compiled.has(node)) compiled.set(node, node.compile());
    return compiled.get(node)!.evaluate(scope);
  };
  /** The values of the body for every value of the index that satisfies the condition. */
  function* over(args: MathNode[], scope: Map<string, Value>): Generator<{ at: number; value: Value }> {
    const index = (args[0] as SymbolNode).name;
    const [condition, body] = args.length === 3 ? [args[1], args[2]] : [undefined, args[1]];
    const inner = new Map(scope);
    const bound = Number(run(math.parse((scope.get('ranges') as Record<string, string>)[index] ?? 'N'), scope));
    for (let at = 0; at < bound; at++) {
      inner.set(index, at);
      if (!condition || run(condition, inner)) yield { at, value: run(body, inner) };
    }
  }
  const raw = (reduce: (items: { at: number; value: Value }[]) => Value): unknown => Object.assign(
    (args: MathNode[], _: unknown, scope: Map<string, Value>) => reduce([...over(args, scope)]), { rawArgs: true });
  math.import({
    at: (x: Value, ...indices: Value[]) => indices.reduce((rows, n) => element(rows, Number(n)), x),
    total: raw((items) => items.length === 0 ? 0
      : items.map((x) => x.value).reduce((a, b) => math.add(a as number, b as number))),
    product: raw((items) => items.reduce((p: Value, x) => math.multiply(p as number, x.value as number), 1)),
    maximum: raw((items) => math.max(items.map((x) => x.value) as number[])),
    minimum: raw((items) => math.min(items.map((x) => x.value) as number[])),
    first: raw((items) => items.find((x) => x.value)?.at ?? Infinity),
    // mathjs's own floor first rounds to its tolerance.
    floor: (x: Value) => Math.floor(Number(x)),
  }, { override: true });
  return math;
}

function element(rows: Value, n: number): Value {
  if (!Array.isArray(rows) || !(n in rows)) throw new RangeError(`index ${n} is outside what an equation may read`);
  return rows[n];
}

/** `x[i, j]` becomes `at(x, i, j)`. */
function countFromZero(math: MathJsInstance, node: MathNode): MathNode {
  return node.transform((n) => {
    if (n.type !== 'AccessorNode') return n;
    const { object, index } = n as AccessorNode<MathNode>;
    // transform() does not descend into what the callback returns, but an index may contain an index: t[b[j]].
    const parts = [object, ...(index as IndexNode).dimensions];
    return new math.FunctionNode('at', parts.map((part) => countFromZero(math, part)));
  });
}

/**
 * Evaluates definitions on the values in `scope`.
 *
 * @returns The scope with every defined name added; `x[i, j] = ...` becomes nested arrays over the index ranges.
 */
export function evaluateDefinitions(math: MathJsInstance, definitions: Definitions, scope: Scope): Scope {
  const ranges: Record<string, string> = { ...definitions.ranges };
  const values = new Map<string, Value>(Object.entries({ ...scope, ranges }));
  const given = definitions.given && countFromZero(math, math.parse(definitions.given)).compile();
  for (const expression of definitions.expressions) {
    const { object, index, value } = math.parse(expression) as unknown as AssignmentNode;
    const formula = countFromZero(math, value).compile();
    const names = index ? index.dimensions.map((n) => (n as unknown as SymbolNode).name) : [];
    const fill = (depth: number): Value => {
      if (depth < names.length) {
        const bound = Number(math.evaluate(ranges[names[depth]] ?? 'N', values));
        return Array.from({ length: bound }, (_, at) => {
          values.set(names[depth], at);
          return fill(depth + 1);
        });
      }
      // The condition is about a pair of indices, so it applies only to definitions that have both.
      if (given && names.length > 1 && !given.evaluate(values)) return 0;
      const result = formula.evaluate(values) as Value;
      return typeof result === 'boolean' ? Number(result) : result;
    };
    values.set((object as SymbolNode).name, fill(0));
  }
  values.delete('ranges');
  return Object.fromEntries(values);
}
