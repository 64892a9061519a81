/** The playground in the site. */
import { readFile } from 'node:fs/promises';

const here = (name) => new URL(name, import.meta.url);
const text = (name) => readFile(here(name), 'utf8');

export const pages = [{ title: 'Playground', path: 'playground/index.html', group: 'Begin' }];

export async function build({ page, bundle, write }) {
  const machine = await text('../time-machine/style.css');
  await write('playground/main.js', await bundle(here('main.ts').pathname));
  await write('playground/style.css', machine + await text('style.css'));
  await write('playground/index.html', page({
    path: 'playground/index.html', title: 'Playground', wide: true,
    scripts: ['playground/main.js'], styles: ['playground/style.css'],
    html: `<h1>Playground: types, and all that follows from them</h1>
<p>Eight to forty tokens of one head. Their types say which queries see a key, what the cache holds, and, run backwards, how the loss
would change if a token were of another type. Queries, keys and values are random numbers with one decimal, in heads of size 2, so that
every product can be written out; everything is computed in this page by the project's float64 reference.</p>
${await text('body.html')}<p class="pg-hint">The random numbers come from a package of others: <a href="../time-machine/licences.txt">licences</a>.</p>`,
  }));
}
