/**
 * Engines under test that lack operations: a test that needs one of these is skipped, and its note says which.
 * @module
 */
import { beforeEach, type TestContext } from 'vitest';
import { CheckedTrainingEngine } from '../../src/core/checked/training.ts';
import { MissingKernelError } from '../../src/core/checked/unfinished.ts';
import type { Engine } from '../../src/core/engine.ts';
import type { TrainingEngine } from '../../src/core/training-engine.ts';

let running: TestContext | undefined;
beforeEach((context) => {
  running = context;
});
const skipRunning = (note: string): void => running?.skip(note);

/**
 * The engine itself if it has all operations. Otherwise an engine that skips the running test when the test calls one
 * that is missing, so that the skipped tests are the list of what is left to write.
 */
export function skipping(engine: Engine, skip: (note: string) => void = skipRunning): TrainingEngine {
  const missing = (error: MissingKernelError): never => {
    skip(error.message);
    throw error;
  };
  if (engine instanceof CheckedTrainingEngine) return engine as TrainingEngine;
  return new Proxy(engine as TrainingEngine, {
    get(target, name): unknown {
      const member: unknown = Reflect.get(target, name, target);
      if (member === undefined && name in CheckedTrainingEngine.prototype) {
        return () => missing(new MissingKernelError(`the engine '${target.name}' has no ${String(name)}(), which training needs`));
      }
      if (typeof member !== 'function') return member;
      return (...args: unknown[]): unknown => {
        try {
          return Reflect.apply(member, target, args);
        } catch (error) {
          throw error instanceof MissingKernelError ? missing(error) : error;
        }
      };
    },
  });
}
