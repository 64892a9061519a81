/**
 * What holds memory is disposed of at the end of a `using` block, may be disposed of twice, and refuses to be used
 * then.
 */
import { expect, it } from 'vitest';
import type { Engine } from '../src/core/engine.ts';
import { DisposedError } from '../src/core/errors.ts';
import { Finetuner } from '../src/train/finetune.ts';
import { Trainer } from '../src/train/trainer.ts';
import { forEachEngine } from './support/engines.ts';
import { livelyConfig, livelyModel } from './support/lively-model.ts';

const sizes = { batch: 1, kvHeads: 1, headDim: 2, window: 1, chunk: 1, blockSize: 4 };

forEachEngine('`using`', ({ create }) => {
  it('disposes of engines, tensors, caches, chunk pools, models and sessions, but not of what they were made from', async () => {
    let kept: Engine;
    {
      using engine = await create();
      kept = engine;
      const ended: (() => unknown)[] = [];
      {
        using x = engine.tensor([1, 2], [1, 1, 2]);
        using cache = engine.createCache(sizes);
        using pool = engine.createChunkPool(1, 2, 3, 'mean');
        using model = livelyModel(engine, livelyConfig('full'));
        using session = model.session();
        using fork = session.fork();
        pool.push(x).dispose();
        await fork.step([1]);
        ended.push(
          () => engine.read(x), () => cache.stats(), () => pool.push(x), () => model.session(), () => session.step([1]),
          () => fork.stats(),
        );
        session.dispose(); // a second call has no effect
      }
      for (const use of ended) await expect((async () => use())()).rejects.toThrow(DisposedError);
      using y = engine.tensor([3], [1]);
      expect([...await engine.read(y)]).toEqual([3]);
    }
    expect(() => kept.tensor([1], [1])).toThrow(DisposedError);
    kept.dispose();
  });
});

it('`using` disposes of trainings, too', () => {
  for (const each of [Trainer, Finetuner]) {
    expect(typeof (each.prototype as Partial<Disposable>)[Symbol.dispose]).toBe('function');
  }
});
