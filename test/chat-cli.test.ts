/** `natsearch chat`, and the prompts and samplers of `natsearch generate`, as processes. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeModelFolder } from '../src/model/folder/model-folder.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { generator } from '../src/core/random.ts';
import { some } from './support/thorough.ts';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const hasPython = spawnSync('python3', ['-c', 'import os, pty; os.waitstatus_to_exitcode']).status === 0;
let folder = '';

interface Run {
  readonly child: ChildProcess;
  /** Resolves once stderr holds such a text. */
  seen(text: RegExp): Promise<void>;
  readonly result: Promise<{ code: number | null; stdout: string; stderr: string }>;
}

function start(args: readonly string[], input?: string): Run {
  const child = spawn(process.execPath, [MAIN, ...args], { cwd: folder });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  if (input !== undefined) child.stdin.end(input);
  return {
    child,
    seen: async (text) => {
      while (!text.test(stderr)) await once(child.stderr, 'data');
    },
    result: new Promise((resolve, reject) => {
      child.on('error', reject).on('close', (code) => resolve({ code, stdout, stderr }));
    }),
  };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'natsearch-chat-'));
  const config = parseConfig({
    vocab_size: 258, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 1, num_attention_heads: 2,
    num_key_value_heads: 1, head_dim: 4, max_position_embeddings: 512, tie_word_embeddings: true, bos_token_id: 256,
    eos_token_id: 257, nats: { policy: 'nats', window: 3, lambda: 0 },
  });
  const random = generator(1, [9]);
  const weights = initialWeights(config, 1);
  for (const { data, shape } of weights.values()) {
    if (shape.length > 1) data.forEach((_, n) => (data[n] = 0.5 * random.normal()));
  }
  for (const name of ['base', 'chat']) {
    await mkdir(join(folder, name));
    await writeModelFolder(join(folder, name), config, weights);
  }
  const template = await readFile(new URL('./field/chat/qwen2.5-instruct.jinja', import.meta.url), 'utf8');
  await writeFile(join(folder, 'chat/chat_template.jinja'), template);
  const generation = { do_sample: true, temperature: 1.5, top_k: 200, eos_token_id: [257], num_beams: 2 };
  await writeFile(join(folder, 'chat/generation_config.json'), JSON.stringify(generation));
  await writeFile(join(folder, 'long.txt'), `${'It was a damp, drizzly November in my soul. '.repeat(60)}\n`);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Turn {
  readonly content: string;
  readonly finish: string;
  readonly read: number;
  readonly readBefore: number;
  readonly newTokens: number;
}

describe.concurrent('natsearch chat', () => {
  test('answers every line of a pipe in one session, which reads only what is new, and reports what it holds', async () => {
    const args = ['chat', '--model', 'chat', '--max-new-tokens', '4', '--seed', '3'];
    const lines = 'Hello\n\n/help\n/nothing\n//slash\n/reset\nHello\n/quit\nnever\n';
    const [plain, json] = await Promise.all([
      start(args, lines).result, start([...args, '--system', 'Be brief.', '--json'], lines).result,
    ]);
    expect(json.code).toBe(0);
    const turns = json.stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as Turn);
    expect(turns).toHaveLength(3);
    expect(turns.map(({ readBefore }) => readBefore > 0)).toEqual([false, true, false]);
    expect(turns[1].readBefore).toBe(turns[0].read + turns[0].newTokens);
    expect(turns[2]).toMatchObject({ content: turns[0].content, read: turns[0].read }); // the same as before
    expect(plain.code).toBe(0);
    expect(plain.stdout.endsWith('\n')).toBe(true);
    expect(plain.stderr).toMatch(/from generation_config\.json: --temperature 1\.5, --top-k 200\n/);
    expect(plain.stderr).toContain('num_beams is 2, which is not supported');
    expect(plain.stderr).toContain('/reset  forget the conversation');
    expect(plain.stderr).toContain('there is no command /nothing');
    const shares = plain.stderr.match(/read \d+ new of \d+; cache \(nats\): \d+ of \d+ entries live \([\d.]+%\)/g);
    expect(shares).toHaveLength(3);
  });

  test('Ctrl-C stops an answer but not the program; without an answer in progress it exits', async () => {
    const args = ['chat', '--model', 'chat', '--temperature', '0', '--max-new-tokens', '1000000'];
    const { child, seen, result } = start(args);
    child.stdin!.write('One\n');
    await once(child.stdout!, 'data');
    child.kill('SIGINT');
    await seen(/tokens in .*, stopped; read/);
    child.stdin!.write('/help\n');
    await seen(/\/reset/);
    expect(child.exitCode).toBeNull();
    await new Promise((resolve) => setTimeout(resolve, 600)); // npm merges two signals at once
    child.kill('SIGINT');
    expect((await result).code).toBe(130);
  });

  test.runIf(hasPython)('Ctrl-D in a terminal exits, also while an answer is being written', async () => {
    // The second time, the terminal's end of input comes before the end of the answer.
    const script = [
      'import os, pty, sys',
      'pid, terminal = pty.fork()',
      'if pid == 0: os.execv(sys.argv[1], sys.argv[1:])',
      'def until(text):',
      '  seen = b""',
      '  while text not in seen: seen += os.read(terminal, 4096)',
      'until(b"> ")',
      'os.write(terminal, b"One\\r")',
      'until(b"One")',
      'os.write(terminal, b"\\x04")',
      'try: until(b"no such text")',
      'except OSError: print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))',
    ].join('\n');
    const args = [process.execPath, MAIN, 'chat', '--model', 'chat', '--max-new-tokens', '300'];
    const child = spawn('python3', ['-c', script, ...args], { cwd: folder, timeout: 30_000 });
    let stdout = '';
    child.stdout.on('data', (data: Buffer) => void (stdout += data.toString()));
    await once(child, 'close');
    expect(stdout).toBe('0\n');
  });

  test('puts nothing before a conversation if --no-bos is given', async () => {
    const args = ['chat', '--model', 'chat', '--max-new-tokens', '1', '--json'];
    const answers = await Promise.all([start(args, 'One\n').result, start([...args, '--no-bos'], 'One\n').result]);
    const [withStart, without] = answers.map(({ stdout }) => (JSON.parse(stdout) as Turn).read);
    expect(without).toBe(withStart - 1);
  });

  test('says what to do if there is no chat template, before weights are read, and accepts one', async () => {
    const refused = await start(['chat', '--model', 'base'], 'Hello\n').result;
    const said = /^natsearch: base has no chat template, .* give --chat-template, or .* natsearch generate\n$/;
    expect(refused.stderr).toMatch(said);
    expect(refused.code).toBe(1);
    const given = ['--chat-template', 'chat/chat_template.jinja', '--max-new-tokens', '3'];
    expect((await start(['chat', '--model', 'base', ...given], 'Hello\n').result).code).toBe(0);
  });
});

