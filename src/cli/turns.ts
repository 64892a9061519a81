/**
 * Lets signals, timers and streams have their turn while an engine computes.
 * @module
 */
import { setImmediate } from 'node:timers/promises';
import type { Engine, Tensor } from '../engine.ts';
import type { FloatArray } from '../tensor.ts';

/**
 * An engine on the CPU answers read() without going back to the event loop, so a loop over steps would
 * keep Ctrl-C waiting for its end. Here read(), the contract's one place to wait, goes back to it.
 */
export function takingTurns(engine: Engine, milliseconds = 20): Engine {
  const read = engine.read.bind(engine);
  let last = performance.now();
  engine.read = async (tensor: Tensor): Promise<FloatArray> => {
    if (performance.now() - last > milliseconds) {
      await setImmediate();
      last = performance.now();
    }
    return read(tensor);
  };
  return engine;
}
