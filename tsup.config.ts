import { existsSync, rmSync, writeFileSync } from 'node:fs';
import type { Options } from 'tsup';
import { tracePage } from './site-src/time-machine/page.mjs';
import { gpuJsInParts } from './scripts/gpu-js-parts.ts';

/** Output under dist/ by source. A file that a checkout does not have is left out. */
const entries = (all: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(all).filter(([, source]) => existsSync(source)));

const common: Options = {
  format: 'esm',
  target: ['es2022', 'node20'],
  // Neutral: what index.ts shares with the command touches no Node built-in (test/architecture.test.ts).
  platform: 'neutral',
  external: [/^node:/],
  // gpu.js travels inside, in chunks that only import() loads: as a dependency it would bring 84 MB that nothing uses,
  // and overrides do not reach a user's install.
  // So does sucrase, which erases the types of what students of `natsearch learn` write, where Node does not.
  noExternal: ['gpu.js', /^gpu-js:/, 'sucrase'],
  esbuildPlugins: [gpuJsInParts()],
  removeNodeProtocol: false, // Deno knows built-ins only by `node:`
  sourcemap: true,
  clean: false, // below: two builds at once must not delete each other's files
};

/**
 * What the declarations need of the places where they are read, for those that have no DOM and no types of Node: a
 * global's own type where there is one, else as much of it as the library uses.
 */
const declarations = `/// <reference lib="esnext.disposable" />
type AbortSignal = typeof globalThis extends { AbortSignal: { prototype: infer Known } } ? Known : {
    readonly aborted: boolean;
    readonly reason: unknown;
    throwIfAborted(): void;
    addEventListener(type: 'abort', listener: () => void): void;
    removeEventListener(type: 'abort', listener: () => void): void;
};
type URL = typeof globalThis extends { URL: { prototype: infer Known } } ? Known : {
    readonly href: string;
    readonly protocol: string;
    readonly pathname: string;
};`;

const library = entries({ index: 'src/index.ts', vectors: 'src/vectors.ts' });
/**
 * Chunks of their own, beside what is exported: bundlers drop whole files, so who imports `lifetime` alone should find
 * it in one that imports nothing lazily.
 */
const parts = entries({
  'parts/lifetime': 'reference/public/lifetime.ts', 'parts/reference': 'reference/index.ts', 'parts/engines': 'src/engines.ts',
  'parts/load': 'src/load.ts',
});
const programs = entries({
  'cli/main': 'src/cli/main.ts',
  'cli/worker': 'src/cli/worker.ts', // what worker threads start from
  'cli/learn-worker': 'src/cli/learn/worker.ts',
  'cli/verify-worker': 'src/cli/verify-worker.ts',
  'cli/vectors-worker': 'src/cli/vectors-worker.ts',
  'bench/bench': 'bench/bench.ts',
  'bench/stacks': 'bench/stacks.ts',
  'bench/kernels': 'bench/wgsl/main.ts',
  'bench/token': 'bench/wgsl/token.ts',
  'bench/half': 'bench/wgsl/half.ts',
});

export default function config(options: Options): Options[] {
  // A whole build, as for publishing, starts empty. A quick one leaves old chunks alone: a training that runs
  // from dist/ may still load them.
  if (options.dts !== false) rmSync(options.outDir ?? 'dist', { recursive: true, force: true });
  const builds: Options[] = [
    {
      ...common,
      entry: { ...library, ...parts },
      dts: Object.keys(library).length > 0 && { entry: library, banner: declarations },
    },
    {
      ...common,
      entry: programs,
      splitting: true,
      // Beside the commands, so that new URL('./worker.js', import.meta.url) holds in a shared chunk too.
      esbuildOptions: (esbuild) => {
        esbuild.chunkNames = 'cli/[name]-[hash]';
      },
      // The page that `natsearch trace` fills, as one file.
      onSuccess: async () => writeFileSync(`${options.outDir ?? 'dist'}/cli/trace-page.html`, await tracePage()),
    },
  ];
  return builds.filter(({ entry }) => Object.keys(entry as object).length > 0)
    .map((build) => ({ ...build, dts: options.dts === false ? false : build.dts }));
}
