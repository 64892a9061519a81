/**
 * Prints the stacks of headless Chromium as JSON: `node bench/stacks-browser.mjs webgl2,webgpu,wgsl > FILE`, which
 * `npm run stacks` runs. There is no server: the requests of the page are intercepted and answered here.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ORIGIN = 'http://localhost'; // trusted like https, without which there is no WebGPU
const MODEL = 'models/nats';

const root = fileURLToPath(new URL('..', import.meta.url));
const stacks = (process.argv[2] ?? 'webgl2,webgpu,wgsl').split(',');

/** What is needed to drive Chromium, or `missing`: why it cannot be driven here. */
async function findChromium() {
  try {
    const { chromium } = await import('playwright-core');
    return { chromium, ...await import('../examples/browser/chromium.mjs') };
  } catch (error) {
    return { missing: error.message.split('\n')[0] };
  }
}

/** The script of bench/stacks-page.ts, with gpu.js's own bundle for browsers. */
async function bundle() {
  const { outputFiles: [script] } = await build({
    entryPoints: [`${root}bench/stacks-page.ts`], bundle: true, write: false, format: 'esm', target: 'es2022',
    alias: { 'gpu.js': 'gpu.js/dist/gpu-browser.js' }, external: ['node:*'], logLevel: 'error',
  });
  return script.text;
}

/** The responses to the page's requests, by path. */
async function answers(model) {
  return {
    '/': { contentType: 'text/html', body: '<!doctype html><title>stacks</title><script type="module" src="/page.js"></script>' },
    '/page.js': { contentType: 'text/javascript', body: await bundle() },
    ...model && Object.fromEntries(['config.json', 'model.safetensors'].map((file) =>
      [`/${model}/${file}`, { contentType: 'application/octet-stream', body: readFileSync(`${root}${model}/${file}`) }])),
  };
}

async function measure({ chromium, executablePath, flags }) {
  const model = existsSync(`${root}${MODEL}/config.json`) ? MODEL : null;
  const files = await answers(model);
  const browser = await chromium.launch({ executablePath, args: flags });
  try {
    const runtime = `Chromium ${browser.version()}`;
    const page = await browser.newPage();
    page.on('console', (message) => { // only progress: drivers print to the console too, but as warnings
      if (message.type() === 'info') process.stderr.write(`stacks: ${runtime}, ${message.text()}...\n`);
    });
    await page.route('**', (route) => route.fulfill(files[new URL(route.request().url()).pathname] ?? { status: 404 }));
    await page.goto(ORIGIN);
    await page.waitForFunction(() => 'measure' in globalThis);
    return await page.evaluate((asked) => globalThis.measure(...asked), [stacks, runtime, model]);
  } finally {
    await browser.close();
  }
}

const { devDependencies } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
const { missing, ...found } = await findChromium();
const reports = missing === undefined ? await measure(found)
  : stacks.map((stack) => ({ stack: stack === 'wgsl' ? stack : `gpu.js ${stack}`, runtime: 'Chromium', skipped: missing }));
process.stdout.write(`${JSON.stringify({ gpuJs: devDependencies['gpu.js'], stacks: reports }, null, 2)}\n`);
