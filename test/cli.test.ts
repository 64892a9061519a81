/** The command as users run it: its help, and what it refuses, with which exit codes. */
import { cp, mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { deleteFolder, makeFolder, natsearch, path } from './support/cli-folder.ts';
import { some } from './support/thorough.ts';

const COMMANDS = [
  'start', 'train', 'finetune', 'export', 'eval', 'generate', 'chat', 'arena', 'trace', 'learn', 'inspect', 'plan',
  'vectors', 'verify',
];

beforeAll(async () => {
  await makeFolder();
  await cp(path('models/nats'), path('models/truncated'), { recursive: true });
  const size = (await readFile(path('models/nats/model.safetensors'))).length;
  await truncate(path('models/truncated/model.safetensors'), size - 100);
  await writeFile(path('empty.txt'), '');
  await writeFile(path('latin1.txt'), Uint8Array.of(0x61, 0xe9, 0x62));
  await mkdir(path('nothing'));
});

afterAll(deleteFolder);

/** Expects a refusal: one line on stderr, nothing on stdout. */
async function expectRefusal(args: readonly string[], code: number, message: string | RegExp): Promise<void> {
  const result = await natsearch(...args);
  expect(result.stderr).toMatch(/^natsearch: [^\n]+\n$/);
  expect(result.stderr).toMatch(message);
  expect(result.stdout).toBe('');
  expect(result.code).toBe(code);
}

describe('natsearch --help', () => {
  test('lists the commands on stdout', async () => {
    const { code, stdout, stderr } = await natsearch('--help');
    const commands = [...stdout.matchAll(/^ {2}(\w+) \[options\] /gm)].map(([, name]) => name);
    expect(commands).toEqual(COMMANDS);
    expect(stdout).toMatch(/^ {2}recall /m); // it has commands of its own
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  test.each(COMMANDS)('describes the flags of %s', async (command) => {
    const { code, stdout } = await natsearch(command, '--help');
    expect(stdout).toContain(`Usage: natsearch ${command}`);
    expect(stdout).toMatch(/^ {2}--\w/m);
    expect(code).toBe(0);
  });

  test('--version prints the version of the package', async () => {
    const manifest = await readFile(new URL('../package.json', import.meta.url), 'utf8');
    const { version } = JSON.parse(manifest) as { version: string };
    expect((await natsearch('--version')).stdout).toBe(`${version}\n`);
  });
});

describe('natsearch refuses wrong usage with exit code 2', () => {
  test('and suggests the nearest flag', () => {
    return expectRefusal(['eval', '--modle', 'models/nats'], 2, /unknown option '--modle' \(Did you mean --model\?\)/);
  });

  test('and suggests the nearest command', () => {
    return expectRefusal(['generat'], 2, /unknown command 'generat' \(Did you mean generate\?\)/);
  });

  test('and says which command help does not know, instead of the whole help', () => {
    return expectRefusal(['help', 'trian'], 2, /unknown command 'trian' \(Did you mean train\?\)/);
  });

  test('and names a required flag that is missing', () => {
    return expectRefusal(['generate', '--prompt', 'x'], 2, /required option '--model <dir>' not specified/);
  });

  test.each(some(4, [
    ['--top-k', '2.5', 'a whole number, 1 or more'],
    ['--top-k', '-1', 'a whole number, 1 or more'],
    ['--top-k', '0', 'a whole number, 1 or more'],
    ['--max-new-tokens', 'many', 'a whole number, 1 or more'],
    ['--max-new-tokens', '', 'a whole number, 1 or more'],
    ['--seed', '1e99', 'a whole number, 0 or more'],
    ['--temperature', '-0.5', 'a number, 0 or more'],
    ['--temperature', 'Infinity', 'a number, 0 or more'],
    ['--policy', 'window', 'window'],
    ['--policy', 'streaming:4', 'streaming'],
    ['--stop', '', 'a text of at least one character'],
  ]))('and names flag and value of %s %j', (flag, value, allowed) => {
    const args = ['generate', '--model', 'models/nats', '--prompt', 'x', flag, value];
    const named = `option '${flag} <.*argument '${value.replace('.', '\\.')}' is invalid\\.`;
    return expectRefusal(args, 2, new RegExp(`${named} .*${allowed}`));
  });

  test.each(some<[string, string[], RegExp]>(5, [
    ['an empty prompt', ['generate', '--model', 'models/nats', '--prompt', ''], /the prompt is empty: give --prompt/],
    ['no prompt', ['generate', '--model', 'models/nats'], /no prompt: give --prompt <text>, --prompt-file <path>, or -/],
    ['two prompts', ['generate', '--model', 'models/nats', '--prompt', 'x', '--prompt-file', 'y'], /both given: give only one/],
    ['log-probabilities in a text', ['generate', '--model', 'models/nats', '--prompt', 'x', '--logprobs', '1'], /needs --json/],
    ['an empty path', ['eval', '--model', '', '--text', 'books'], /option '--model <dir>' is empty: name a file or folder/],
    ['an empty path among others', ['eval', '--model', 'models/nats', '--text', 'books', ''], /'--text <path\.\.\.>' is empty/],
    ['--match among policies without nats', [
      'eval', '--model', 'nowhere', '--text', 'books', '--match', '--policy', 'full',
    ], /nats is not among the policies: add --policy nats/],
    ['documents too short for their facts', [
      'recall', 'write', '--out', 'x', '--kind', 'pairs', '--pairs', '9', '--length', '130',
    ], /no room for 9 facts/],
    ['an unknown format of export', [
      'export', '--adapter', 'x', '--out', 'x', '--format', 'onnx',
    ], /'onnx' is invalid\. Allowed choices are authors/],
    ['a kind that --match cannot match', [
      'eval', '--model', 'models/nats', '--text', 'books', '--match', 'full',
    ], /'--match \[kind\.\.\.\]' argument 'full' is invalid\. It must be streaming, window, h2o, .* or tova\./],
    ['an argument too many', ['inspect', '--model', 'models/nats', 'models/full'], /too many arguments/],
    ['a flag without its value', ['inspect', '--model'], /option '--model <dir>' argument missing/],
  ]))('for %s', (_, args, message) => expectRefusal(args, 2, message));
});

describe('natsearch refuses bad input with exit code 1', () => {
  const evaluating = (model: string, ...text: string[]) => ['eval', '--model', model, '--text', ...text];
  const nats = 'models/nats';

  test.each(some<[string, string[], RegExp]>(5, [
    ['a mistyped model folder', evaluating('models/natz', 'books'), /folder models\/natz: did you mean models\/nats\?/],
    ['a mistyped parent folder', evaluating('model/nats', 'books'), /folder model\/nats: did you mean models\/nats\?/],
    ['a model folder unlike any other', evaluating('elsewhere', 'books'), /folder elsewhere: pass a folder with config\.json/],
    ['a file as model folder', evaluating('empty.txt', 'books'), /empty\.txt is a file: pass a folder/],
    ['a truncated model file', evaluating('models/truncated', 'books'), /model\.safetensors/],
    ['a mistyped text', evaluating(nats, 'boks'), /no such file or folder boks: did you mean books\?/],
    ['an empty text', evaluating(nats, 'books', 'empty.txt'), /empty\.txt is empty: pass files with text in them/],
    ['a folder without texts', evaluating(nats, 'nothing'), /the folder nothing has no \.txt or \.md files/],
    ['text that is not UTF-8', evaluating(nats, 'latin1.txt'), /latin1\.txt is not UTF-8 text/],
    ['a dense twin that is not there', ['start', '--model', nats, '--dense', 'twin'], /no such folder twin/],
  ]))('%s', (_, args, message) => expectRefusal(args, 1, message));

  test('--match for a model without learned types, before any policy runs', () => {
    return expectRefusal([...evaluating('models/full', 'books'), '--match'], 1, /--match .* the model has none: pass --adapter/);
  });

  test('the policy nats for a model without scorers, before any policy runs', () => {
    return expectRefusal([...evaluating('models/full', 'books'), '--policy', 'full', 'nats'], 1, /needs token-type scorers/);
  });
});
