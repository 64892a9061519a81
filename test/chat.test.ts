/** Chat templates in the style of published ones, and conversations that continue in one session. */
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEngine } from '../src/engines.ts';
import { ConfigError, ValueError } from '../src/core/errors.ts';
import { type ChatMessage, chatTemplateOf, formatTime, renderChat } from '../src/model/generate/chat-template.ts';
import { chat, chatPrompt } from '../src/model/generate/chat.ts';
import { parseConfig } from '../src/model/config/config.ts';
import type { GeneratedToken } from '../src/model/generate/generate-options.ts';
import { createHfTokenizer } from '../src/model/tokenizer/hf-tokenizer.ts';
import { initialWeights } from '../src/model/init.ts';
import { Model } from '../src/model/model.ts';
import type { Session } from '../src/model/session/session.ts';
import { generator } from '../src/core/random.ts';
import { tokenizerJson } from './support/hf-tokenizers.ts';

const templateFile = (name: string) => {
  return readFile(new URL(`./field/chat/${name}.jinja`, import.meta.url), 'utf8');
};

const SYSTEM = { role: 'system', content: 'Be brief.' };
const USER = { role: 'user', content: 'What is a whale?' };
const ANSWER = { role: 'assistant', content: 'A mammal.' };
const MORE = { role: 'user', content: 'How large?' };
const LLAMA = { bos_token: '<s>', eos_token: { content: '</s>', lstrip: false, special: true }, pad_token: null };

/** Written from the published descriptions of the models' formats, without using a template. */
const FORMATS: readonly (readonly [string, object, readonly ChatMessage[], string])[] = [
  ['llama-2-chat', LLAMA, [SYSTEM, USER],
    '<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nWhat is a whale? [/INST]'],
  ['llama-2-chat', LLAMA, [USER, ANSWER, MORE],
    '<s>[INST] What is a whale? [/INST] A mammal. </s><s>[INST] How large? [/INST]'],
  ['llama-3-instruct', { bos_token: '<|begin_of_text|>' }, [SYSTEM, USER, ANSWER, MORE],
    '<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>' +
    '<|start_header_id|>user<|end_header_id|>\n\nWhat is a whale?<|eot_id|>' +
    '<|start_header_id|>assistant<|end_header_id|>\n\nA mammal.<|eot_id|>' +
    '<|start_header_id|>user<|end_header_id|>\n\nHow large?<|eot_id|>' +
    '<|start_header_id|>assistant<|end_header_id|>\n\n'],
  ['qwen2.5-instruct', { bos_token: null, eos_token: '<|im_end|>' }, [USER],
    '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' +
    '<|im_start|>user\nWhat is a whale?<|im_end|>\n<|im_start|>assistant\n'],
  ['qwen2.5-instruct', {}, [SYSTEM, USER, ANSWER, MORE],
    '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is a whale?<|im_end|>\n' +
    '<|im_start|>assistant\nA mammal.<|im_end|>\n<|im_start|>user\nHow large?<|im_end|>\n<|im_start|>assistant\n'],
  ['mistral-instruct', LLAMA, [USER, ANSWER, MORE],
    '<s>[INST] What is a whale? [/INST]A mammal.</s>[INST] How large? [/INST]'],
  ['smollm2-instruct', {}, [USER],
    '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' +
    '<|im_start|>user\nWhat is a whale?<|im_end|>\n<|im_start|>assistant\n'],
  ['yi-chat', { bos_token: '<|startoftext|>' }, [USER, ANSWER, MORE],
    '<|im_start|>user\nWhat is a whale?<|im_end|>\n<|im_start|>assistant\nA mammal.<|im_end|>\n' +
    '<|im_start|>user\nHow large?<|im_end|>\n<|im_start|>assistant\n'],
];

