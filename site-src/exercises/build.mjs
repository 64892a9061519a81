/** The page of exercises: the texts of `natsearch learn`, each with an editor whose answer is graded in the browser. */
import { mkdir } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { build as esbuild } from 'esbuild';
import { coloured, escaped } from '../../scripts/site/markdown.mjs';

export const pages = [{ title: 'Exercises, graded here', path: 'exercises/index.html' }];

/** The exercises, which are TypeScript. */
async function exercises(root) {
  const outfile = `${root}node_modules/.cache/natsearch-exercises.mjs`;
  await mkdir(`${root}node_modules/.cache`, { recursive: true });
  await esbuild({
    stdin: {
      contents: `export { STEPS } from './steps/index.ts'; export { stub } from './stubs.ts';`,
      resolveDir: `${root}src/cli/learn`,
    },
    bundle: true, format: 'esm', outfile, logLevel: 'error',
  });
  return import(`${pathToFileURL(outfile).href}?${Date.now()}`);
}

function section(step, n, stub) {
  const { name, title, task, chapter, hints } = step;
  const shown = hints.map((hint, h) => `<details><summary>Hint ${h + 1}</summary><p>${escaped(hint)}</p></details>`).join('\n');
  const rows = stub(step, 'js').split('\n').length + 6;
  const python = `<pre tabindex="0" data-language="py"><code>${coloured(stub(step, 'py'), 'py')}</code></pre>`;
  return `<section id="${name}" class="exercise" aria-labelledby="${name}-title">
<h2 id="${name}-title">${n + 1}. ${escaped(title)} <span class="mark" role="status"></span></h2>
<p>${escaped(task)}</p>
<p>Taught in <a href="../chapters/${chapter}.html">chapter ${Number(chapter.slice(0, 2))}</a>.</p>
<div class="editor"><textarea rows="${rows}" spellcheck="false" aria-label="Your answer to ${escaped(title)}, in JavaScript">${escaped(stub(step, 'js'))}</textarea></div>
<p class="buttons"><button type="button" class="primary run">Grade it</button> <button type="button" class="reset">Begin anew</button></p>
<p class="verdict" role="status" aria-live="polite"></p>
${shown}
<details><summary>In Python</summary><p><code>natsearch learn ${name} --file mine.py</code> grades this, with NumPy arrays:</p>
${python}</details>
</section>`;
}

export async function build({ root, page, bundle, write }) {
  const { STEPS, stub } = await exercises(root);
  const here = `${root}site-src/exercises`;
  const worker = await bundle(`${here}/worker.js`);
  await write('exercises/main.js', await bundle(`${here}/main.js`, { define: { WORKER: JSON.stringify(worker) } }));
  const list = STEPS.map(({ name, title }) => `<li><a href="#${name}">${escaped(title)}</a> <span class="mark" data-step="${name}"></span></li>`);
  await write('exercises/index.html', page({
    path: 'exercises/index.html', title: 'Write it yourself: nine exercises', scripts: ['exercises/main.js'],
    description: 'Nine exercises, from the lifetime of one token to a cache that forgets, graded in your browser.',
    html: `<h1>Write it yourself: nine exercises</h1>
<p>Each is a function of lists of numbers, for one head. Your answer runs in a worker of this browser, for at most ten seconds, and is compared with numbers of float64, to
1e-9. Nothing leaves this page; what you write is kept in this browser. <kbd>Ctrl</kbd> + <kbd>Enter</kbd> grades too. In your own editor, in
TypeScript or NumPy: <a href="../learn.html"><code>natsearch learn</code></a>.</p>
<noscript><p>Grading here needs JavaScript; <code>natsearch learn</code> does not need a browser.</p></noscript>
<ol class="progress">${list.join('\n')}</ol>
<p id="progress" role="status"></p>
${STEPS.map((step, n) => section(step, n, stub)).join('\n')}`,
  }));
}
