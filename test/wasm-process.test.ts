/** A process ends although the threads of an engine, which nobody disposed of, wait for work. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('threads keep no process alive', () => {
  const library = new URL('../dist/index.js', import.meta.url).href;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', `
    import { createEngine } from ${JSON.stringify(library)};
    const engine = await createEngine({ engine: 'wasm', threads: 3 });
    const x = engine.tensor(new Float32Array(256 * 256).fill(1), [256, 256]);
    console.log(engine.name, (await engine.read(engine.linear(x, x)))[0]);`,
  ], { encoding: 'utf8', timeout: 30_000, cwd: fileURLToPath(new URL('..', import.meta.url)) });
  expect([status, stdout, stderr]).toEqual([0, 'wasm float32, 3 threads 256\n', '']);
});
