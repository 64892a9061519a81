/**
 * Builds the page with Vite, drives it in headless Chromium on every backend, and compares what it shows with the
 * reference engine in Node.
 *
 *   node examples/browser/check.mjs [folder for screenshots] [--gpu=wgsl,webgpu,webgl2,webasm] [--tokens=64]
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { build, preview } from 'vite';
import { createEngine, lifetime, loadModel, ndarray, withStarts } from '../../dist/index.js';
import { executablePath, flags } from './chromium.mjs';

const PROMPT = 'Fellow-citizens of the Senate: The condition of the country — “all told” — is';
const root = fileURLToPath(new URL('.', import.meta.url));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { gpu: { type: 'string', default: 'wgsl,webgpu,webgl2,webasm' }, tokens: { type: 'string', default: '64' } },
});
const backends = values.gpu.split(',');
const count = Number(values.tokens);
const shots = positionals[0];
if (shots) mkdirSync(shots, { recursive: true });

/** The tokens that greedy generation gives on the reference engine: the start of texts, the prompt, the new tokens. */
async function referenceTokens() {
  const engine = createEngine();
  const model = await loadModel(fileURLToPath(new URL('../../models/nats', import.meta.url)), { engine });
  const tokens = [...withStarts(model.tokenizer, model.tokenizer.encode(PROMPT))];
  const session = model.session();
  for (let made = 0, fed = 0; made < count; made++) {
    const logits = await session.step(tokens.slice(fed));
    fed = tokens.length;
    const row = logits.subarray(logits.length - model.config.vocabSize);
    tokens.push(row.indexOf(Math.max(...row)));
  }
  const { window } = model.config.nats;
  session.dispose();
  model.dispose();
  engine.dispose();
  return { tokens, window };
}

/** Runs in the page, and reads what a person would see there. */
function shown() {
  const spans = [...document.querySelectorAll('#text .token')];
  const rows = [...document.querySelectorAll('#cache tr')]
    .map(({ children }) => [...children].map((cell) => cell.textContent));
  const select = document.getElementById('head');
  const heads = [...select.options].map(({ value }) => {
    select.value = value;
    select.dispatchEvent(new Event('change'));
    return {
      types: spans.filter(({ dataset }) => dataset.type !== undefined).map(({ dataset }) => Number(dataset.type)),
      gone: spans.filter(({ classList }) => classList.contains('gone')).length,
    };
  });
  return {
    tokens: spans.map(({ dataset }) => Number(dataset.token)),
    text: document.getElementById('text').textContent,
    rows, heads, total: document.getElementById('total').textContent,
    status: document.getElementById('status').textContent,
  };
}

async function generates(page, gpu, { tokens, window }) {
  await page.getByLabel('as seen by').selectOption('layer 1, head 0'); // before any token is shown
  await page.getByLabel('Prompt').fill(PROMPT);
  await page.getByLabel('New tokens').fill(String(count));
  await page.getByLabel('Temperature').fill('0');
  await page.getByRole('button', { name: 'Start' }).click();
  await page.waitForSelector('body:is([data-state="done"], [data-state="failed"])', { timeout: 240_000 });
  if (shots) await page.screenshot({ path: join(shots, `browser-${gpu}.png`), fullPage: true });
  assert.equal(await page.locator('#error').textContent(), '', 'the page shows no error');
  const said = await page.evaluate(shown);
  assert.match(said.status, new RegExp(`^Done: ${count} new tokens .* on ${gpu === 'wgsl' ? '' : 'gpu\\.js '}${gpu} `), 'the backend asked for');
  assert.deepEqual(said.tokens, tokens, 'the tokens are those of the reference');
  const text = Buffer.from(tokens.filter((token) => token < 256)).toString();
  assert.equal(said.text, `bos${text}`, 'the text is that of the tokens');
  const seen = tokens.length - 1; // the last token was made but not fed
  let live = 0;
  for (const [n, { types, gone }] of said.heads.entries()) {
    const [name, liveSaid, seenSaid] = said.rows[n];
    assert.equal(types.length, seen, `${name} has a type for every token fed`);
    assert.equal(Number(seenSaid), seen, `${name} has seen every token fed`);
    const { data: last } = lifetime(ndarray(Int32Array.from(types), [1, 1, seen]), { window });
    const kept = last.filter((end) => end >= seen).length;
    assert.equal(Number(liveSaid), kept, `the cache of ${name} holds what the types say`);
    assert.equal(seen - gone, kept, `the text of ${name} fades what was evicted`);
    live += kept;
  }
  assert.ok(live < seen * said.heads.length, 'something was evicted');
  assert.ok(said.total.startsWith(`${live} of ${seen * said.heads.length} entries held`), said.total);
  return `${said.status}; ${said.total}`;
}

