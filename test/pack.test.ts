/** What is published: the lock file, the dependencies and the contents of the tarball. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { anchorsOf } from './support/markdown.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly homepage: string;
  readonly repository: { readonly url: string };
  readonly bugs: { readonly url: string };
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly scripts: Readonly<Record<string, string>>;
  readonly engines: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta: Readonly<Record<string, object>>;
}
interface Locked {
  readonly version?: string;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  readonly resolved?: string;
  readonly hasInstallScript?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
}
const json = <T>(path: string): T => JSON.parse(readFileSync(root + path, 'utf8')) as T;
const manifest = json<Manifest>('package.json');
const { packages } = json<{ packages: Record<string, Locked> }>('package-lock.json');

describe('package-lock.json', () => {
  it('agrees with package.json', () => {
    const { name, version, license, bin, engines, dependencies, devDependencies } = manifest;
    const { peerDependencies, peerDependenciesMeta } = manifest;
    expect(packages['']).toEqual({
      name, version, license, bin, engines, dependencies, devDependencies, peerDependencies, peerDependenciesMeta,
    });
    expect(peerDependenciesMeta).toEqual({ webgpu: { optional: true } });
    const wanted = Object.keys({ ...dependencies, ...devDependencies });
    expect(wanted.filter((dependency) => !(`node_modules/${dependency}` in packages))).toEqual([]);
  });

  it('names no location of packages, so that any registry can be used', () => {
    expect(Object.entries(packages).filter(([, { resolved }]) => resolved !== undefined)).toEqual([]);
  });

  it('has five packages for users, none of which runs a script when it is installed', () => {
    const published = Object.entries(packages).filter(([path, { dev, devOptional }]) => path && !dev && !devOptional);
    expect(published.map(([path]) => path)).toEqual([
      'node_modules/@huggingface/jinja', 'node_modules/@huggingface/tokenizers', 'node_modules/commander',
      'node_modules/picocolors', 'node_modules/pure-rand',
    ]);
    expect(published.filter(([, { hasInstallScript }]) => hasInstallScript)).toEqual([]);
  });
});

describe('deno.json', () => {
  it('has the version and the ranges of package.json', () => {
    const { version, imports } = json<{ version: string; imports: Record<string, string> }>('deno.json');
    expect(version).toBe(manifest.version);
    const ranges = { ...manifest.devDependencies, ...manifest.dependencies };
    const fromNpm = Object.entries(imports).filter(([, target]) => target.startsWith('npm:'));
    expect(fromNpm.length).toBeGreaterThan(0);
    for (const [name, target] of fromNpm) expect(target).toBe(`npm:${name}@${ranges[name]}`);
  });
});

describe('the tarball', () => {
  // Without scripts, since the tests have built dist/ already and others are using it.
  const [tarball] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], shell: process.platform === 'win32',
  })) as [{ size: number; unpackedSize: number; files: { path: string; mode: number }[] }];
  const paths = tarball.files.map(({ path }) => path);

  it('holds the library, the command and its worker, a model, the examples and the licence', () => {
    expect(paths).toEqual(expect.arrayContaining([
      'package.json', 'LICENSE', 'THIRD-PARTY-LICENSES', 'README.md', 'CHANGELOG.md', 'dist/index.js', 'dist/vectors.js', 'dist/cli/main.js', 'dist/cli/worker.js',
      'models/README.md', 'models/nats/config.json', 'models/nats/model.safetensors', 'examples/moby-dick.txt',
    ]));
  });

  it('holds nothing else', () => {
    const vectors = /^dist\/vectors\/small\/[\w-]+\.(safetensors|json)$/;
    const folders = /^(dist\/(?!bench\/|vectors\/).*\.(js|d\.ts)|models\/.*|examples\/.*)$/;
    const pages = /^docs\/(chapters\/)?[\w-]+\.(md|svg|png)$/;
    const files = /^(dist\/cli\/trace-page\.html|package\.json|LICENSE|THIRD-PARTY-LICENSES|(README|CHANGELOG)\.md)$/;
    expect(paths.filter((path) => ![folders, pages, files, vectors].some((known) => known.test(path)))).toEqual([]);
  });

  it('loads gpu.js only in createEngine({ gpu }), not when the library is imported', () => {
    const loaded = new Set<string>();
    const load = (name: string): void => {
      if (loaded.has(name)) return;
      loaded.add(name);
      const text = readFileSync(`${root}dist/${name}`, 'utf8');
      for (const [, path] of text.matchAll(/^(?:import|export)\b[^;]*?['"]\.\/([^'"]+)['"]/gm)) load(path);
    };
    load('index.js');
    const code = [...loaded].map((name) => readFileSync(`${root}dist/${name}`, 'utf8')).join('');
    expect(code).not.toContain('WebAssemblyKernel');
    expect(code).toMatch(/import\(['"]\.\/open-/);
    const lazy = paths.filter((path) => /^dist\/gpu-\w+-\w{8}\.js$/.test(path));
    expect(lazy.map((path) => path.slice(5, -12)).sort()).toEqual(expect.arrayContaining([
      'gpu-base', 'gpu-library', 'gpu-others', 'gpu-parser', 'gpu-webgl',
    ]));
    expect(lazy.some((path) => readFileSync(root + path, 'utf8').includes('WebAssemblyKernel'))).toBe(true);
  });

  it('stays under 20 MB', () => {
    expect(tarball.size).toBeLessThan(20e6);
    expect(tarball.unpackedSize).toBeLessThan(40e6);
  });

  it('exports the oracle, and its small suite as files that a build writes', () => {
    expect(manifest.exports).toMatchObject({
      './vectors': { types: './dist/vectors.d.ts', default: './dist/vectors.js' }, './vectors/*': './dist/vectors/small/*',
    });
    expect(manifest.scripts['build']).toMatch(/^tsup .*&& node dist\/cli\/main\.js vectors --out dist\/vectors\/small$/);
    expect(manifest.scripts['prepack']).toBe('npm run build');
  });

  it('has a command that a shell can run', () => {
    expect(manifest.bin).toEqual({ natsearch: 'dist/cli/main.js' });
    expect(existsSync(`${root}dist/cli/main.js`)).toBe(true);
    expect(readFileSync(`${root}dist/cli/main.js`, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  });

  it('holds what README.md links to, apart from links to the repository, the paper and gpu.js', () => {
    const text = readFileSync(`${root}README.md`, 'utf8');
    const links = [...text.matchAll(/\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$/gm)].map(([, one, two]) => (one ?? two));
    expect(links.length).toBeGreaterThan(20);
    const site = manifest.homepage.replace('#readme', '');
    const known = (link: string): boolean => {
      if (/^https?:/.test(link)) {
        return [`${site}/`, 'https://arxiv.org/', 'https://gpu.rocks'].some((start) => link.startsWith(start));
      }
      const [path, anchor] = link.split('#');
      return paths.includes(path) && (anchor === undefined || anchorsOf(readFileSync(root + path, 'utf8')).includes(anchor));
    };
    expect(links.filter((link) => !known(link))).toEqual([]);
    const inside = links.filter((link) => link.startsWith(`${site}/tree/main/`)).map((link) => link.slice(site.length + 11));
    expect(inside.filter((path) => !existsSync(root + path))).toEqual([]);
  });
});

describe('the location of the repository', () => {
  it('is set once, as repository.url, and npm run repository has written the rest', () => {
    const run = () => execFileSync(process.execPath, ['scripts/repository.mjs', '--check'], { cwd: root, encoding: 'utf8' });
    expect(run).not.toThrow();
    expect(manifest.bugs.url).toBe(manifest.homepage.replace('#readme', '/issues'));
    expect(readFileSync(`${root}README.md`, 'utf8')).toContain(manifest.homepage.replace('#readme', '/tree/main/'));
    expect(manifest.repository.url).toMatch(/^git\+https:\/\/.*\.git$/);
  });
});