describe('a chat template', () => {
  const title = 'in the style of %s with %j writes %j as its makers do';
  it.each(FORMATS)(title, async (name, specials, messages, expected) => {
    const template = await templateFile(name);
    expect(await renderChat(chatTemplateOf(specials, template)!, messages)).toBe(expected);
    const inConfig = chatTemplateOf({ ...specials, chat_template: template }, undefined)!;
    expect(await renderChat(inConfig, messages)).toBe(expected);
  });

  it('has access to what the caller passes, and to the date', async () => {
    const source = chatTemplateOf({ bos_token: '<|begin_of_text|>' }, await templateFile('llama-3.2-instruct'))!;
    const header = (role: string) => `<|start_header_id|>${role}<|end_header_id|>\n\n`;
    const begin = `<|begin_of_text|>${header('system')}Cutting Knowledge Date: December 2023\n`;
    const end = `\n\nBe brief.<|eot_id|>${header('user')}What is a whale?<|eot_id|>`;
    const options = { addGenerationPrompt: false, variables: { date_string: '26 Jul 2024' } };
    expect(await renderChat(source, [SYSTEM, USER], options)).toBe(`${begin}Today Date: 26 Jul 2024${end}`);
    const today = /Today Date: (\d\d [A-Z][a-z][a-z] \d{4})\n/.exec(await renderChat(source, [USER]))![1];
    expect(Math.abs(Date.parse(today) - Date.now())).toBeLessThan(2 * 86_400_000);
  });

  it('writes times as Python\'s strftime does', () => {
    const time = new Date(2024, 6, 6, 15, 4, 9);
    expect(formatTime(time, '%Y-%m-%d %H:%M:%S|%d %b %Y|%A, %B %-d|%I %p|%y %a %%')).toBe(
      '2024-07-06 15:04:09|06 Jul 2024|Saturday, July 6|03 PM|24 Sat %',
    );
    expect(formatTime(new Date(2024, 0, 1, 0, 0), '%I:%M %p')).toBe('12:00 AM');
  });

  it('is the one named default if there are several; a file takes precedence over all of them', () => {
    const named = { chat_template: [{ name: 'tool_use', template: 'T' }, { name: 'default', template: 'D' }] };
    expect(chatTemplateOf(named, undefined)!.template).toBe('D');
    expect(chatTemplateOf(named, 'F')!.template).toBe('F');
    expect(chatTemplateOf({}, undefined)).toBeUndefined();
    expect(chatTemplateOf(undefined, undefined)).toBeUndefined();
    const other = { chat_template: [{ name: 'tool_use', template: 'T' }] };
    expect(() => chatTemplateOf(other, undefined)).toThrow(/chat_template is tool_use, of which none is named default/);
    expect(() => chatTemplateOf({ chat_template: 7 }, undefined)).toThrow(ConfigError);
  });

  it('that refuses messages, cannot be read, or fails causes a named error', async () => {
    const source = chatTemplateOf(LLAMA, await templateFile('mistral-instruct'))!;
    const refused = /refuses these messages: Conversation roles must alternate/;
    await expect(renderChat(source, [USER, USER])).rejects.toThrow(ValueError);
    await expect(renderChat(source, [USER, USER])).rejects.toThrow(refused);
    const broken = renderChat({ template: '{% if %}', specials: {} }, [USER]);
    await expect(broken).rejects.toThrow(/cannot be read \(.+\): check its Jinja/);
    await expect(renderChat({ template: '{{ 1 | nothing }}', specials: {} }, [USER])).rejects.toThrow(ConfigError);
    for (const wrong of [[], 'Hello', [null], [{ role: 'user' }], [{ role: 'user', content: 7 }]]) {
      await expect(renderChat(source, wrong as never), JSON.stringify(wrong)).rejects.toThrow(ValueError);
    }
  });
});

