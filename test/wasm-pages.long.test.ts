/**
 * The engine of WebAssembly in pages, minified: under a policy that allows WebAssembly and nothing else, and with
 * threads where the page is cross-origin isolated. Everywhere it gives the bits that it gives here.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createEngine } from '../src/engines.ts';
import { describeChromium, resultsOf, serve } from './support/chromium.ts';
import { numbersOf } from './support/page-numbers.ts';

/** WebAssembly may be compiled, but there is no eval(), no script but those of the page, and no worker from a blob. */
const POLICY = { 'content-security-policy': `default-src 'self'; script-src 'self' 'wasm-unsafe-eval'` };
const ISOLATED = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };
const BLOBS = { 'content-security-policy': `${POLICY['content-security-policy']}; worker-src blob:` };

describeChromium('a page with the engine of WebAssembly', () => {
  let folder: string;
  let expected: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'nats-page-'));
    writeFileSync(join(folder, 'index.html'), '<!doctype html><script type="module" src="/app.js"></script>');
    const sources = (path: string) => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));
    await build({
      stdin: { contents: `
        import { createEngine } from ${sources('../src/engines.ts')};
        import { numbersOf } from ${sources('./support/page-numbers.ts')};
        const engine = await createEngine({ engine: 'wasm', threads: 2 });
        globalThis.result = { name: engine.name, numbers: await numbersOf(engine) };`,
      resolveDir: fileURLToPath(new URL('..', import.meta.url)) },
      bundle: true, format: 'esm', splitting: false, minify: true, outfile: join(folder, 'app.js'), logLevel: 'error',
      external: ['gpu.js', 'webgpu'],
    });
    const engine = await createEngine({ engine: 'wasm', threads: 1 });
    expected = await numbersOf(engine);
    engine.dispose();
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each<[string, Record<string, string>, string]>([
    ['that allows WebAssembly alone', POLICY, 'wasm float32, one thread (memory is not shared here: a page has to be cross-origin isolated)'],
    ['that is isolated', ISOLATED, 'wasm float32, 2 threads'],
    ['that is isolated and allows workers from blobs', { ...ISOLATED, ...BLOBS }, 'wasm float32, 2 threads'],
    [
      'that is isolated and refuses them', { ...ISOLATED, ...POLICY },
      'wasm float32, one thread (the policy of this page refuses workers from blob: addresses)',
    ],
  ])('%s', async (_, headers, name) => {
    const { url, server } = await serve({ '': folder }, headers);
    try {
      expect(await resultsOf([`${url}index.html`])).toEqual([{ name, numbers: expected }]);
    } finally {
      server.close();
    }
  });
});
