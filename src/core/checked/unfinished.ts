/**
 * Engines that are being written: they begin with a few kernels, and name a missing operation when it is called.
 * @module
 */
import { UnsupportedError } from '../errors.ts';
import type { Kernels } from '../kernels.ts';
import type { Shaped } from '../tensor.ts';

/** What every engine has from the start: what it is, and its arrays. */
type Begun =
  | 'name' | 'precision' | 'stores' | 'tensor' | 'dtypeOf' | 'weight' | 'integers' | 'zeros' | 'read' | 'readIntegers'
  | 'known' | 'free' | 'dispose';

type Optional<K> = { [Key in keyof K]-?: undefined extends K[Key] ? Key : never }[keyof K];

/** What a finished engine may lack, too. */
const OPTIONAL = {
  prefillStep: true, limits: true, createMassCache: true, forms: true,
} satisfies Readonly<Record<Optional<Kernels<Shaped>>, true>>;

/** An operation was called for which an engine has no kernel yet. */
export class MissingKernelError extends UnsupportedError {}

/**
 * Completes the kernels of an engine that lacks some of them. Each of those throws a MissingKernelError with its name,
 * once the checked layer has accepted the arguments.
 */
export function unfinished<A extends Shaped>(kernels: Pick<Kernels<A>, Begun> & Partial<Kernels<A>>): Kernels<A> {
  return new Proxy(kernels as Kernels<A>, {
    get(target, key): unknown {
      if (Reflect.has(target, key) || typeof key === 'symbol' || Object.hasOwn(OPTIONAL, key)) return Reflect.get(target, key);
      return () => {
        throw new MissingKernelError(`the engine '${target.name}' has no ${key}() yet: use an engine of createEngine(), or write this kernel`);
      };
    },
  });
}
