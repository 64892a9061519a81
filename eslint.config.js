import { builtinModules } from 'node:module';
import tseslint from 'typescript-eslint';

const builtins = builtinModules.filter((name) => !name.startsWith('_'));

export default tseslint.config(
  { ignores: ['**/dist/', 'coverage/', 'api/', 'site/', 'site.new/', 'runs/', 'models/', '**/node_modules/', '**/.*/', 'wasm/kernels/'] },
  ...tseslint.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'eqeqeq': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'no-console': 'off',
      // tsc reports unused names too; a leading underscore says "on purpose".
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // Indices are checked where they are made: kernels read x[i]!.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      // `import { type X }` alone would still load the module.
      '@typescript-eslint/no-import-type-side-effects': 'error',
      // Formatting rules of the core are deprecated, not gone; this one needs no plugin.
      'max-len': ['error', { code: 120, ignoreTemplateLiterals: true, ignoreStrings: true }],
    },
  },
  {
    files: ['src/**/*.ts', 'reference/**/*.ts', 'wasm/**/*.ts'],
    ignores: ['src/cli/**', 'src/files/builtin.ts'], // which names types of theirs only
    rules: {
      'no-restricted-imports': ['error', {
        paths: builtins.map((name) => ({ name, message: 'src/ and reference/ run in Deno and browsers too.' })),
        patterns: [{ group: ['node:*'], message: 'src/ and reference/ run in Deno and browsers too.' }],
      }],
      'no-restricted-globals': ['error', 'process', 'Buffer', '__dirname', '__filename', 'require'],
    },
  },
);
