/** In Chromium: each exercise with a right, an empty and every typical wrong answer, and what a page must keep. */
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('../..', import.meta.url));
const bundled = (contents, options) => build({
  stdin: { contents, resolveDir: `${root}src/cli/learn` }, bundle: true, write: false, minify: true, logLevel: 'error', ...options,
}).then(({ outputFiles: [{ text }] }) => text);

/** The exercises as a script, to be part of an answer, and here. */
const script = await bundled(`export { STEPS } from './steps/index.ts'`, { format: 'iife', globalName: 'solutions' });
const module = await bundled(
  `export { STEPS } from './steps/index.ts'; export { functionName } from './stubs.ts'`, { format: 'esm' });
const { STEPS, functionName } = await import(`data:text/javascript;base64,${Buffer.from(module).toString('base64')}`);

/** An answer that computes what an exercise says is right, or its n-th mistake. */
function answer(step, n) {
  const names = Object.keys(step.parameters);
  const of = `solutions.STEPS.find(({ name }) => name === '${step.name}')`;
  return `${script}\nexport function ${functionName(step, 'js')}(${names.join(', ')}) {
  return ${of}${n === undefined ? '.solve' : `.mistakes[${n}].compute`}({ ${names.join(', ')} });\n}\n`;
}

async function graded(page, name, code) {
  const section = page.locator(`#${name}`);
  await section.locator('.cm-content').fill(code);
  await section.getByRole('button', { name: 'Grade it' }).click();
  const verdict = section.locator('.verdict:is(.right, .wrong)');
  await verdict.waitFor({ timeout: 60_000 });
  return verdict.textContent();
}

const path = 'exercises/index.html';
export const checks = [
  {
    name: 'right, empty and typical wrong answers', path,
    async run(page, { assert, shot }) {
      let count = 0;
      for (const step of STEPS) {
        const section = page.locator(`#${step.name}`);
        await section.getByRole('button', { name: 'Grade it' }).click();
        await section.locator('.verdict.wrong').waitFor();
        assert.match(await section.locator('.verdict').textContent(), /^Wrong\. it throws Error: write \w+, in the call/i);
        for (const [n, { what, think }] of step.mistakes.entries()) {
          assert.ok((await graded(page, step.name, answer(step, n))).startsWith(`Wrong. You compute ${what}. ${think}`), what);
        }
        assert.match(await graded(page, step.name, answer(step)), /^Right, in all \d+ cases\.$/);
        count += 2 + step.mistakes.length;
      }
      assert.equal(await page.locator('#progress').textContent(), 'All nine are right.');
      await shot('exercises-graded');
      return `${count} answers`;
    },
  },
  {
    name: 'what stops an answer is said, and progress is kept', path,
    async run(page, { assert }) {
      assert.match(await graded(page, 'lifetime', 'export function ('), /^Wrong\. The answer does not load: SyntaxError/);
      assert.match(await graded(page, 'lifetime', 'let x;'), /^Wrong\. There is no function lifetime/);
      assert.match(await graded(page, 'lifetime', 'function lifetime() { return "7"; }'), /it returns a string, where numbers should be/);
      await graded(page, 'mask', answer(STEPS[1]));
      await page.reload();
      assert.match(await page.locator('#progress').textContent(), /^1 of 9 are right\. Next: How long a token lives\.$/);
      assert.match(await page.locator('#lifetime .cm-content').textContent(), /^function lifetime\(\) \{ return "7"; \}/);
      await page.locator('#lifetime').getByRole('button', { name: 'Begin anew' }).click();
      assert.match(await page.locator('#lifetime .cm-content').textContent(), /write lifetime/);
    },
  },
  {
    name: 'a loop that never ends is ended, and the keyboard is enough', path,
    async run(page, { assert }) {
      await page.locator('#lifetime .cm-content').fill('function lifetime() { for (;;); }');
      await page.locator('#lifetime .cm-content').press('Control+Enter');
      await page.locator('#lifetime .verdict.wrong').waitFor({ timeout: 60_000 });
      assert.match(await page.locator('#lifetime .verdict').textContent(), /did not finish in 10 s/);
      await page.locator('#lifetime .cm-content').focus();
      await page.keyboard.press('Tab');
      assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Grade it');
      await page.keyboard.press('Tab');
      await page.keyboard.press('Tab');
      await page.keyboard.press('Enter');
      assert.ok(await page.locator('#lifetime details').first().getAttribute('open') !== null, 'the first hint is open');
    },
  },
];
