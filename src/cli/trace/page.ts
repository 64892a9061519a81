/**
 * Puts a trace into the page that plays it back: the time machine, which the build has bundled into one file.
 * @module
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { StorageError } from '../../core/errors.ts';
import { packageRoot } from '../paths.ts';

/** What pages of traces begin with, to be told from other files. */
export const PAGE_MARK = '<!-- natsearch trace -->';

/** The whole page, which needs no other file and no network. */
export function tracePage(trace: Uint8Array, title: string): string {
  const path = join(packageRoot(), 'dist', 'cli', 'trace-page.html');
  let shell: string;
  try {
    shell = readFileSync(path, 'utf8');
  } catch {
    throw new StorageError(`the page that plays traces back is not built (${path}): run npm run build`);
  }
  const named = title.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
  return shell
    .replace('<title>Time machine</title>', () => `<title>Time machine: ${named}</title>`)
    .replace('<!-- trace -->', () => `<script type="application/octet-stream" id="trace">${Buffer.from(trace).toString('base64')}</script>`);
}
