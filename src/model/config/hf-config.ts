/**
 * Reads what config.json says about a model of any architecture. A field that affects the computation is either
 * honoured or, if its value is not supported, refused by name. The others have no effect and are ignored.
 * @module
 */
import { ConfigError } from '../../core/errors.ts';
import type { Architecture } from '../arch/architecture.ts';
import { ARCHITECTURES, type ModelType } from '../arch/index.ts';
import type { Fields } from './config-fields.ts';

const absent = (value: unknown): boolean => value === null;
const isNot = (wanted: unknown) => (value: unknown): boolean => value !== null && value !== wanted;
const notEmpty = (value: unknown): boolean => Object.keys(value ?? {}).length > 0;

/** Reads `model_type`, and refuses everything that is not supported for any model. */
export function parseModelType(fields: Fields): ModelType {
  const names = Object.keys(ARCHITECTURES);
  const type = fields.text('model_type', 'llama') as ModelType;
  fields.refuse('model_type', (x) => !absent(x) && !names.includes(x as string), `only ${names.join(', ')} are supported`);
  const { className } = ARCHITECTURES[type];
  const same = (name: unknown) => String(name).toLowerCase() === className.toLowerCase(); // old: LLaMAForCausalLM
  fields.refuse('architectures', (x) => notEmpty(x) && !(Array.isArray(x) && x.some(same)),
    `a model of type ${type} must be a ${className}`);
  fields.refuse('hidden_act', (x) => !absent(x) && x !== 'silu' && x !== 'swish', 'only "silu" is supported');
  refusePacked(fields);
  fields.refuse('partial_rotary_factor', isNot(1), 'only whole heads are rotated');
  fields.refuse('auto_map', (x) => Object.keys(x ?? {}).some((name) => /^(AutoModel|AutoModelForCausalLM)$/.test(name)),
    `code that comes with a model is not run; remove the field if a plain ${className} computes the same`);
  for (const name of ['is_encoder_decoder', 'add_cross_attention']) {
    fields.refuse(name, isNot(false), 'only decoders are supported');
  }
  fields.refuse('pruned_heads', notEmpty, 'pruned heads are not supported');
  fields.refuse('per_layer_config', notEmpty, 'layers that differ are not supported');
  fields.refuse('transformers_weights', (x) => !absent(x) && x !== 'model.safetensors' && x !== 'model.safetensors.index.json',
    'weights are read from model.safetensors or by its index');
  return type;
}

/** Refuses weights that are quantized according to the config. */
function refusePacked(fields: Fields): void {
  for (const name of ['quantization_config', 'compression_config', 'quantization']) {
    const method = fields.has(name) ? fields.object(name)?.value('quant_method') : undefined;
    const weights = typeof method === 'string' ? `weights quantized by ${method}` : 'quantized weights';
    fields.refuse(name, notEmpty, `${weights} cannot be read, take the model in BF16 or F16 as its makers published it`);
  }
}

/** The tokens that begin and end texts. Either may be null in the file, and those that end texts may be a list. */
export function parseSpecials(
  fields: Fields, { bos, eos }: Architecture['absent'], vocabSize: number,
): { bosTokenId: number; eosTokenId: number; eosTokenIds?: readonly number[] } {
  const starts = fields.tokens('bos_token_id', bos, vocabSize);
  const eosTokenIds = fields.tokens('eos_token_id', eos, vocabSize);
  if (starts.length > 1) throw new ConfigError(`config.json: bos_token_id is [${starts}]: it must be one token`);
  // Each stands in for the other if that is missing. Whether texts begin with bos is up to the tokenizer.
  const [bosTokenId, eosTokenId] = [starts[0] ?? eosTokenIds[0] ?? -1, eosTokenIds[0] ?? starts[0] ?? -1];
  return { bosTokenId, eosTokenId, ...(eosTokenIds.length !== 1 && { eosTokenIds }) };
}
