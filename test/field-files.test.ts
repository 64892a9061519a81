/** Folders as downloads leave them: each is read, or refused in one line that says what is there and what to do. */
import { cpSync, mkdirSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { readAdapter } from '../src/model/folder/adapter.ts';
import { openModelFolder, readModelFolder } from '../src/model/folder/model-folder.ts';
import { loadModel } from '../src/load.ts';
import {
  config, copy, edit, expectRefusal, here, INDEX, MODELS, remove, SINGLE, useFolders, write,
} from './support/field-folder.ts';

const POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 269060552\n';
const PAGE = '\n<!DOCTYPE html>\n<html><head><title>Log in</title></head></html>\n';

useFolders();

test('a folder lists the unknown fields of config.json', async () => {
  copy('llama-grouped');
  edit({ is_llama_config: true, use_cache: false, use_mrope: false });
  expect((await openModelFolder(here())).ignored).toEqual(['is_llama_config']);
});

describe('a file that is not what its name says', () => {
  const files = ['config.json', SINGLE, 'tokenizer.json', 'tokenizer_config.json'];

  it.each(files)('%s as a pointer of Git LFS, a web page, or empty', async (file) => {
    copy('llama-grouped');
    write(file, POINTER);
    await expectRefusal(new RegExp(`${file}: it is a pointer of Git LFS`), /269060552 bytes/, /git lfs pull/);
    write(file, PAGE);
    await expectRefusal(new RegExp(`${file}: it is a web page`), /access token/);
    write(file, '');
    await expectRefusal(new RegExp(`${file}: it is empty`), /download it again/);
  });

  it('a shard and an index likewise', async () => {
    for (const file of [INDEX, 'model-00003-of-00004.safetensors']) {
      copy('llama-sharded');
      write(file, POINTER);
      await expectRefusal(new RegExp(`${file}: it is a pointer of Git LFS`), /git lfs pull/);
    }
  });

  it.each<[string, string | Uint8Array, RegExp]>([
    ['the refusal of a server', 'Access to model meta-llama/Llama-2-7b-hf is restricted.', /it says 'Access to model/],
    ['a file of llama.cpp', 'GGUF\u0003\u0000\u0000\u0000 and more', /llama\.cpp.*as its makers published it/],
    ['an archive of PyTorch', 'PK\u0003\u0004 and more', /PyTorch.*save_pretrained/],
    ['a pickle of PyTorch', Uint8Array.of(0x80, 2, 0x8a, 10, 1, 2, 3, 4), /PyTorch.*save_pretrained/],
    ['compressed', Uint8Array.of(0x1f, 0x8b, 8, 0, 1, 2, 3, 4), /compressed.*unpack/],
    ['room made for a download', new Uint8Array(5000), /begins with zeros/],
  ])('weights that are %s', async (_, content, says) => {
    copy('llama-grouped');
    write(SINGLE, content);
    await expectRefusal(/model\.safetensors: it/, says);
  });

  it('although a header may have any length, even one that looks like the magic number of another format', async () => {
    for (const length of [0x0280, 0x8b1f]) { // a pickle of PyTorch, gzip
      copy('llama-grouped');
      const bytes = readFileSync(join(here(), SINGLE));
      const header = bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE()));
      const data = bytes.subarray(8 + header.length);
      const short = Buffer.from('{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}');
      const [text, rest] = header.length <= length ? [header, data] : [short, Buffer.alloc(0)];
      const start = Buffer.alloc(8);
      start.writeBigUInt64LE(BigInt(length));
      write(SINGLE, Buffer.concat([start, Buffer.from(text.toString().padEnd(length)), rest]));
      if (rest === data) expect((await readModelFolder(here())).weights.size).toBe(21);
      else await expectRefusal(/weights are missing/);
    }
  });

  it('an error message of a server instead of config.json', async () => {
    copy('llama-grouped');
    write('config.json', '{"error":"Invalid username or password."}');
    await expectRefusal(/config\.json: it is the error message of a server, 'Invalid username or password\.'/);
  });

  it('an unfinished file', async () => {
    copy('llama-grouped');
    truncateSync(join(here(), SINGLE), 100_000);
    await expectRefusal(/model\.safetensors: .*the file is truncated/);
    copy('llama-grouped');
    write(`${SINGLE}.aria2`, '');
    await expectRefusal(/is an unfinished download/, /model\.safetensors\.aria2/);
    remove(`${SINGLE}.aria2`);
    remove(SINGLE);
    copy('llama-sharded');
    const shard = 'model-00002-of-00004.safetensors';
    remove(shard);
    await expectRefusal(/names the shard model-00002-of-00004\.safetensors, which is missing: copy it/);
    write(`${shard}.incomplete`, 'x');
    await expectRefusal(/model-00002-of-00004\.safetensors\.incomplete is an unfinished download of it/);
    copy('llama-grouped');
    truncateSync(join(here(), 'config.json'), 200);
    await expectRefusal(/config\.json is not valid JSON/);
  });
});

