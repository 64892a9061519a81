/** What the module of wasm/ is made of, and where it cannot run. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createEngine, loadModel } from '../src/index.ts';
import { ValueError } from '../src/core/errors.ts';
import { MODULE } from '../wasm/module.ts';
import { THOROUGH } from './support/thorough.ts';

describe('the module of wasm/', () => {
  // It takes ten seconds; npm run docs:check does the same.
  if (THOROUGH) it('is what wasm/kernels/ compiles to', () => {
    const root = fileURLToPath(new URL('..', import.meta.url));
    expect(execFileSync(process.execPath, ['scripts/wasm.mjs', '--check'], { cwd: root, encoding: 'utf8' })).toBe('');
  }, 60_000);

  it('is small', () => {
    expect(MODULE.length).toBeLessThan(2 ** 16);
  });
});

describe('where WebAssembly is missing', () => {
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.resetModules();
  });

  it('createEngine() refuses the engine by name, and loadModel() takes the reference', async () => {
    vi.resetModules(); // so that no module is compiled yet
    const fresh = await import('../src/index.ts');
    const absent = function () { // a constructor, as a policy of a page blocks it
      throw new Error('blocked by the policy of this page');
    };
    vi.stubGlobal('WebAssembly', { ...WebAssembly, Memory: WebAssembly.Memory, Module: absent });
    await expect(fresh.createEngine({ engine: 'wasm' })).rejects.toThrow(fresh.DeviceError);
    await expect(fresh.createEngine({ engine: 'wasm' })).rejects.toThrow('blocked by the policy of this page');
    const model = await fresh.loadModel('models/nats');
    expect(model.engine.name).toBe('reference float64');
    model.dispose();
  });
});

describe('createEngine()', () => {
  it('takes the engine of WebAssembly by name, which loadModel() takes by default', async () => {
    const engine = await createEngine({ engine: 'wasm' });
    const model = await loadModel('models/nats');
    expect([engine.name, model.engine.name]).toEqual(['wasm float32', 'wasm float32']);
    expect((await createEngine({ engine: 'wasm', precision: 'float64' })).name).toBe('wasm float64');
    model.dispose();
  });

  it('refuses an unknown engine, and one on the CPU together with one on a GPU', async () => {
    expect(() => createEngine({ engine: 'fast' as 'wasm' })).toThrow(ValueError);
    await expect(createEngine({ engine: 'wasm', gpu: 'cpu' } as { engine: 'wasm' })).rejects.toThrow('engine was given with gpu');
  });
});