/** A tiny model with the special tokens of ChatML in its vocabulary. */
async function chatModel(template: string | undefined): Promise<Model> {
  const json = await tokenizerJson('byte-level') as { added_tokens: object[] };
  const special = (content: string, id: number) => {
    return { id, content, special: true, single_word: false, lstrip: false, rstrip: false, normalized: false };
  };
  const added = [...json.added_tokens, special('<|im_start|>', 700), special('<|im_end|>', 701)];
  const config = parseConfig({
    vocab_size: 702, hidden_size: 12, intermediate_size: 10, num_hidden_layers: 2, num_attention_heads: 2,
    num_key_value_heads: 1, head_dim: 6, max_position_embeddings: 512, bos_token_id: 0, eos_token_id: 701,
    tie_word_embeddings: true,
  });
  const weights = initialWeights(config, 1);
  const random = generator(1, [9]);
  for (const { data, shape } of weights.values()) {
    if (shape.length > 1) data.forEach((_, n) => (data[n] = 0.4 * random.normal()));
  }
  const tokenizer = await createHfTokenizer({ ...json, added_tokens: added }, config);
  const chatTemplate = chatTemplateOf({ eos_token: '<|im_end|>', bos_token: '<|endoftext|>' }, template);
  return new Model(createEngine(), config, weights, tokenizer, { chatTemplate });
}

