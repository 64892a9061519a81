/** `natsearch trace` as a process: its page, its JSON, and what it refuses; trace-page.long.test.ts opens the page. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseHTML } from 'linkedom';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeTrace } from '../src/index.ts';
import { deleteFolder, makeFolder, natsearch, path, TEXT } from './support/cli-folder.ts';

beforeAll(makeFolder);
afterAll(deleteFolder);

interface Head {
  types: (string | null)[]; last: (number | null)[]; ended: string[]; usedMostBy: { query: number }[][];
}

const trace = (...more: string[]) => natsearch('trace', '--model', 'models/nats', '--text', 'books/a.txt', ...more);

describe('natsearch trace', () => {
  it('writes one page with learned types beside policies of equal bytes, and no address in it', async () => {
    const { code, stdout } = await trace('--out', 'trace.html', '--watch', 'damp');
    expect(code).toBe(0);
    const html = readFileSync(path('trace.html'), 'utf8');
    expect(html).not.toMatch(/(src|href)="(?!data:)|https?:\/\/(?!www\.w3\.org)|@import|url\(/);
    const { document } = parseHTML(html);
    expect(document.querySelector('title')!.textContent).toBe('Time machine: nats');
    const bytes = Buffer.from(document.getElementById('trace')!.textContent, 'base64');
    const { tokens, pieces, policies, marks } = await decodeTrace(new Uint8Array(bytes));
    expect(tokens).toHaveLength(32); // as many as it was trained for
    expect(pieces.slice(1).join('')).toBe(TEXT.slice(0, 31));
    expect(policies.map(({ policy }) => policy.replace(/:\d+/, ':N'))).toEqual(['full', 'window:N', 'h2o:N', 'nats']);
    expect(marks).toEqual([{ name: 'damp', begin: 1 + TEXT.indexOf('damp'), end: 5 + TEXT.indexOf('damp') }]);
    expect(stdout).toMatch(/^nats: 32 tokens, 2 layers of 1 KV heads, on /);
    expect(stdout).toMatch(/\nnats .*(forgotten at \d+|held)\n/);
    expect(stdout).toMatch(/trace\.html plays it back in any browser\n$/);
  });

  it('prints as JSON what ended every entry, without writing a page', async () => {
    const { code, stdout } = await trace('--json', '--policy', 'window:2', 'tova:3', '--tokens', '9', '--layers', '1', '--watch', 'It');
    expect(code).toBe(0);
    const { tokens, layers, policies } = JSON.parse(stdout) as {
      tokens: number[]; layers: number[]; policies: { policy: string; watched: object[]; heads: Head[][] }[];
    };
    expect([tokens.length, layers]).toEqual([9, [1]]);
    const [[[window]], [[tova]]] = policies.map(({ heads }) => heads);
    expect(window.ended.slice(0, 7)).toEqual(new Array(7).fill('WINDOW, out of reach after 2 queries'));
    expect(window.last).toEqual([2, 3, 4, 5, 6, 7, 8, null, null]);
    expect(tova.types).toEqual(new Array(9).fill(null));
    expect(tova.last.filter((last) => last === null)).toHaveLength(3);
    expect(tova.ended).toContain('evicted by TOVA: least attention from the newest query');
    expect(window.usedMostBy[8]).toEqual([{ query: 8, weight: expect.any(Number) as number }]);
    expect(policies[0].watched).toEqual([{ name: 'It', begin: 1, end: 3, forgottenAt: 4 }]);
  });

  it('traces a model without learned types beside a window', async () => {
    const { code, stdout } = await natsearch('trace', '--model', 'models/full', '--text', 'books/a.txt', '--json');
    expect(code).toBe(0);
    expect((JSON.parse(stdout) as { policies: { policy: string }[] }).policies.map(({ policy }) => policy)).toEqual(['full', 'window:4']);
  });

  it('overwrites an earlier trace, but nothing else', async () => {
    writeFileSync(path('notes.html'), '<p>mine</p>');
    const refused = await trace('--out', 'notes.html', '--policy', 'full');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/notes\.html exists and is no earlier trace: choose another name, or pass --force/);
    expect(readFileSync(path('notes.html'), 'utf8')).toBe('<p>mine</p>');
    for (const more of [[], ['--layers', '0']]) expect((await trace('--out', 'again.html', '--policy', 'full', ...more)).code).toBe(0);
  });

  it.each<[string, string[], number, RegExp]>([
    ['neither a page nor JSON', [], 2, /there is nothing to write: pass --out FILE, or --json/],
    ['layers that are no numbers', ['--json', '--layers', 'all'], 2, /It must be numbers of layers, such as 0,3/],
    ['a layer that is not there', ['--json', '--layers', '2'], 1, /layer 2: the model has layers 0 to 1/],
    ['a passage that is not in the text', ['--json', '--watch', 'Moby'], 1, /tokens that are read do not contain "Moby"/],
    ['a page that would be too large, before it reads', ['--out', 'large.html', '--max-size', '0.0001'], 1, /about 0\.0 MB, and the limit is 0\.0 MB: read fewer tokens/],
  ])('refuses %s', async (_, more, code, message) => {
    const result = await trace(...more);
    expect(result.stderr).toMatch(message);
    expect(result.code).toBe(code);
    expect(existsSync(path('large.html'))).toBe(false);
  });
});
