import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

/** In a clone the library is what `npm run build` made there; elsewhere it is the installed package. */
const built = fileURLToPath(new URL('../../dist/index.js', import.meta.url));

export default defineConfig({
  base: './', // so that the built page may be served from any folder
  resolve: { alias: existsSync(built) ? { 'neural-attention-search': built } : {} },
  server: { fs: { allow: ['../..'] } }, // models/ is beside examples/
  build: {
    target: 'es2022',
    assetsInlineLimit: 0, // the model is fetched, with progress
  },
});
