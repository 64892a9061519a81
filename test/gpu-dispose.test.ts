/** What is used after dispose() on gpu.js is refused by name. */
import { describe, expect, it } from 'vitest';
import type { DeviceMode } from '../gpu/gpujs/device.ts';
import { openEngine } from '../gpu/gpujs/open.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { DisposedError } from '../src/core/errors.ts';
import { describeWebGPU } from './support/webgpu.ts';
import { expectError } from './support/expect-error.ts';

function useAfterDispose(open: () => Promise<TrainingEngine>): void {
  const cacheOptions = { batch: 1, kvHeads: 1, headDim: 2, window: 1, chunk: 1, blockSize: 4 };

  it('for a tensor or a cache is reported with its name, and the engine still works', async () => {
    const engine = await open();
    const [x, y] = [engine.tensor([1, 2], [1, 2]), engine.tensor([3, 4], [1, 2])];
    x.dispose();
    x.dispose();
    const gone = 'a tensor [1,2] was used after dispose(): keep it alive until its last use';
    await expectError(() => engine.read(x), DisposedError, gone);
    await expectError(() => void engine.add(x, y), DisposedError, gone);
    await expectError(() => void engine.accumulate(y, x), DisposedError, gone);
    const cache = engine.createCache(cacheOptions);
    const [row, types] = [engine.tensor([1, 2], [1, 1, 1, 2]), engine.integers([0], [1, 1, 1])];
    cache.append(row, row, types);
    cache.dispose();
    cache.dispose();
    const done = 'a cache was used after dispose(): create a new one';
    await expectError(() => void cache.append(row, row, types), DisposedError, done);
    await expectError(() => void cache.attend(row, 1), DisposedError, done);
    await expectError(() => void cache.evict(), DisposedError, done);
    await expectError(() => void cache.clear(), DisposedError, done);
    await expectError(() => cache.stats(), DisposedError, done);
    await expectError(() => cache.positions(0, 0), DisposedError, done);
    expect([...await engine.read(y)]).toEqual([3, 4]);
    engine.dispose();
  });

  it('of the engine itself is reported for everything made by it', async () => {
    const engine = await open();
    const [x, cache] = [engine.tensor([1], [1]), engine.createCache(cacheOptions)];
    const promised = engine.read(engine.add(x, x));
    const asked = cache.stats();
    engine.dispose();
    engine.dispose();
    const gone = /^the engine 'gpu\.js [^\n]+' was used after dispose\(\): create a new one$/;
    await expectError(() => void engine.tensor([1], [1]), DisposedError, gone);
    await expectError(() => void engine.zeros([1]), DisposedError, gone);
    await expectError(() => void engine.createCache(cacheOptions), DisposedError, gone);
    await expectError(() => void engine.add(x, x), DisposedError, gone);
    await expectError(() => engine.read(x), DisposedError, gone);
    await expectError(() => cache.stats(), DisposedError, gone);
    await expectError(() => void cache.evict(), DisposedError, gone);
    // Earlier reads still succeed.
    expect([...await promised]).toEqual([2]);
    expect([...(await asked).seen]).toEqual([0]);
    x.dispose();
    cache.dispose();
  });
}

const opened = (gpu: DeviceMode) => (): Promise<TrainingEngine> => openEngine({ gpu, testing: true });

describe.each(['cpu', 'webasm'] as const)('use after dispose() on gpu.js %s', (gpu) => useAfterDispose(opened(gpu)));

describeWebGPU('use after dispose() on gpu.js webgpu', () => useAfterDispose(opened('webgpu')));