describe.concurrent('natsearch generate', () => {
  const args = ['generate', '--model', 'chat', '--max-new-tokens', '5', '--json'];

  test('takes its prompt from a file or from stdin, without the newline at the end', async () => {
    const [file, stdin, line] = await Promise.all([
      start([...args, '--prompt-file', 'long.txt']).result,
      start([...args, '--prompt', '-'], 'Call me\n').result,
      start([...args, '--prompt', 'Call me']).result,
    ]);
    expect(file.code).toBe(0);
    expect(JSON.parse(file.stdout)).toMatchObject({ promptTokens: 60 * 44, newTokens: 5, finish: 'length' });
    const textOf = ({ stdout }: { stdout: string }) => (JSON.parse(stdout) as { text: string }).text;
    expect(textOf(stdin)).toBe(textOf(line));
    expect(file.stderr).toContain('the text may reach 2646 tokens, but the model was trained on 512');
  });

  test('prints log-probabilities with --json, and accepts the options of every sampler', async () => {
    const flags = ['--top-p', '0.9', '--min-p', '0.01', '--repetition-penalty', '1.2', '--stop', 'a', 'b'];
    const { stdout, code } = await start([...args, '--prompt', 'x', ...flags, '--logprobs', '2']).result;
    expect(code).toBe(0);
    interface Report { readonly newTokens: number; readonly logprobs: { logprob: number; top: object[] }[] }
    const { logprobs, newTokens } = JSON.parse(stdout) as Report;
    expect(logprobs).toHaveLength(newTokens);
    for (const { logprob, top } of logprobs) {
      expect(logprob).toBeLessThanOrEqual(0);
      expect(top).toHaveLength(2);
    }
  });

  test.each(some(1, [['--top-p', '0', 'above 0'], ['--min-p', '1.5', 'from 0 to 1'], ['--repetition-penalty', '0', 'above 0']]))(
    'refuses %s %s with exit code 2', async (flag, value, allowed) => {
      const { stderr, code } = await start([...args, '--prompt', 'x', flag, value]).result;
      expect(stderr).toMatch(new RegExp(`'${flag} <.*is invalid.*${allowed}`));
      expect(code).toBe(2);
    },
  );

  test('refuses an empty --stop with exit code 2', async () => {
    const { stderr, code } = await start([...args, '--prompt', 'x', '--stop', '']).result;
    expect(stderr).toContain('a text of at least one character');
    expect(code).toBe(2);
  });
});

test('natsearch inspect says how a model samples, which tokens end a text, and whether it has a chat template', async () => {
  const [chat, base] = await Promise.all(['chat', 'base'].map((model) => start(['inspect', '--model', model]).result));
  const line = /generation +temperature 1\.5; top k 200; ends at 257; without effect: num_beams is 2\n/;
  expect(chat.stdout).toMatch(line);
  expect(chat.stdout).toMatch(/conversation +by its chat template\n/);
  expect(base.stdout).toMatch(/conversation +no chat template\n/);
});
