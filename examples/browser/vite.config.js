import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

/** In a clone the library is what `npm run build` wrote there; elsewhere it is the installed package. */
const built = fileURLToPath(new URL('../../dist/index.js', import.meta.url));

export default defineConfig({
  base: './', // so that the built page can be served from any folder
  resolve: { alias: existsSync(built) ? { 'neural-attention-search': built } : {} },
  server: { fs: { allow: ['../..'] } }, // models/ is beside examples/
  build: {
    target: 'es2022',
    assetsInlineLimit: 0, // so that the model is fetched, and progress can be shown
  },
});
