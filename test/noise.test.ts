/** The noise of training is the same whether a thread has drawn it, or not. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { gumbelNoise, Stream } from '../src/core/random.ts';
import { Noise } from '../src/train/noise.ts';

const [SEED, SEQUENCES, LAYERS, LENGTH] = [7, 3, 2, 5000];

type Numbers = Float32ArrayConstructor | Float64ArrayConstructor;

/** Asks for all noise of a step. */
function draw(noise: Noise, step: number, Numbers: Numbers, length = LENGTH): (Float32Array | Float64Array)[] {
  return Array.from({ length: SEQUENCES * LAYERS }, (_, n) => {
    const to = new Numbers(length);
    noise.fill(step, n % SEQUENCES, Math.floor(n / SEQUENCES), to);
    return to;
  });
}

const truth = (step: number, Numbers: Numbers, length = LENGTH): (Float32Array | Float64Array)[] =>
  Array.from({ length: SEQUENCES * LAYERS }, (_, n) =>
    Numbers.from(gumbelNoise(SEED, [Stream.NOISE, step, n % SEQUENCES, Math.floor(n / SEQUENCES)], length)));

/** Waits for the thread. */
async function drawn(noise: Noise): Promise<void> {
  await vi.waitFor(() => expect(noise.ready).toBe(SEQUENCES * LAYERS), { timeout: 100_000, interval: 5 });
}

describe('noise that a thread draws ahead', () => {
  afterEach(() => void vi.unstubAllGlobals());

  it.each([Float32Array, Float64Array])('has the bits of noise that is drawn when it is needed: %o', async (Numbers) => {
    const noise = new Noise(SEED, 1);
    for (let step = 1; step < 5; step++) {
      expect(draw(noise, step, Numbers)).toEqual(truth(step, Numbers));
      noise.ahead(step + 1);
      if (step % 2 === 1) await drawn(noise); // or else it is late
    }
    noise.dispose();
  }, 120_000);

  it('is drawn again for another step, length or precision, and forgotten where nobody takes it', async () => {
    const noise = new Noise(SEED, 1);
    draw(noise, 1, Float32Array);
    noise.ahead(2);
    await drawn(noise);
    expect(draw(noise, 3, Float32Array)).toEqual(truth(3, Float32Array));
    expect(draw(noise, 2, Float32Array, 10)).toEqual(truth(2, Float32Array, 10));
    expect(draw(noise, 2, Float64Array)).toEqual(truth(2, Float64Array));
    noise.ahead(4);
    expect(noise.ready).toBe(0);
    noise.dispose();
    expect(draw(noise, 4, Float32Array)).toEqual(truth(4, Float32Array)); // and it goes on without a thread
  }, 120_000);

  it('is not drawn ahead where there is little of it, or no thread', async () => {
    const little = new Noise(SEED);
    draw(little, 1, Float32Array, 10);
    little.ahead(2);
    expect(little.ready).toBe(0);
    const none = function (): never {
      throw new Error('no threads');
    };
    vi.stubGlobal('process', { ...process, getBuiltinModule: () => ({ Worker: none }) });
    const alone = new Noise(SEED, 1);
    draw(alone, 1, Float32Array);
    alone.ahead(2);
    expect(draw(alone, 2, Float32Array)).toEqual(truth(2, Float32Array));
    alone.dispose();
  });
});
