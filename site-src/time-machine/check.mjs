/** What the time machine must do, in Chromium; scripts/site-check.mjs runs it. */

const path = 'time-machine/index.html';
const ready = (page) => page.waitForSelector('#tm[data-state="ready"]', { timeout: 30_000 });
const now = (page) => page.locator('#tm-now').textContent();
const panel = (page, policy) => page.locator(`.tm-panel[aria-label^="${policy}"]`);
const time = async (page) => Number(await page.locator('#tm-time').inputValue());

/** Positions that a panel's cache lists, and those that its text shows as held. */
const listed = (page, policy) => panel(page, policy).locator('.tm-cache li').evaluateAll((all) => all.map((one) => Number(one.dataset.position)));
const held = (page, policy) => panel(page, policy).locator('.tm-text .tm-token').evaluateAll((all) =>
  all.filter((one) => one.dataset.state === 'held' || one.dataset.state === 'new').map((one) => Number(one.dataset.position)));

async function slides(page, { assert, shot }) {
  await ready(page);
  await page.locator('#tm-time').fill('200');
  assert.match(await now(page), /^200 of 447: /);
  for (const policy of ['full', 'window', 'h2o', 'nats']) {
    assert.deepEqual(await held(page, policy), await listed(page, policy), `${policy}: the text and the list of the cache agree`);
  }
  assert.deepEqual(await listed(page, 'full'), Array.from({ length: 201 }, (_, j) => j));
  assert.deepEqual(await listed(page, 'window'), Array.from({ length: 42 }, (_, n) => 159 + n));
  assert.equal((await listed(page, 'h2o')).length, 42);
  await shot('time-machine');
}

async function plays(page, { assert }) {
  await ready(page);
  await page.locator('#tm-time').fill('100');
  await page.locator('#tm-speed').selectOption('120');
  await page.getByRole('button', { name: 'Play' }).click();
  await page.waitForFunction(() => document.querySelector('#tm-time').valueAsNumber > 110);
  await page.getByRole('button', { name: 'Pause' }).click();
  const at = await time(page);
  await page.waitForTimeout(150);
  assert.equal(await time(page), at, 'it stands still');
  await page.locator('h1').click();
  for (const [key, steps] of [['ArrowRight', 1], ['ArrowLeft', -1], ['PageDown', 20], ['PageUp', -20]]) {
    const before = await time(page);
    await page.keyboard.press(key);
    assert.equal(await time(page), before + steps, key);
  }
  await page.keyboard.press('End');
  assert.equal(await time(page), 447);
  await page.keyboard.press('Home');
  assert.equal(await time(page), 0);
  await page.keyboard.press(' ');
  await page.waitForFunction(() => document.querySelector('#tm-time').valueAsNumber > 3);
  await page.keyboard.press(' ');
  await page.getByRole('button', { name: 'one token forth' }).click();
  assert.equal(await page.getByRole('button', { name: 'Play' }).count(), 1, 'space paused it');
}

async function explains(page, { assert, shot }) {
  await ready(page);
  const life = (policy) => page.locator(`.tm-life[aria-label*="under ${policy}"]`).innerText();
  await page.locator('#tm-time').fill('300');
  await panel(page, 'window').locator('.tm-text .tm-token').nth(80).click();
  assert.equal(await page.locator('#tm-entry').inputValue(), '80');
  assert.match(await life('window'), /WINDOW, out of reach after 42 queries; last seen by\s+query 122/);
  assert.match(await life('full'), /never forgotten/);
  assert.match(await life('nats'), /scores GLOBAL -?[\d.]+ \([\d.]+%\), LOCAL/);
  assert.match(await life('h2o'), /evicted by H2O: least attention; last seen by\s+query \d+/);
  assert.match(await life('nats'), /used most by\s+query \d+/);
  await page.locator('.tm-life[aria-label*="under window"]').getByRole('button', { name: 'query 122' }).click();
  assert.equal(await time(page), 122);
  await page.locator('#tm-entry').fill('81');
  await page.getByRole('button', { name: 'Go to its birth' }).click();
  assert.equal(await time(page), 81);
  await panel(page, 'nats').locator('.tm-text').focus();
  await page.keyboard.press('ArrowLeft');
  assert.equal(await page.locator('#tm-entry').inputValue(), '80', 'arrow keys inside a text choose an entry');
  assert.equal(await time(page), 81, 'and leave the time alone');
  await page.locator('.tm-life').last().locator('.tm-cell').first().click();
  assert.equal(await page.locator('#tm-head').inputValue(), '0 0', 'a square chooses its head');
  await panel(page, 'full').locator('.tm-mask').click({ position: { x: 20, y: 100 } });
  assert.ok(await time(page) > 81 && Number(await page.locator('#tm-entry').inputValue()) < 80, 'a place of the mask is a query and a key');
  await shot('time-machine-entry');
}