/** Stop ends a long run, and another one can be started. */
async function stops(page) {
  await page.getByLabel('New tokens').fill('2000');
  await page.getByRole('button', { name: 'Start' }).click();
  await page.waitForSelector('.token.made[data-type]');
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.waitForSelector('body[data-state="stopped"]', { timeout: 60_000 });
  assert.ok(await page.getByRole('button', { name: 'Start' }).isEnabled(), 'Start can be pressed again');
  const said = await page.locator('#status').textContent();
  assert.match(said, /^Stopped: [1-9]\d* new tokens/);
  return said;
}

/** Runs in the page, and hides WebGPU, and WebGL2 where the page would use that instead. */
function hideGpu() {
  Object.defineProperty(Navigator.prototype, 'gpu', { get: () => undefined });
  for (const type of [HTMLCanvasElement, OffscreenCanvas]) {
    const { getContext } = type.prototype;
    type.prototype.getContext = function only2d(name, ...rest) {
      return name === '2d' ? getContext.call(this, name, ...rest) : null;
    };
  }
}

async function saysWhatIsMissing(page, what) {
  await page.waitForSelector('body[data-state="failed"]', { timeout: 60_000 });
  const error = await page.getByRole('alert').textContent();
  assert.match(error, what);
  assert.ok(!error.includes('\n'), 'one line');
  assert.ok(await page.getByRole('button', { name: 'Start' }).isDisabled(), 'there is nothing to start');
  return error;
}

async function picksTheBest(page) {
  const said = await page.locator('#status').textContent();
  assert.match(said, /^Ready: [\d,]+ weights on wgsl /);
  return said;
}

const outDir = mkdtempSync(join(tmpdir(), 'nats-page-'));
let [passed, failed, server, browser] = [0, 0];
async function check(name, url, body, before) {
  const page = await browser.newPage({ viewport: { width: 1000, height: 900 } });
  const problems = [];
  page.on('pageerror', (error) => problems.push(error.message));
  try {
    if (before) await page.addInitScript(before);
    await page.goto(url);
    await page.waitForSelector('body:is([data-state="ready"], [data-state="failed"])', { timeout: 60_000 });
    const said = await body(page);
    assert.deepEqual(problems, [], 'nothing was thrown in the page');
    passed++;
    console.log(`ok    ${name}: ${said}`);
  } catch (error) {
    failed++;
    console.log(`FAIL  ${name}: ${error.message}`);
  }
  await page.close();
}

try {
  const expected = await referenceTokens();
  await build({ root, logLevel: 'warn', build: { outDir, emptyOutDir: true } });
  server = await preview({ root, logLevel: 'warn', build: { outDir }, preview: { host: '127.0.0.1', port: 0 } });
  const url = `http://127.0.0.1:${server.httpServer.address().port}/`;
  browser = await chromium.launch({ executablePath, args: flags });
  for (const gpu of backends) {
    await check(`${gpu}: tokens of the reference`, `${url}?gpu=${gpu}`, (page) => generates(page, gpu, expected));
  }
  await check('Stop ends a run', `${url}?gpu=${backends.at(-1)}`, stops);
  await check('the page picks WebGPU by itself', url, picksTheBest);
  await check('without WebGPU there is an error line', `${url}?gpu=webgpu`, (page) => saysWhatIsMissing(page, /no WebGPU/), hideGpu);
  await check('without any GPU there is an error line', url, async (page) => {
    const said = await saysWhatIsMissing(page, /WebGL2|WebGPU/);
    if (shots) await page.screenshot({ path: join(shots, 'browser-no-gpu.png') });
    return said;
  }, hideGpu);
} finally {
  await browser?.close();
  await server?.close();
  rmSync(outDir, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
