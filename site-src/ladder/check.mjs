/** In Chromium: the ladder is timed when one asks, and its rungs agree. */
export const checks = [{
  name: 'the rungs are timed, and agree', path: 'chapters/12-ladder.html',
  async run(page, { assert, shot }) {
    assert.equal(await page.locator('#ladder tbody tr').count(), 0, 'nothing runs before one asks');
    await page.getByLabel('Tokens').selectOption('256');
    await page.getByRole('button', { name: 'Time the rungs' }).click();
    await page.getByText(/The middle of 5 runs each/).waitFor({ timeout: 120_000 });
    const rows = await page.locator('#ladder tbody tr').allInnerTexts();
    assert.equal(rows.length, 5);
    for (const [n, row] of rows.entries()) {
      const [, ms, difference] = row.split('\t');
      assert.ok(Number(ms) > 0, row);
      // The budgets of test/ladder.test.ts for 256 tokens of size 32, rounded up.
      if (n > 0) assert.ok(Number(difference) < (n === 4 ? 2e-4 : 1e-12), row);
    }
    await shot('ladder-timed');
    return rows.map((row) => row.split('\t')[1]).join(', ');
  },
}];
