/**
 * Headless Chromium for tests that open pages. If it is not installed they are skipped, with the reason; if
 * NATS_REQUIRE names chromium they fail instead.
 * @module
 */
import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { describe } from 'vitest';

const path = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
const required = (process.env['NATS_REQUIRE'] ?? '').split(',').includes('chromium');

/** `describe` for tests that open a page. */
export function describeChromium(title: string, tests: () => void): void {
  if (existsSync(path) || required) describe(title, { timeout: 180_000 }, tests);
  else describe.skip(`${title} [there is no Chromium at ${path}: install it, or set CHROMIUM to its path]`, tests);
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.mjs': 'text/javascript', '.json': 'application/json',
};

/**
 * Serves files, each with `headers`. `roots` maps the first folder of a path to a folder on disk; '' stands for all
 * other paths.
 */
export async function serve(
  roots: Readonly<Record<string, string>>, headers: Readonly<Record<string, string>> = {},
): Promise<{ url: string; server: Server }> {
  const server = createServer(async (request, response) => {
    const asked = normalize(decodeURIComponent(new URL(request.url!, 'http://localhost').pathname)).slice(1);
    const [first] = asked.split('/');
    const [folder, rest] = first in roots ? [roots[first], asked.slice(first.length)] : [roots[''], asked];
    try {
      const bytes = await readFile(join(folder, rest));
      response.writeHead(200, { 'content-type': TYPES[extname(asked)] ?? 'application/octet-stream', ...headers }).end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, server };
}

/** Opens pages and returns the global `result` of each, awaited. An error in a page is thrown. */
export async function resultsOf(urls: readonly string[]): Promise<unknown[]> {
  const { chromium } = await import('playwright-core');
  const how: string = new URL('../../examples/browser/chromium.mjs', import.meta.url).href;
  const { executablePath, flags } = (await import(how)) as { executablePath: string; flags: string[] };
  const browser = await chromium.launch({ executablePath, args: flags });
  try {
    const results: unknown[] = [];
    for (const url of urls) {
      const page = await browser.newPage();
      const problems: string[] = [];
      page.on('pageerror', (error) => problems.push(error.message));
      await page.goto(url);
      // Playwright's own functions call eval(), which the policy of a page may forbid.
      const tools = await page.context().newCDPSession(page);
      const end = Date.now() + 60_000;
      for (let found: unknown; found === undefined;) {
        if (Date.now() > end || problems.length > 0) throw new Error(`${url}: ${problems.join('; ') || 'the page has no result'}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
        const { result } = await tools.send('Runtime.evaluate', { expression: 'globalThis.result', awaitPromise: true, returnByValue: true });
        found = result.value;
        if (found !== undefined) results.push(found);
      }
      if (problems.length > 0) throw new Error(`${url}: ${problems.join('; ')}`);
      await page.close();
    }
    return results;
  } finally {
    await browser.close();
  }
}
