/** The time machine in the site: a recording that it carries, and the shipped model to run on other texts. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build as esbuild } from 'esbuild';
import { bundle, licencesOf } from './page.mjs';

const here = (name) => new URL(name, import.meta.url);
const text = (name) => readFile(here(name), 'utf8');

export const pages = [{ title: 'Time machine', path: 'time-machine/index.html', group: 'Begin' }];

/** The files of the model that the page may run. */
const MODEL = [
  'models/base/config.json', 'models/base/model.safetensors', 'models/base/tokenizer.json',
  'models/adapters/keep-0.1-w32/adapter_config.json', 'models/adapters/keep-0.1-w32/adapter_model.safetensors',
];

/** Records the example, as `natsearch trace` would. */
export async function recordExample(root) {
  const folder = await mkdtemp(join(tmpdir(), 'natsearch-site-'));
  try {
    const { outputFiles } = await esbuild({
      entryPoints: [here('example.ts').pathname], bundle: true, write: false, format: 'esm', platform: 'node', target: 'node20',
      external: ['gpu.js', 'webgpu'], logLevel: 'error',
    });
    await writeFile(join(folder, 'example.mjs'), outputFiles[0].text);
    const { recordExample: record } = await import(pathToFileURL(join(folder, 'example.mjs')).href);
    return await record(root, await text('passkey.txt'));
  } finally {
    await rm(folder, { recursive: true });
  }
}

export async function build({ root, out, page, write }) {
  const external = ['gpu.js', 'webgpu', 'node:*'];
  const [main, live, body, form, style, trace] = await Promise.all([
    bundle('main.ts'), bundle('live.ts', { external }), text('body.html'), text('live.html'), text('style.css'), recordExample(root),
  ]);
  await write('time-machine/main.js', main);
  await write('time-machine/live.js', live);
  const scripts = ['site-src/time-machine/main.ts', 'site-src/time-machine/live.ts', 'site-src/playground/main.ts'];
  await write('time-machine/licences.txt', await licencesOf(root, scripts, { external }));
  await write('time-machine/style.css', style);
  for (const file of MODEL) await cp(root + file, `${out}/model/${file.split('/').at(-1)}`);
  await write('time-machine/index.html', page({
    path: 'time-machine/index.html', title: 'Time machine', wide: true,
    scripts: ['time-machine/main.js'], styles: ['time-machine/style.css'],
    html: `<h1>Time machine: what the cache remembers</h1>
<p>A small model reads a text, token by token, under four policies that answer the same question: which keys and values does a head
still hold? Move the slider and see what each of them keeps, what it evicts, and why. In this recording the text contains a pass key,
which is asked for at the end. Three of the caches are equally large; only one of them still knows the answer.</p>
${body}${form}<script type="application/octet-stream" id="trace">${Buffer.from(trace).toString('base64')}</script>
<p class="tm-hint">Recorded with <code>models/base</code> and its adapter <code>keep-0.1-w32</code> when this site was built, as
<code>natsearch trace --model models/base --adapter models/adapters/keep-0.1-w32 --text passkey.txt --watch 54735 --out trace.html</code>
would. Attention weights are means over the query heads of a KV head, rounded to 255ths. The program in this page contains <a href="licences.txt">packages of others</a>.</p>`,
  }));
}
