/**
 * The stacks of other runtimes. Each runtime is a program that prints the JSON of `npm run stacks -- --json`.
 * @module
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type StackName, type StackReport, titleOf } from './stack-measure.ts';
import type { StacksDocument } from './stack-table.ts';

interface Program {
  readonly runtime: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly stacks: readonly StackName[];
}

const PROGRAMS: readonly Program[] = [
  {
    runtime: 'Deno', command: process.env['DENO'] ?? 'deno', stacks: ['webgpu', 'wgsl'],
    args: ['run', '-A', 'bench/stacks.ts', '--json', '--stacks'],
  },
  {
    runtime: 'Chromium', command: process.execPath, stacks: ['webgl2', 'webgpu', 'wgsl'],
    args: ['bench/stacks-browser.mjs'],
  },
];

/**
 * Runs Deno, then Chromium, each with the Vulkan driver that it finds by itself. A runtime that is not installed is
 * skipped.
 *
 * @param gpuJs The version of gpu.js that all must have.
 * @param onFailure Called with the message of an installed runtime that fails. Its stacks are then reported as skipped.
 */
export function measureElsewhere(gpuJs: string, onFailure: (message: string) => void): StackReport[] {
  return PROGRAMS.flatMap((program) => {
    const { runtime, stacks } = program;
    const skip = (skipped: string): StackReport[] =>
      stacks.map((stack) => ({ stack: titleOf(stack), runtime, skipped }));
    try {
      const text = output(program);
      if (text !== undefined) return parseStacks(text, runtime, gpuJs);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      onFailure(message);
      return skip(message);
    }
    return skip(`there is no '${program.command}': install ${runtime}, or name it in ${runtime.toUpperCase()}`);
  });
}

/** What the program prints on stdout, or undefined if it is not installed. Its stderr, the progress, is shown. */
function output({ runtime, command, args, stacks }: Program): string | undefined {
  // VK_ICD_FILENAMES names the driver for Dawn in this process only.
  const { VK_ICD_FILENAMES: _, ...env } = process.env;
  const { error, status, signal, stdout } = spawnSync(command, [...args, stacks.join()], {
    env, stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8', maxBuffer: 2 ** 26,
  });
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') return undefined;
  if (error) throw error;
  if (status !== 0) throw new Error(`${runtime} failed with ${signal ?? `exit code ${status}`}`);
  return stdout;
}

/** The stacks in a file that `--json` wrote. */
export function readStacks(file: string, gpuJs: string): readonly StackReport[] {
  return parseStacks(readFileSync(file, 'utf8'), file, gpuJs);
}

function parseStacks(text: string, from: string, gpuJs: string): readonly StackReport[] {
  const found = JSON.parse(text) as StacksDocument;
  if (found.gpuJs !== gpuJs) throw new Error(`${from} measured gpu.js ${found.gpuJs}, but this is ${gpuJs}`);
  return found.stacks;
}
