/**
 * The tokenizers of test/fixtures/hf, imported rather than read from disk, so that they are available in browsers too.
 * @module
 */

type Name = 'byte-level' | 'sentencepiece';
interface Json<T> { readonly default: T }

/** The parsed tokenizer.json. */
export async function tokenizerJson(name: Name): Promise<unknown> {
  return (await import(`../fixtures/hf/tokenizers/${name}/tokenizer.json`) as Json<unknown>).default;
}

/** Texts, their ids, and the texts that transformers decodes from the ids. */
export async function expectedTokens(name: Name): Promise<readonly [string, number[], string][]> {
  return (await import(`../fixtures/hf/tokenizers/${name}/expected.json`) as Json<[string, number[], string][]>).default;
}
