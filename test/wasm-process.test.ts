/** What threads leave of a process: it ends although they wait for work, and they are gone with their engine. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { THOROUGH } from './support/thorough.ts';

/** Runs a program that imports what is built, and returns what it prints. */
function printed(program: string, ...flags: string[]): string {
  const library = new URL('../dist/index.js', import.meta.url).href;
  const { status, stdout, stderr } = spawnSync(process.execPath, [
    ...flags, '--input-type=module', '-e', `import { createEngine, loadModel } from ${JSON.stringify(library)};${program}`,
  ], {
    encoding: 'utf8', timeout: 300_000, cwd: fileURLToPath(new URL('..', import.meta.url)),
    // By itself, glibc soon keeps a block of 16 MiB that was freed, or does not: as much as an engine that stayed.
    env: { ...process.env, MALLOC_MMAP_THRESHOLD_: String(2 ** 20) },
  });
  expect([status, stderr]).toEqual([0, '']);
  return stdout;
}

it('threads keep no process alive', () => {
  expect(printed(`
    const engine = await createEngine({ engine: 'wasm', threads: 3 });
    const x = engine.tensor(new Float32Array(256 * 256).fill(1), [256, 256]);
    console.log(engine.name, (await engine.read(engine.linear(x, x)))[0]);`)).toBe('wasm float32, 3 threads 256\n');
});

// Every engine writes 16 MiB, so that what the process holds in memory would grow by as much with each that stays.
if (THOROUGH) it('a hundred engines with threads and a model each leave neither their memory nor their workers', () => {
  const MiB = 2 ** 20;
  const found = JSON.parse(printed(`
    const open = async () => {
      const engine = await createEngine({ engine: 'wasm', threads: 2 });
      engine.tensor(new Float32Array(${4 * MiB}).fill(1), [${4 * MiB}]);
      const session = (await loadModel('models/nats', { engine })).session();
      await session.step(Array.from({ length: 64 }, (_, n) => n), { logits: 'none' });
      return engine;
    };
    const resident = async () => {
      for (let n = 0; n < 3; n++) { await new Promise((resolve) => setTimeout(resolve, 100)); gc(); }
      return process.memoryUsage().rss;
    };
    const one = await open();
    const before = await resident();
    const others = [await open(), await open()];
    const each = (await resident() - before) / 2;
    for (const engine of [one, ...others]) engine.dispose();
    const after = [];
    for (let n = 1; n <= 100; n++) {
      (await open()).dispose();
      if (n === 20 || n === 100) after.push(await resident());
    }
    console.log(JSON.stringify({ each, after }));`, '--expose-gc')) as { each: number; after: [number, number] };
  expect(found.each).toBeGreaterThan(16 * MiB); // it is seen if an engine stays
  const grown = found.after[1] - found.after[0];
  expect(grown, 'of 80 engines not one stayed').toBeLessThan(16 * MiB);
}, 300_000);