async function forgets(page, { assert }) {
  await ready(page);
  const events = page.locator('.tm-events');
  const said = await events.innerText();
  assert.match(said, /window:42 has forgotten it/);
  assert.match(said, /h2o:\d+ has forgotten it/);
  assert.match(said, /Some of it is held to the end by full, nats/);
  const answers = /full 9\d\.\d%, window:42 1 in ([\d,]+), h2o:\d+ 1 in ([\d,]+), nats (9\d\.\d)%/;
  const [, window, h2o, nats] = answers.exec(said) ?? [];
  assert.ok(nats && [window, h2o].every((chance) => Number(chance.replaceAll(',', '')) > 10_000), said);
  const moment = events.locator('li', { hasText: 'window:42 has forgotten' });
  const at = Number(/Token (\d+)/.exec(await moment.innerText())[1]);
  await moment.getByRole('button').click();
  assert.equal(await time(page), at);
  assert.match(await page.locator('.tm-key').innerText(), /window:42 0\.0%/);
  await page.keyboard.press('Escape');
  await page.locator('#tm-back').click();
  assert.doesNotMatch(await page.locator('.tm-key').innerText(), /window:42 0\.0%/, 'a token before, some of it is held');
}

async function remembers(page, { assert }) {
  await ready(page);
  await page.locator('#tm-head').selectOption('2 1');
  await page.locator('#tm-time').fill('77');
  await page.waitForFunction(() => location.hash.includes('time=77') && location.hash.includes('layer=2&head=1'));
  await page.reload();
  await ready(page);
  assert.match(await now(page), /^77 of /);
  assert.equal(await page.locator('#tm-head').inputValue(), '2 1');
}

async function runsTheModel(page, { assert, shot }) {
  await ready(page);
  const served = page.url().startsWith('http');
  await page.locator('#tm-live textarea').fill('The pass key is 30816. Four score and seven years ago. The pass key is 30816.');
  await page.locator('#tm-live select').selectOption('wasm');
  await page.getByRole('button', { name: 'Run the model' }).click();
  await page.waitForSelector(`#tm-live[data-state="${served ? 'done' : 'failed'}"]`, { timeout: 120_000 });
  const said = await page.locator('#tm-status').textContent();
  if (!served) return assert.match(said, /Serve the site/);
  assert.match(said, /recorded on wasm float32/);
  assert.match(await page.locator('#tm-about').textContent(), /: 3\d tokens, 4 layers of 4 KV heads/);
  assert.match(await page.locator('.tm-mark').innerText(), /“30816”/);
  assert.equal(await page.locator('.tm-panel').count(), 4);
  await page.locator('#tm-time').fill('20');
  assert.match(await now(page), /^20 of 3\d: /);
  await page.locator('#tm-live textarea').fill('word '.repeat(900));
  await page.getByRole('button', { name: 'Run the model' }).click();
  await page.waitForFunction(() => /at most 700/.test(document.querySelector('#tm-status').value));
  await shot('time-machine-live');
}

async function picksAnEngine(page, { assert }) {
  await ready(page);
  if (!page.url().startsWith('http')) return '';
  await page.locator('#tm-live textarea').fill('The pass key is 30.');
  await page.locator('#tm-live input').fill('30');
  await page.getByRole('button', { name: 'Run the model' }).click();
  await page.waitForSelector('#tm-live:is([data-state="done"], [data-state="failed"])', { timeout: 120_000 });
  const said = await page.locator('#tm-status').textContent();
  assert.match(said, /recorded on (wgsl|wasm)/);
  assert.match((await page.locator('.tm-panel h2').allTextContents()).join(' '), /^full .* window:\d+ .* h2o:\d+ .* nats /);
  return said;
}

async function stops(page, { assert }) {
  await ready(page);
  if (!page.url().startsWith('http')) return;
  await page.locator('#tm-live select').selectOption('wasm');
  await page.getByRole('button', { name: 'Run the model' }).click();
  await page.waitForFunction(() => /^Token [1-9]/.test(document.querySelector('#tm-status').value), undefined, { timeout: 60_000 });
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.waitForSelector('#tm-live[data-state="stopped"]');
  assert.match(await page.locator('#tm-about').textContent(), /448 tokens/, 'the recording is still there');
}

export const checks = [
  { name: 'the slider shows what each cache holds', path, run: slides },
  { name: 'play, pause and keys move through time', path, run: plays },
  { name: 'an entry tells its life', path, run: explains },
  { name: 'the pass key is forgotten by some', path, run: forgets },
  { name: 'the address keeps the moment', path, run: remembers },
  { name: 'the model runs in the page', path, run: runsTheModel },
  { name: 'the model runs on WebGPU, else on WebAssembly', path, run: picksAnEngine },
  { name: 'a run can be stopped', path, run: stops },
];
