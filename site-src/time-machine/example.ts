/** Records the example of the site. */
import { openCpuEngine } from '../../src/engines.ts';
import { encodeTrace } from '../../src/evaluate/trace/codec.ts';
import { equalPolicies } from '../../src/evaluate/trace/equal.ts';
import { markOf } from '../../src/evaluate/trace/marks.ts';
import { joined, recordTrace } from '../../src/evaluate/trace/record.ts';
import { loadModel } from '../../src/load.ts';
import { withStarts } from '../../src/model/tokenizer/tokenizer.ts';

/** The trace of a text with a pass key, under learned types and what holds as many bytes, encoded. */
export async function recordExample(root: string, text: string): Promise<Uint8Array> {
  const engine = await openCpuEngine();
  const model = await loadModel(`${root}models/base`, { engine, adapter: `${root}models/adapters/keep-0.1-w32` });
  const tokens = withStarts(model.tokenizer, model.tokenizer.encode(text));
  const options = { marks: [markOf(model.tokenizer, tokens, '54735')], name: 'models/base + keep-0.1-w32' };
  const learned = await recordTrace(model, tokens, options);
  const others = await equalPolicies(learned.policies[0], ['window', 'h2o'], engine, model.config);
  const rest = await recordTrace(model, tokens, { ...options, policies: [{ kind: 'full' }, ...others] });
  return encodeTrace(joined(rest, learned));
}
