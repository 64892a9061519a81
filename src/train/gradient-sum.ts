/**
 * Sums what the sequences of a batch contribute.
 * @module
 */
import type { Tensor } from '../core/engine.ts';
import type { TrainingEngine } from '../core/training-engine.ts';

/** What some sequences contribute to a batch: gradients, and numbers or lists of numbers to add up. */
export interface Part {
  /** By the name of the weight. The caller owns them. */
  readonly gradients: ReadonlyMap<string, Tensor>;
}

/**
 * Adds up parts in their order, so that the bits do not depend on which thread computed which part.
 *
 * @param parts At least one. Each is requested once the one before has been added.
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

/** Adds field by field: numbers to numbers, and lists to lists of the same length. */
function added(sum: object, more: object): object {
  return Object.fromEntries(Object.entries(more).map(([name, x]: [string, unknown]) => {
    const before = (sum as Record<string, unknown>)[name];
    return [name, typeof x === 'number' ? (before as number) + x : (x as number[]).map((each, n) => (before as number[])[n] + each)];
  }));
}
