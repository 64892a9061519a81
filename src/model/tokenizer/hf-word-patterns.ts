/**
 * The patterns of words in published tokenizers that are understood well enough to cut a text between words.
 * @module
 */

/** GPT-2's pattern of words, which is part of ByteLevel. */
export const BYTE_LEVEL: string = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

const UPPER = String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`;
const LOWER = String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*`;

/**
 * The patterns of words in published files: GPT-2, Llama 3, Qwen2, Tekken, o200k, DeepSeek. In all of them every
 * character belongs to a word; after a letter, a word continues only with letters, marks and (o200k) an apostrophe; and
 * no decision depends on anything further back, or further ahead than the end of a run of white space. A word therefore
 * ends wherever a letter is followed by something else, whatever is further away.
 */
export const WORD_PATTERNS: ReadonlySet<unknown> = new Set([
  BYTE_LEVEL,
  String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  String.raw`${UPPER}|${LOWER}|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  String.raw`${UPPER}(?i:'s|'t|'re|'ve|'m|'ll|'d)?|${LOWER}(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + '`' + String.raw`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
]);
/** Patterns of DeepSeek's earlier steps. Except for Japanese, they never match a letter next to something else. */
export const HARMLESS_PATTERNS: ReadonlySet<unknown> = new Set([
  String.raw`\p{N}{1,3}`, String.raw`\p{N}`, '[一-龥\u3040-ゟ゠-ヿ]+', '[\r\n]', String.raw`[\r\n]`,
]);