describe('a folder without model.safetensors', () => {
  it.each<[string, string[], RegExp]>([
    ['nothing', [], /has neither model\.safetensors nor model\.safetensors\.index\.json: copy the weights/],
    ['weights of PyTorch', ['pytorch_model.bin'], /pytorch_model\.bin, weights of PyTorch.*save_pretrained/],
    ['shards of PyTorch', ['pytorch_model-00001-of-00002.bin', 'pytorch_model.bin.index.json'], /weights of PyTorch/],
    ['the original of Meta', ['consolidated.00.pth', 'params.json'], /consolidated\.00\.pth, weights of PyTorch/],
    ['weights of llama.cpp', ['llama-2-7b.Q4_K_M.gguf'], /llama-2-7b\.Q4_K_M\.gguf, weights of llama\.cpp/],
    ['weights of TensorFlow', ['tf_model.h5'], /tf_model\.h5, weights of another program/],
    ['an unfinished download', ['model.safetensors.part', 'pytorch_model.bin'], /safetensors\.part, an unfinished download/],
    ['a partial download', ['model.safetensors.incomplete'], /an unfinished download/],
    ['shards alone', ['model-00001-of-00002.safetensors'], /model\.safetensors\.index\.json, which says where each weight is/],
    ['weights under another name', ['consolidated.safetensors'], /consolidated\.safetensors, weights under another name/],
    ['a variant', ['model.fp16.safetensors'], /model\.fp16\.safetensors, weights under another name/],
    ['an adapter', ['adapter_model.safetensors'], /an adapter without its base.*merge_and_unload/],
  ])('says that it has %s', async (_, files, says) => {
    cpSync(`${MODELS}llama-grouped/config.json`, join(here(), 'config.json'));
    for (const file of files) write(file, 'x');
    await expectRefusal(says);
  });

  it('and without config.json says what it is', async () => {
    await expectRefusal(/has no config\.json: name a folder/);
    write('llama.Q4_K_M.gguf', 'GGUF');
    await expectRefusal(/has no config\.json: it holds llama\.Q4_K_M\.gguf, weights of llama\.cpp/);
    remove('llama.Q4_K_M.gguf');
    mkdirSync(join(here(), 'snapshots'));
    await expectRefusal(/has no config\.json: .*a cache of downloads.*snapshots\/REVISION/);
  });
});

describe('bytes that were fetched', () => {
  it('are recognized if they are a web page or a pointer, which servers may send instead of a file', async () => {
    copy('llama-grouped');
    const fetched = (text: string) => loadModel({ config: config(), weights: new TextEncoder().encode(text) });
    await expect(fetched(PAGE)).rejects.toThrow(/it is a web page/);
    await expect(fetched(POINTER)).rejects.toThrow(/it is a pointer of Git LFS/);
    await expect(fetched('')).rejects.toThrow(/it is empty/);
  });

  it('of an adapter likewise', async () => {
    write('adapter_config.json', POINTER);
    write('adapter_model.safetensors', POINTER);
    await expect(readAdapter(here())).rejects.toThrow(/adapter_config\.json: it is a pointer of Git LFS/);
  });
});
