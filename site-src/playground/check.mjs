/** What the playground must do, in Chromium; scripts/site-check.mjs runs it. */

const path = 'playground/index.html';
const ready = (page) => page.waitForSelector('#pg[data-state="ready"]');
const token = (page, n) => page.locator('.pg-token').nth(n);
const lasts = (page) => page.locator('.pg-token small:last-child').allTextContents();
const formula = (page, name) => page.locator('.pg-formula', { has: page.locator(`b:text-is("${name}")`) }).innerText();
const gradient = (page) => page.locator('#pg-gradient tbody tr').evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));
const slide = (page, id, value) => page.locator(id).fill(String(value));

async function example(page, { assert, shot }) {
  await ready(page);
  assert.deepEqual(await lasts(page), ['→∞', '→4', '→4', '→5', '→∞', '→∞', '→8', '→9']);
  assert.match(await formula(page, 'Lifetime'), /t2 = LOCAL, and the next GLOBAL ends at 4 → 4/);
  assert.match(await formula(page, 'Mask'), /\[2 ≤ 5 ≤ 4\] = 0/);
  assert.match(await formula(page, 'Relaxed mask'), /0 \+ 1 · \(1 − 0\)\(1 − 1\) \+ 0 · \[5 ≤ 4\] = 0/);
  assert.match(await formula(page, 'Cache'), /\{ 0, 4, 5 \} = 3 of 6/);
  assert.equal((await gradient(page)).length, 8);
  await shot('playground');
}

async function types(page, { assert }) {
  await ready(page);
  const before = await gradient(page);
  await token(page, 4).click(); // GLOBAL becomes LOCAL, and closes nothing any more
  assert.deepEqual(await lasts(page), ['→∞', '→∞', '→∞', '→5', '→∞', '→∞', '→8', '→9']);
  assert.notDeepEqual(await gradient(page), before);
  assert.match(await formula(page, 'Lifetime'), /t4 = LOCAL, and the next GLOBAL is not there yet → ∞/);
  await token(page, 4).focus();
  await page.keyboard.press('w');
  assert.match(await token(page, 4).getAttribute('aria-label'), /^token 4: WINDOW, last seen by query 6$/);
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('g');
  assert.match(await token(page, 5).getAttribute('aria-label'), /^token 5: GLOBAL, last seen by all later queries$/);
  assert.match(page.url(), /#types=GLLWWGWW&/);
}

async function sliders(page, { assert, shot }) {
  await ready(page);
  await slide(page, '#pg-window', 5);
  assert.equal((await lasts(page))[3], '→8');
  await slide(page, '#pg-chunk', 3);
  assert.deepEqual(await lasts(page), ['→∞', '→∞', '→∞', '→10', '→10', '→10', '→∞', '→∞'], 'the last chunk is not full');
  assert.equal((await gradient(page)).length, 3);
  await slide(page, '#pg-chunk', 1);
  for (const count of [40, 8]) {
    await slide(page, '#pg-count', count);
    assert.equal(await page.locator('.pg-token').count(), count);
    if (count === 40) await shot('playground-40');
  }
  const before = (await gradient(page))[0];
  await slide(page, '#pg-lambda', 2);
  const after = (await gradient(page))[0];
  const value = (text) => Number(text.replace('−', '-').replace('▼ ', ''));
  // Token 0, GLOBAL, pays K (N - 1) = 2 λ / N² times 7.
  assert.ok(Math.abs(value(after[2]) - value(before[2]) - 2 * 2 / 64 * 7) < 2e-3);
  await page.locator('#pg-rule').selectOption('exact');
  assert.match(page.url(), /lambda=2&rule=exact/);
  await page.getByRole('button', { name: 'The running example' }).click();
  assert.match(page.url(), /#types=GLLWGLWW&W=2&C=1&i=5&j=2&seed=1$/);
}

async function pairs(page, { assert, shot }) {
  await ready(page);
  const picture = page.locator('#pg-mask svg');
  await picture.focus();
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('ArrowUp');
  assert.match(await picture.getAttribute('aria-label'), /query 3 sees key 2, weight 0\.\d+/);
  assert.equal(await page.evaluate(() => document.activeElement.tagName), 'svg', 'the focus stays');
  const box = await picture.boundingBox();
  await picture.click({ position: { x: box.width * (1.1 + 0.5) / 9.3, y: box.height * (1.1 + 7.5) / 9.3 } });
  assert.equal(await page.locator('#pg-i').inputValue(), '7');
  assert.equal(await page.locator('#pg-j').inputValue(), '0');
  await page.locator('#pg-show').selectOption('gradient');
  assert.match(await page.locator('#pg-legend').textContent(), /raises the loss/);
  await shot('playground-gradient');
  await page.locator('#pg-show').selectOption('weights');
  await page.locator('#pg-j').fill('6');
  await page.locator('#pg-i').fill('2');
  assert.match(await formula(page, 'Attention'), /key 6 comes after query 2/);
}

async function links(page, { assert }) {
  await page.goto(`${page.url().split('#')[0]}#types=GWWWWLLGWWLL&W=4&C=2&i=9&j=3&seed=7`);
  await page.reload();
  await ready(page);
  assert.equal(await page.locator('.pg-token').count(), 12);
  assert.equal(await page.locator('#pg-window').inputValue(), '4');
  const numbers = await page.locator('#pg-formulas').innerText();
  await page.getByRole('button', { name: 'Other numbers' }).click();
  assert.match(page.url(), /seed=8/);
  assert.notEqual(await page.locator('#pg-formulas').innerText(), numbers);
  await page.getByRole('button', { name: 'Copy a link' }).click();
  await page.waitForFunction(() => document.querySelector('#pg-copied').value !== '');
  await page.evaluate(() => (location.hash = '#types=GLLWGLWWGLLWGLWWGLLWGLWWGLLWGLWWGLLWGLWWWWW&W=999&j=99&i=-4'));
  await page.waitForFunction(() => document.querySelectorAll('.pg-token').length === 40);
  assert.equal(await page.locator('#pg-j').inputValue(), '39', 'what is out of range is brought into it');
}

export const checks = [
  { name: 'the running example has the numbers of the chapter', path, run: example },
  { name: 'a click or a letter changes a type, and everything follows', path, run: types },
  { name: 'sliders for W, C, tokens and the price', path, run: sliders },
  { name: 'a query and a key are chosen by pointer and by keyboard', path, run: pairs },
  { name: 'the address keeps everything', path, run: links },
];
