/** The imports that the design allows, and what no file of the repository may name. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { cycles, type Edge, forbidden, importsOf } from './support/import-graph.ts';
import { SOURCES, textOf } from './support/sources.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

const graph = SOURCES.flatMap((path) => importsOf(path, textOf(path)));

describe('the sources', () => {
  it('import only what the design allows', () => {
    expect(graph.length).toBeGreaterThan(50);
    expect(forbidden(graph)).toEqual([]);
  });

  it('have no cycles, not even of types', () => {
    expect(cycles(graph)).toEqual([]);
  });

  it('import files that exist, by their full names', () => {
    const files = graph.filter(({ to }) => /^(src|reference|gpu)\//.test(to));
    expect(files.filter(({ to }) => !SOURCES.includes(to))).toEqual([]);
  });
});

const edge = (from: string, to: string, kind: Edge['kind'] = 'static'): Edge => ({ from, to, kind });

describe('the checker', () => {
  it.each([
    edge('src/core/tensor.ts', 'src/formats/bytes.ts'),
    edge('src/core/engine.ts', 'reference/index.ts', 'type'),
    edge('src/formats/safetensors.ts', 'src/files/files.ts', 'lazy'),
    edge('src/formats/sealed.ts', 'src/model/session/session.ts', 'type'),
    edge('src/files/files.ts', 'src/model/config/config.ts', 'type'),
    edge('src/oracle/cases/solve.ts', 'src/model/decoder.ts'),
    edge('src/oracle/judge/verify.ts', 'src/files/files.ts'),
    edge('src/model/model.ts', 'src/train/trainer.ts', 'type'),
    edge('src/train/trainer.ts', 'src/evaluate/evaluate.ts'),
    edge('gpu/device/cache-book.ts', 'gpu/gpujs/cache.ts', 'type'),
    edge('gpu/device/buffer-pool.ts', 'gpu.js'),
    edge('gpu/device/reads.ts', '(computed)', 'lazy'),
    edge('gpu/gpujs/cache.ts', 'src/formats/rounding.ts'),
    edge('reference/mask.ts', 'src/formats/rounding.ts'),
    edge('reference/mask.ts', 'src/model/config/config.ts', 'type'),
    edge('reference/mask.ts', 'gpu/gpujs/mask.ts'),
    edge('reference/mask.ts', 'mathjs'),
    edge('gpu/gpujs/mask.ts', 'reference/mask.ts'),
    edge('gpu/gpujs/mask.ts', 'reference/mask.ts', 'type'),
    edge('gpu/gpujs/mask.ts', 'gpu.js'),
    edge('gpu/gpujs/mask.ts', '(computed)', 'lazy'),
    edge('src/model/model.ts', 'reference/index.ts'),
    edge('src/model/model.ts', 'src/engines.ts', 'lazy'),
    edge('src/train/trainer.ts', 'reference/price.ts', 'type'),
    edge('src/train/trainer.ts', 'gpu/gpujs/index.ts', 'lazy'),
    edge('src/evaluate/evaluate.ts', 'src/engines.ts'),
    edge('src/evaluate/evaluate.ts', 'src/cli/terminal.ts', 'type'),
    edge('src/formats/safetensors.ts', 'src/index.ts'),
    edge('src/formats/safetensors.ts', 'node:fs'),
    edge('src/files/files.ts', 'node:fs/promises', 'lazy'),
    edge('src/files/builtin.ts', 'node:fs'),
    edge('src/formats/safetensors.ts', 'fs/promises', 'lazy'),
    edge('src/model/model.ts', 'node:path', 'type'),
    edge('reference/mask.ts', 'node:os'),
    edge('src/engines.ts', 'gpu/gpujs/index.ts'),
    edge('src/engines.ts', 'src/model/model.ts'),
    edge('src/index.ts', 'reference/index.ts'),
    edge('src/index.ts', 'src/cli/train.ts'),
    edge('src/cli/train.ts', 'reference/index.ts'),
    edge('src/model/model.ts', 'commander'),
    edge('src/cli/train.ts', 'mathjs'),
    edge('src/cli/train.ts', 'test/support/draw.ts'),
    edge('src/model/model.ts', '(computed)', 'lazy'),
    edge('scripts/other.ts', 'src/core/tensor.ts'),
  ])('forbids $from -> $to ($kind)', (bad) => {
    expect(forbidden([bad])).toEqual([expect.stringContaining(`${bad.from} -> ${bad.to} (${bad.kind}): `)]);
  });

  it.each([
    edge('src/core/shape.ts', 'src/core/errors.ts'),
    edge('src/core/engine.ts', 'src/core/tensor.ts', 'type'),
    edge('src/core/random.ts', 'pure-rand/distribution/uniformInt'),
    edge('reference/index.ts', 'src/core/engine.ts', 'type'),
    edge('reference/index.ts', 'reference/mask.ts'),
    edge('gpu/gpujs/cache.ts', 'gpu/device/cache-book.ts'),
    edge('gpu/device/adapter.ts', '(computed)', 'lazy'),
    edge('src/engines.ts', 'reference/index.ts'),
    edge('src/engines.ts', 'gpu/gpujs/index.ts', 'lazy'),
    edge('src/engines.ts', 'gpu/gpujs/index.ts', 'type'),
    edge('src/cli/train.ts', 'src/engines.ts'),
    edge('src/cli/train.ts', 'node:os'),
    edge('src/cli/main.ts', 'commander'),
    edge('src/files/builtin.ts', 'node:fs/promises', 'type'),
    edge('src/model/model.ts', 'src/core/engine.ts', 'type'),
  ])('allows $from -> $to ($kind)', (good) => {
    expect(forbidden([good])).toEqual([]);
  });

  it('reads every form of import', () => {
    const text = `
      import './a.ts'; import b from './b.ts'; import type { C } from './c.ts'; import { type D } from './d.ts';
      export * from './e.ts'; export type { F } from './f.ts'; export { g } from '../g.ts';
      const h = await import('./h.ts'); type I = typeof import('./i.ts'); await import(h.name);
      // import './comment.ts'
      const text = "import './string.ts'";
      import fs from 'node:fs';`;
    expect(importsOf('src/x/file.ts', text)).toEqual([
      edge('src/x/file.ts', 'src/x/a.ts'), edge('src/x/file.ts', 'src/x/b.ts'),
      edge('src/x/file.ts', 'src/x/c.ts', 'type'), edge('src/x/file.ts', 'src/x/d.ts'),
      edge('src/x/file.ts', 'src/x/e.ts'), edge('src/x/file.ts', 'src/x/f.ts', 'type'),
      edge('src/x/file.ts', 'src/g.ts'), edge('src/x/file.ts', 'src/x/h.ts', 'lazy'),
      edge('src/x/file.ts', 'src/x/i.ts', 'type'), edge('src/x/file.ts', '(computed)', 'lazy'),
      edge('src/x/file.ts', 'node:fs'),
    ]);
  });

  it('finds cycles of any length, including those through types only', () => {
    const chain = [edge('a', 'b'), edge('b', 'c', 'lazy'), edge('a', 'c'), edge('z', 'a')];
    expect(cycles(chain)).toEqual([]);
    expect(cycles([...chain, edge('c', 'a', 'type')])).toEqual(['a -> b -> c -> a']);
    expect(cycles([...chain, edge('c', 'a')])).toEqual(['a -> b -> c -> a']);
    expect(cycles([edge('a', 'a')])).toEqual(['a -> a']);
  });
});

describe('every file of the repository', () => {
  it('names no folder of a particular machine and no registry', () => {
    const git = (...args: string[]) => spawnSync('git', args, { cwd: root, encoding: 'utf8' });
    expect(git('ls-files').stdout.split('\n').length).toBeGreaterThan(50);
    // Assembled from parts, so that this file does not name them.
    const names = ['work', 'root', 'home'].map((folder) => `/${folder}/`).concat(['registry', 'npmjs'].join('.'));
    const { status, stdout, stderr } = git('grep', '--untracked', '-lF', ...names.flatMap((name) => ['-e', name]));
    expect({ status, stdout, stderr }).toEqual({ status: 1, stdout: '', stderr: '' }); // 1 means that nothing was found
  });
});
