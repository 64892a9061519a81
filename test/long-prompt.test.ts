/** A prompt of 200 kB, which no command line can hold, from stdin. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { writeModelFolder } from '../src/model/folder/model-folder.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { tokenizerJson } from './support/hf-tokenizers.ts';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const SENTENCE = 'It was a damp, drizzly November in my soul. ';

test('natsearch generate reads a prompt of 200 kB from stdin', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'natsearch-long-'));
  try {
    const config = parseConfig({
      vocab_size: 701, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 1,
      max_position_embeddings: 64, bos_token_id: 0, eos_token_id: 0, tie_word_embeddings: true,
    });
    await writeModelFolder(folder, config, initialWeights(config, 1));
    const json = await tokenizerJson('byte-level') as { added_tokens: object[] };
    const flags = { special: false, single_word: false, lstrip: false, rstrip: false, normalized: false };
    const added = [...json.added_tokens, { id: 700, content: SENTENCE, ...flags }]; // so that there are few tokens
    await writeFile(join(folder, 'tokenizer.json'), JSON.stringify({ ...json, added_tokens: added }));
    const args = ['--model', folder, '--prompt', '-', '--policy', 'window:16', '--max-new-tokens', '2', '--json'];
    const child = spawn(process.execPath, [MAIN, 'generate', ...args]);
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (piece: string) => (stdout += piece));
    child.stdin.end(SENTENCE.repeat(4600));
    expect(await new Promise((resolve) => child.on('close', resolve))).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ promptTokens: 4600, prompt: SENTENCE.repeat(4600) });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 300_000);
