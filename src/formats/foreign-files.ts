/**
 * Recognises files that are not what their names say: a pointer, a web page, half a download, or weights of another
 * program.
 * @module
 */
import { shown } from './safetensors-header.ts';

/** How many bytes from the start of a file tell what it is. */
export const TELLING = 512;

const startsWith = (bytes: Uint8Array, mark: readonly number[]) => mark.every((byte, n) => bytes[n] === byte);

/**
 * Says what a file is if it is neither weights nor JSON, and what to do.
 *
 * @param start Its first TELLING bytes, or all if there are fewer.
 * @param size The size of the file in bytes.
 * @returns A sentence to follow the file's path, or undefined if nothing about the file is strange.
 */
export function foreign(start: Uint8Array, size: number): string | undefined {
  if (size === 0) return 'it is empty, as if its download had not begun: download it again';
  const text = new TextDecoder().decode(start);
  if (/^version https:\/\/git-lfs/.test(text)) {
    const bytes = /^size (\d+)$/m.exec(text)?.[1];
    return `it is a pointer of Git LFS, not the file itself${bytes === undefined ? '' : ` of ${bytes} bytes`}: run "git lfs pull" in its folder, or download the file`;
  }
  if (/^\s*<(!doctype|html|head|\?xml)/i.test(text)) {
    return 'it is a web page, not the file: the address may be that of a page, or need a login; download it again, with an access token if the model requires one';
  }
  if (text.startsWith('GGUF') || /^(ggml|lmgg|tjgg)/.test(text)) return `it is a file of llama.cpp: ${ORIGINAL}`;
  if (startsWith(start, [0x50, 0x4b, 3, 4]) || startsWith(start, [0x80, 2])) return `it is a file of PyTorch: ${CONVERT}`;
  if (startsWith(start, [0x1f, 0x8b]) || startsWith(start, [0x28, 0xb5, 0x2f, 0xfd])) return 'it is compressed: unpack it';
  if (size >= 8 && start.every((byte) => byte === 0)) return 'it begins with zeros, as if its download had not finished: download it again';
  return undefined;
}

/** The same for weights, whose first 8 bytes are a number. */
export function foreignWeights(start: Uint8Array, size: number): string | undefined {
  // A header's length may look like one of the marks: 80 02 is a length of 640 bytes, but also begins a pickle.
  if (start.length > 8 && start[8] === 0x7b && start.subarray(4, 8).every((byte) => byte === 0)) return undefined;
  const known = foreign(start, size);
  if (known !== undefined || start.length < 8) return known;
  const text = new TextDecoder().decode(start);
  const plain = /^[\t\n\r\x20-\x7e]+$/.test(text);
  return plain ? `it is text, not weights: it says '${shown(text.slice(0, 100))}'; download it again` : undefined;
}

/** How to get weights in a format that can be read. */
const ORIGINAL = 'take the model in safetensors, as its makers published it';
const CONVERT = 'take the model in safetensors, or convert it: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(other) in transformers';

/** Names of files whose weights cannot be read, and what to say about them. */
const OTHER_WEIGHTS: readonly (readonly [RegExp, string])[] = [
  [/\.(part|partial|incomplete|crdownload|download|aria2)$/, 'an unfinished download: resume it'],
  [/^model-\d+-of-\d+\.safetensors$/, 'a shard, but not model.safetensors.index.json, which says where each weight is: copy it too'],
  [/^adapter_model\.(safetensors|bin)$/, 'an adapter without its base: merge it into its base with peft (merge_and_unload)'],
  [/^pytorch_model.*\.bin(\.index\.json)?$|\.pth?$|\.ckpt$/, `weights of PyTorch: ${CONVERT}`],
  [/\.gguf$|^ggml.*\.bin$/, `weights of llama.cpp: ${ORIGINAL}`],
  [/^tf_model.*\.h5$|\.msgpack$|\.onnx$|\.mlmodel$|\.mlpackage$/, `weights of another program: ${ORIGINAL}`],
  [/\.safetensors(\.index\.json)?$/, 'weights under another name: call them model.safetensors if they are the model\'s'],
  [/^snapshots$/, 'a cache of downloads: name the folder of one snapshot in it, snapshots/REVISION'],
];

/** What a folder without model.safetensors holds instead, by the names of its files; undefined if unclear. */
export function otherWeights(names: readonly string[]): string | undefined {
  for (const [pattern, says] of OTHER_WEIGHTS) {
    const name = [...names].sort().find((each) => pattern.test(each));
    if (name !== undefined) return `it holds ${shown(name)}, ${says}`;
  }
  return undefined;
}

/** Names of tensors that quantization formats use, and the names of the formats. */
const PACKED: readonly (readonly [RegExp, string])[] = [
  [/\.(qweight|qzeros|g_idx)$/, 'GPTQ or AWQ'],
  [/\.(absmax|quant_map|nested_absmax|nested_quant_map|SCB|weight_format)$|\.quant_state\./, 'bitsandbytes'],
  [/\.(weight_packed|weight_zero_point|weight_shape)$/, 'compressed-tensors'],
  [/\.(weight_scale|weight_scale_inv|input_scale)$/, 'FP8'],
  [/\.(W_q|codebooks|codes|weight\._data)$/, 'HQQ, AQLM or quanto'],
  [/\.(scales|biases)$/, 'MLX'],
];

/** What to say about quantized weights, which the names of tensors reveal; undefined if there are none. */
export function packedBy(names: Iterable<string>): string | undefined {
  const all = [...names];
  for (const [pattern, packer] of PACKED) {
    const name = all.find((each) => pattern.test(each));
    if (name !== undefined) return `it holds weights quantized by ${packer} ('${shown(name)}'), which cannot be read: take the model in BF16 or F16, as its makers published it`;
  }
  return undefined;
}
