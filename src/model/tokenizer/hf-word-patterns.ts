/**
 * The patterns of words that published tokenizers use, and that are understood well enough to cut a text between words.
 * @module
 */

/** GPT-2's pattern of words, which ByteLevel brings along. */
export const BYTE_LEVEL: string = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

const UPPER = String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`;
const LOWER = String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*`;

/**
 * Patterns of words in published files: GPT-2, Llama 3, Qwen2, Tekken, o200k, DeepSeek. In all of them everything is in
 * some word, after a letter a word goes on with letters, marks and (o200k) an apostrophe only, and no decision looks
 * further back, or forward past the end of a run of white space. So a word ends wherever a letter is followed by
 * something else, whatever stands further away.
 */
export const WORD_PATTERNS: ReadonlySet<unknown> = new Set([
  BYTE_LEVEL,
  String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  String.raw`${UPPER}|${LOWER}|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  String.raw`${UPPER}(?i:'s|'t|'re|'ve|'m|'ll|'d)?|${LOWER}(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + '`' + String.raw`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
]);
/** Patterns of steps before those, DeepSeek's: beside Japanese they have no letter next to what is none. */
export const HARMLESS_PATTERNS: ReadonlySet<unknown> = new Set([
  String.raw`\p{N}{1,3}`, String.raw`\p{N}`, '[一-龥\u3040-ゟ゠-ヿ]+', '[\r\n]', String.raw`[\r\n]`,
]);
