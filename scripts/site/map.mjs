/** Which files of the repository are on the site, and where. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { posix } from 'node:path';

/** The pages in the order of the navigation. The first heading of a page is its title, unless one is given. */
export function groupsOf(root) {
  const title = (source) => /^# (.+)$/m.exec(readFileSync(root + source, 'utf8'))?.[1].replaceAll('`', '') ?? source;
  const page = (source, path, short) => ({ source, path, title: short ?? title(source) });
  const docs = (name, short) => page(`docs/${name}.md`, `${name}.html`, short);
  const folder = (name) => (existsSync(`${root}docs/${name}`) ? readdirSync(`${root}docs/${name}`).sort() : [])
    .filter((file) => file.endsWith('.md') && !file.endsWith('.template.md'))
    .map((file) => page(`docs/${name}/${file}`, `${name}/${file.replace(/\.md$/, '.html')}`));
  const shown = [
    {
      name: 'Begin', pages: [page('docs/README.md', 'index.html', 'Start'), docs('learn'), page('README.md', 'readme.html', 'The project')],
    },
    { name: 'Chapters', row: true, pages: folder('chapters') },
    {
      name: 'Reference', pages: [
        docs('algorithm', 'The algorithm, exactly'), docs('policies'), docs('vectors'), docs('oracle'), docs('architecture'),
        docs('kernels'),
      ],
    },
    {
      name: 'Models and measurements', pages: [
        docs('training'), docs('finetuning'), docs('models'), page('models/README.md', 'shipped-models.html', 'The shipped models'),
        docs('recall'), docs('arena'), docs('benchmarks'), docs('benchmarks-gpu'), docs('stacks'),
      ],
    },
  ];
  const known = new Set(shown.flatMap(({ pages }) => pages.map(({ source }) => source)));
  const rest = readdirSync(`${root}docs`).filter((name) => name.endsWith('.md') && !name.endsWith('.template.md'))
    .map((name) => name.replace(/\.md$/, '')).filter((name) => !known.has(`docs/${name}.md`)).map((name) => docs(name));
  const more = [
    page('CONTRIBUTING.md', 'contributing.html', 'Contributing'), page('CHANGELOG.md', 'changelog.html', 'Changes'),
    page('examples/README.md', 'examples.html'), page('examples/browser/README.md', 'browser-example.html', 'The browser example'),
  ];
  return [...shown, { name: 'More', pages: [...rest, ...more] }].filter(({ pages }) => pages.length > 0);
}

/**
 * Finds where links lead.
 *
 * @param {string} root The repository, with a slash at the end.
 * @param {object[]} pages The pages, with `source` and `path`.
 * @param {string} repository The address whose `tree/main/` and `blob/main/` are files here.
 * @returns A function of the page's source and a target, which gives a path in the site, or an address elsewhere.
 *   `wanted` collects sources and figures that have to be there.
 */
export function linker(root, pages, repository) {
  const bySource = new Map(pages.map(({ source, path }) => [source, path]));
  const wanted = new Map();
  const resolve = (source, target) => {
    const inside = /^(?:tree|blob)\/main\/?(.*)$/.exec(target.startsWith(`${repository}/`) ? target.slice(repository.length + 1) : '');
    if (!inside && /^[a-z]+:/i.test(target)) return { away: target };
    const [, path, hash] = /^([^#]*)(#.*)?$/.exec(inside ? inside[1] : target);
    const file = path === '' ? source : inside ? path : posix.normalize(posix.join(posix.dirname(source), path));
    if (bySource.has(file)) return { path: bySource.get(file), hash };
    if (!existsSync(root + file)) throw new Error(`${source} links to ${target}, which is no file`);
    if (/\.(svg|png|jpg)$/.test(file)) wanted.set(file, `figures/${file.replaceAll('/', '-')}`);
    else if (statSync(root + file).isDirectory()) wanted.set(file.replace(/\/$/, ''), `source/${file.replace(/\/$/, '')}/index.html`);
    else wanted.set(file, `source/${file}.html`);
    return { path: wanted.get(file.replace(/\/$/, '')), hash: wanted.get(file)?.startsWith('source/') ? undefined : hash };
  };
  return { wanted, resolve };
}