describe('model.chat()', () => {
  let model: Model;
  beforeAll(async () => {
    model = await chatModel(await templateFile('qwen2.5-instruct'));
  });
  afterAll(() => model.dispose());

  /** The answer, and how many tokens were fed for it before its first token. */
  async function answer(
    messages: readonly ChatMessage[], options: object,
  ): Promise<{ text: string; read: number; tokens: number }> {
    let [text, read, tokens, before] = ['', 0, 0, 0];
    const onStep = ({ lengths }: Session) => {
      if (tokens === 0) read += lengths[0] - before;
      before = lengths[0];
    };
    const { session } = options as { session?: Session };
    before = session?.lengths[0] ?? 0;
    const onToken = () => void tokens++;
    const all = { maxNewTokens: 6, temperature: 1.5, onStep, onToken, ...options };
    for await (const piece of chat(model, messages, all)) text += piece.text;
    return { text, read, tokens };
  }

  it('feeds the tokens of the template, with special ones as one token each, and adds no start of its own', async () => {
    const { tokens, text } = await chatPrompt(model, [SYSTEM, USER]);
    expect(text.split(/<\|im_(?:start|end)\|>/).length - 1).toBe(5);
    expect([...tokens].filter((token) => token >= 700)).toEqual([700, 701, 700, 701, 700]);
    expect(tokens).not.toContain(0);
    const { tokens: withBos } = await chatPrompt(model, [USER], { template: '{{ bos_token }}{{ messages[0].content }}' });
    expect([...withBos].filter((token) => token === 0)).toEqual([0]); // once, as the template writes it
  });

  it('reads only what is new of a conversation in one session, and gives the same answers as reading all of it', async () => {
    const session = model.session();
    const messages: ChatMessage[] = [SYSTEM, USER];
    const whole: number[] = [];
    for (let turn = 0; turn < 4; turn++) {
      const { tokens: all } = await chatPrompt(model, messages);
      const before = session.lengths[0];
      const { text, read, tokens } = await answer(messages, { session, seed: turn });
      expect(session.lengths[0]).toBe(before + read + tokens); // nothing was read twice, the last token included
      if (turn === 0) expect(read).toBe(all.length);
      else expect(read).toBeLessThan(30);
      whole.push(read);
      messages.push({ role: 'assistant', content: text }, { role: 'user', content: `And ${turn}?` });
    }
    expect(whole[0]).toBeGreaterThan(whole[1]);
    session.dispose();
  });

  it('answers like a fresh session that is fed the same tokens', async () => {
    const session = model.session();
    const first = await answer([USER], { session, temperature: 0 });
    const messages = [USER, { role: 'assistant', content: first.text }, MORE];
    const greedy = (told: number[]) => {
      return { temperature: 0, maxNewTokens: 5, onToken: ({ token }: GeneratedToken) => void told.push(token) };
    };
    const [told, again]: [number[], number[]] = [[], []];
    for await (const piece of model.chat(messages, { session, ...greedy(told) })) expect(piece).not.toBe('');
    session.dispose();
    const { tokens } = await chatPrompt(model, messages);
    for await (const piece of model.generate(tokens, greedy(again))) expect(piece).not.toBe('');
    expect(told).toEqual(again);
  });

  it('puts no space after a special token although its tokenizer puts one before a text', async () => {
    const read = async (name: string) => {
      return JSON.parse(await readFile(new URL(`./field/tokenizers/mistral-0.3/${name}`, import.meta.url), 'utf8')) as object;
    };
    const json = await read('tokenizer.json') as { added_tokens: { id: number; content: string }[] };
    const end = { ...json.added_tokens[0], id: 964, content: '<|im_end|>' };
    const small = parseConfig({
      vocab_size: 965, hidden_size: 12, intermediate_size: 10, num_hidden_layers: 1, num_attention_heads: 2,
      max_position_embeddings: 512, bos_token_id: 1, eos_token_id: 964,
    });
    const weights = initialWeights(small, 2);
    const random = generator(2, [9]);
    for (const [name, { data, shape }] of weights) {
      const scale = (n: number) => (name === 'lm_head.weight' && n >= 964 * 12 ? 1.5 : 0.4); // ends soon
      if (shape.length > 1) data.forEach((_, n) => (data[n] = scale(n) * random.normal()));
    }
    const tokenizer = await createHfTokenizer({ ...json, added_tokens: [...json.added_tokens, end] }, small);
    const template = { template: await templateFile('qwen2.5-instruct'), specials: {} };
    const other = new Model(createEngine(), small, weights, tokenizer, { chatTemplate: template });
    const session = other.session();
    let text = '';
    for await (const piece of other.chat([USER], { session, maxNewTokens: 400 })) text += piece;
    const first = [...session.tokens[0]];
    expect(first.at(-1)).toBe(964);
    const messages = [USER, { role: 'assistant', content: text }, MORE];
    for await (const _ of other.chat(messages, { session, maxNewTokens: 1 })) continue;
    const whole = [...(await chatPrompt(other, messages)).tokens];
    expect(whole.slice(0, first.length)).not.toEqual(first); // it picked other tokens of the same text
    const news = [...session.tokens[0]].slice(first.length, -1);
    expect(news).toEqual(whole.slice(whole.length - news.length));
    expect(whole.at(-news.length - 1)).toBe(964);
    session.dispose();
    other.dispose();
  });

  it('continues in a session that has read the beginning as tokens, such as a fork of another', async () => {
    const session = model.session();
    const { tokens } = await chatPrompt(model, [SYSTEM, USER]);
    await session.step(tokens.subarray(0, 9));
    const fork = session.fork();
    const { read } = await answer([SYSTEM, USER], { session: fork });
    expect(read).toBe(tokens.length - 9);
    session.dispose();
    fork.dispose();
  });

  it('refuses a session that has read something else, and one of several sequences', async () => {
    const session = model.session();
    await answer([USER], { session });
    const other = answer([SYSTEM, USER], { session });
    await expect(other).rejects.toThrow(/with which this conversation does not begin: pass a new session/);
    await session.step([5]);
    await expect(answer([USER, ANSWER, MORE], { session })).rejects.toThrow(ValueError);
    session.dispose();
    const two = model.session({ batch: 2 });
    await expect(answer([USER], { session: two })).rejects.toThrow(/2 sequences: a conversation needs exactly one/);
    two.dispose();
  });

  it('says what to do if the model has no template, and uses one that is given', async () => {
    const base = await chatModel(undefined);
    await expect(base.chat([USER]).next()).rejects.toThrow(ConfigError);
    await expect(base.chat([USER]).next()).rejects.toThrow(/no chat template .*: take a model .* or give a template/);
    const { text } = await chatPrompt(base, [USER], { template: 'Q: {{ messages[0].content }}\nA:' });
    expect(text).toBe('Q: What is a whale?\nA:');
    for (const variables of [5, null, 'x']) {
      await expect(base.chat([USER], { template: 'Q', variables } as never).next()).rejects.toThrow(/variables is /);
    }
    base.dispose();
  });
});
