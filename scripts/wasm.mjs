/**
 * Compiles the AssemblyScript of wasm/kernels/ to wasm/module.ts and src/core/gumbel-module.ts, which hold the
 * WebAssembly as text, so that it needs no file and no fetch where it runs. With --check it writes nothing, and fails
 * if one of them is out of date.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const { default: asc } = await import('assemblyscript/asc').catch((error) => {
  throw new Error('the compiler of wasm/kernels/ is not installed: run npm ci', { cause: error });
});
const root = fileURLToPath(new URL('..', import.meta.url));
/** The modules: the file that is written, what it is compiled from, how, and the name of its text. */
const modules = [
  { target: 'wasm/module.ts', entry: 'wasm/kernels/index.ts', of: 'wasm/kernels/', name: 'MODULE', flags: ['--importMemory', '--maximumMemory', '65536'] },
  { target: 'src/core/gumbel-module.ts', entry: 'wasm/kernels/gumbel.ts', of: 'wasm/kernels/gumbel.ts', name: 'GUMBEL_MODULE', flags: [] },
];
for (const { target, entry, of, name, flags } of modules) {
  const binary = await compile(entry, flags);
  const text = `/**
 * The WebAssembly of ${of}, in base64. Written by npm run wasm, do not edit.
 * @module
 */
export const ${name} = '${Buffer.from(binary).toString('base64')}';
`;
  const old = await readFile(root + target, 'utf8').catch(() => '');
  if (old === text) continue;
  if (process.argv.includes('--check')) {
    console.error(`${target} is not what ${of} compiles to: run npm run wasm`);
    process.exitCode = 1;
  } else {
    await writeFile(`${root}${target}.new`, text);
    await rename(`${root}${target}.new`, root + target);
    console.error(`wrote ${target}: ${binary.length} bytes of WebAssembly`);
  }
}

/** A module of wasm/kernels/. */
async function compile(entry, flags) {
  let made;
  const { error, stderr } = await asc.main([
    entry, '--baseDir', root, '--outFile', 'module.wasm', '--runtime', 'stub', ...flags,
    '--enable', 'simd,bulk-memory', '--noAssert', '-O3', '--disableWarning', '235', // of functions that are not exported
  ], { writeFile: (name, contents) => { if (name === 'module.wasm') made = contents; } });
  if (error || !made) throw new Error(`${entry} does not compile:\n${stderr}`);
  return made;
}
