/** Processes that use gpu.js: what they print without a driver or without Dawn, and that they end by themselves. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build as esbuild } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeWebGPU } from './support/webgpu.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const library = pathToFileURL(join(root, 'dist/index.js')).href;

interface Ended {
  readonly code: number | string | null | undefined;
  readonly signal: string | null | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs Node until it ends by itself. If it hangs it is ended by a signal, which the tests see. */
function node(args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd: string = root): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { cwd, env: { ...process.env, ...env }, timeout: 20_000, killSignal: 'SIGKILL' as const };
    execFile(process.execPath, [...args], options, (error, stdout, stderr) => {
      resolve({ code: error ? error.code : 0, signal: error?.signal, stdout, stderr });
    });
  });
}

/** A program that opens an engine and prints the sum of 1 and 2, or the name and message of the error. */
const program = (from: string, options: string): string => `
  import { createEngine } from '${from}';
  try {
    const engine = await createEngine(${options});
    const sum = engine.add(engine.tensor([1], [1]), engine.tensor([2], [1]));
    console.log((await engine.read(sum))[0]);
  } catch ({ name, message }) {
    console.log(name + ': ' + message);
  }`;

const evaluate = (source: string, env?: NodeJS.ProcessEnv): Promise<Ended> =>
  node(['--input-type=module', '--eval', source], env);

// Elsewhere the system has its own GPU library, which no environment variable hides.
describe.skipIf(process.platform !== 'linux')('without a driver', () => {
  const env = { VK_ICD_FILENAMES: '/nonexistent', VK_DRIVER_FILES: '/nonexistent' };
  const absent = 'no GPU adapter was found: install a Vulkan, Metal or Direct3D 12 driver, or leave --gpu out to run on the CPU';

  it.each(['true', '\'webgpu\''])('gpu: %s is an error that the caller can catch, and the process ends', async (gpu) => {
    const { code, stdout } = await evaluate(program(library, `{ gpu: ${gpu} }`), env);
    expect({ code, stdout }).toEqual({ code: 0, stdout: `DeviceError: ${absent}\n` });
  });

  it.each([
    ['generate', ['--prompt', 'Call me', '--max-new-tokens', '1']],
    ['eval', ['--text', 'LICENSE', '--max-tokens', '8']],
  ])('natsearch %s --gpu ends with that line and exit code 1', async (command, flags) => {
    const main = join(root, 'dist/cli/main.js');
    const { code, stdout, stderr } = await node([main, command, '--model', 'models/nats', ...flags, '--gpu'], env);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    // Before that, Dawn itself writes warnings from C++.
    expect(stderr.split('\n').filter((line) => /natsearch|\.[jt]s:\d/.test(line))).toEqual([`natsearch: ${absent}`]);
    expect(stderr.endsWith(`natsearch: ${absent}\n`)).toBe(true);
  });
});

describe('without the package webgpu', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'natsearch-no-webgpu-'));
    await esbuild({
      entryPoints: [join(root, 'dist/index.js')], outdir: join(folder, 'library'), bundle: true, splitting: true,
      format: 'esm', platform: 'neutral', external: ['node:*'], outExtension: { '.js': '.mjs' }, logLevel: 'error',
    });
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it.each([
    ['true', /^DeviceError: WebGPU in Node needs the package 'webgpu' \(Dawn\), which did not load \(Cannot find package 'webgpu'[^\n]*\): npm install webgpu, or leave --gpu out to run on the CPU\n$/],
    ['\'webasm\'', /^3\n$/],
  ])('gpu: %s', async (gpu, expected) => {
    const file = join(folder, 'program.mjs');
    await writeFile(file, program('./library/index.mjs', `{ gpu: ${gpu} }`));
    const { code, stdout, stderr } = await node([file], {}, folder);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(expected);
  });
});

describe('a process that never disposes of its engine', () => {
  it.each(['cpu', 'webasm'])('ends by itself on %s', async (gpu) => {
    expect(await evaluate(program(library, `{ gpu: '${gpu}' }`))).toMatchObject({ code: 0, stdout: '3\n', stderr: '' });
  });
});

describeWebGPU('a process on WebGPU', () => {
  it.each(['webgpu', 'wgsl'])('that never disposes of its engine ends by itself on %s', async (gpu) => {
    expect(await evaluate(program(library, `{ gpu: '${gpu}' }`))).toMatchObject({ code: 0, stdout: '3\n' });
  });
});
