/**
 * Sums over the sequences of a batch.
 * @module
 */
import type { Tensor } from '../core/engine.ts';
import type { TrainingEngine } from '../core/training-engine.ts';

/** What sequences contribute to a batch: gradients by weight name, and numbers or lists of numbers that add up. */
export interface Part {
  /** They belong to who asked for them. */
  readonly gradients: ReadonlyMap<string, Tensor>;
}

/**
 * Adds up parts in their order, so that the bits do not depend on who computed which.
 *
 * @param parts At least one; each is asked for once the one before has been added.
 */
export async function sumParts<P extends Part>(
  engine: TrainingEngine, parts: readonly (() => Promise<P>)[],
): Promise<P> {
  const gradients = new Map<string, Tensor>();
  let sum: P | undefined;
  for (const part of parts) {
    const { gradients: own, ...numbers } = await part();
    for (const [name, gradient] of own) {
      if (!gradients.has(name)) gradients.set(name, engine.zeros(gradient.shape));
      engine.accumulate(gradients.get(name)!, gradient);
      gradient.dispose();
    }
    sum = { ...(sum ? added(sum, numbers) : numbers), gradients } as unknown as P;
  }
  return sum!;
}

/** Field by field: a number plus a number, a list plus a list of the same length. */
function added(sum: object, more: object): object {
  return Object.fromEntries(Object.entries(more).map(([name, x]: [string, unknown]) => {
    const before = (sum as Record<string, unknown>)[name];
    return [name, typeof x === 'number' ? (before as number) + x : (x as number[]).map((each, n) => (before as number[])[n] + each)];
  }));
}
