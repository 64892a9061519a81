/** The page that `natsearch trace` writes, in Chromium. */
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeChromium } from './support/chromium.ts';
import { deleteFolder, makeFolder, natsearch, path } from './support/cli-folder.ts';

beforeAll(makeFolder);
afterAll(deleteFolder);

interface Head {
  last: (number | null)[];
}

const trace = (...more: string[]) => natsearch('trace', '--model', 'models/nats', '--text', 'books/a.txt', ...more);

describeChromium('the page of a trace', () => {
  it('opens from a file, asks for nothing else, and shows at each moment what the JSON says', async () => {
    const how = ['--policy', 'nats', 'tova:4', 'window:3'];
    expect((await trace('--out', 'page.html', ...how)).code).toBe(0);
    const { policies } = JSON.parse((await trace('--json', ...how)).stdout) as { policies: { heads: Head[][] }[] };
    const { chromium } = await import('playwright-core');
    const { executablePath, flags } = await import('../examples/browser/chromium.mjs' as string) as { executablePath: string; flags: string[] };
    const browser = await chromium.launch({ executablePath, args: flags });
    try {
      const page = await browser.newPage();
      const problems: string[] = [];
      page.on('pageerror', ({ message }) => problems.push(message));
      page.on('request', (request) => problems.push(request.url()));
      const url = pathToFileURL(path('page.html')).href;
      for (const [time, layer] of [[5, 0], [20, 1], [31, 0]]) {
        await page.goto(`${url}#time=${time}&layer=${layer}&head=0`);
        await page.reload();
        await page.waitForSelector('#tm[data-state="ready"]');
        for (const [n, { heads }] of policies.entries()) {
          const held = heads[layer][0].last.flatMap((last, j) => (j <= time && (last ?? Infinity) > time ? [j] : []));
          const listed = await page.locator('.tm-panel').nth(n).locator('.tm-cache li').allTextContents();
          expect(listed.map((text) => Number(text.split(' ')[1]))).toEqual(held);
        }
      }
      expect(problems.filter((each) => each !== url && !each.startsWith(`${url}#`) && !each.startsWith('data:'))).toEqual([]);
    } finally {
      await browser.close();
    }
  });
});
