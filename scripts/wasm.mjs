/**
 * Compiles the AssemblyScript of wasm/kernels/ to wasm/module.ts, which holds the WebAssembly as text, so that the
 * engine needs no file and no fetch where it runs. With --check it writes nothing, and fails if that file is out of
 * date.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const { default: asc } = await import('assemblyscript/asc').catch((error) => {
  throw new Error('the compiler of wasm/kernels/ is not installed: run npm ci', { cause: error });
});
const root = fileURLToPath(new URL('..', import.meta.url));
const target = `${root}wasm/module.ts`;
const binary = await compile();
const text = `/**
 * The WebAssembly of wasm/kernels/, in base64. Written by npm run wasm, do not edit.
 * @module
 */
export const MODULE = '${Buffer.from(binary).toString('base64')}';
`;
const old = await readFile(target, 'utf8').catch(() => '');
if (old !== text) {
  if (process.argv.includes('--check')) {
    console.error('wasm/module.ts is not what wasm/kernels/ compiles to: run npm run wasm');
    process.exitCode = 1;
  } else {
    await writeFile(`${target}.new`, text);
    await rename(`${target}.new`, target);
    console.error(`wrote wasm/module.ts: ${binary.length} bytes of WebAssembly`);
  }
}

/** The module, whose memory comes from outside. */
async function compile() {
  let made;
  const { error, stderr } = await asc.main([
    'wasm/kernels/index.ts', '--baseDir', root, '--outFile', 'module.wasm', '--runtime', 'stub', '--importMemory',
    '--enable', 'simd,bulk-memory', '--noAssert', '-O3', '--disableWarning', '235', // of functions that are not exported
  ], { writeFile: (name, contents) => { if (name === 'module.wasm') made = contents; } });
  if (error || !made) throw new Error(`wasm/kernels/ does not compile:\n${stderr}`);
  return made;
}
