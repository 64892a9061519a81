/**
 * The tests that run under Deno too (`deno task test`): all but those that are about Node, npm or the command.
 * The runner is the same one, started by Deno; test/deno/runtime.test.ts makes sure that the bodies are too.
 * @module
 */
import { fileURLToPath } from 'node:url';
import { configDefaults, defineConfig, type ViteUserConfig } from 'vitest/config';

const root = fileURLToPath(new URL('../..', import.meta.url));

const config: ViteUserConfig = defineConfig({
  root,
  resolve: {
    alias: {
      'neural-attention-search/vectors': `${root}src/vectors.ts`, 'neural-attention-search': `${root}src/index.ts`,
    },
  },
  test: {
    environment: 'node',
    include: ['test/*.test.ts', 'test/deno/*.test.ts'],
    exclude: [...configDefaults.exclude, 'test/{architecture,examples,pack,bench,bundles,gpu-process,cli,cli-*,cli.*,train-cli,finetune-cli,finetune-refusals,recall-cli,hf-cli,vectors-cli,verify-cli,python,mutants,mutants-second,mutants-control,ruler,model-folder}.test.ts'],
    // Threads end with a call that Deno does not have.
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});

export default config;
