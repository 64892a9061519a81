/**
 * Draws docs/trace.png: the time machine at the moment at which H2O has forgotten a pass key, in headless Chromium.
 *
 *     npm run build && node scripts/trace-picture.mjs
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { executablePath, flags } from '../examples/browser/chromium.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'natsearch-picture-'));
try {
  const page = join(folder, 'trace.html');
  const { status } = spawnSync(process.execPath, [
    'dist/cli/main.js', 'trace', '--model', 'models/base', '--adapter', 'models/adapters/keep-0.1-w32',
    '--text', 'site-src/time-machine/passkey.txt', '--watch', '54735', '--out', page,
  ], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error('natsearch trace failed');
  const browser = await chromium.launch({ executablePath, args: flags });
  const shown = await browser.newPage({ viewport: { width: 1280, height: 900 }, colorScheme: 'light' });
  await shown.goto(`${pathToFileURL(page).href}#time=361&entry=79&layer=1&head=3`);
  await shown.waitForSelector('#tm[data-state="ready"]');
  const box = await shown.locator('#tm-watched').boundingBox();
  const masks = await shown.locator('.tm-row').first().boundingBox();
  await shown.setViewportSize({ width: 1280, height: Math.ceil(masks.y + masks.height + 20) });
  await shown.evaluate(() => document.querySelectorAll('.tm-bar').forEach((bar) => (bar.style.position = 'static')));
  const height = masks.y + masks.height - box.y + 8;
  await shown.screenshot({ path: join(root, 'docs/trace.png'), clip: { x: 12, y: box.y - 8, width: 1256, height: height + 8 } });
  await browser.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
