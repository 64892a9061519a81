export type Policy = { kind: 'nats' } | { kind: 'full' } | { kind: 'window'; window: number } | { kind: 'streaming'; sink: number; window: number };
export interface ModelConfig {
  vocabSize: number; hiddenSize: number; intermediateSize: number; layers: number; heads: number; kvHeads: number; headDim: number;
  maxPositions: number; rmsNormEpsilon: number; ropeTheta: number; tieWordEmbeddings: boolean; bosTokenId: number; eosTokenId: number;
  nats: { policy: string; window: number; chunk: number; pooling: 'mean' | 'max'; lambda: number; temperature: number };
}
export function parsePolicy(text: string): Policy {
  const m = /^(?:(nats|full)|window:(\d+)|streaming:(\d+)\+(\d+))$/.exec(text)!;
  if (m[1]) return { kind: m[1] as 'nats' | 'full' };
  if (m[2]) return { kind: 'window', window: Number(m[2]) };
  return { kind: 'streaming', sink: Number(m[3]), window: Number(m[4]) };
}
export function formatPolicy(p: Policy): string {
  return p.kind === 'window' ? `window:${p.window}` : p.kind === 'streaming' ? `streaming:${p.sink}+${p.window}` : p.kind;
}
export function expectedWeights(c: ModelConfig): Map<string, number[]> {
  const { hiddenSize: D, headDim: d, heads: H, kvHeads: G, intermediateSize: F, vocabSize: V } = c;
  const out = new Map<string, number[]>([['model.embed_tokens.weight', [V, D]]]);
  for (let n = 0; n < c.layers; n++) {
    const p = `model.layers.${n}.`;
    out.set(p + 'input_layernorm.weight', [D]);
    out.set(p + 'self_attn.q_proj.weight', [H * d, D]);
    out.set(p + 'self_attn.k_proj.weight', [G * d, D]);
    out.set(p + 'self_attn.v_proj.weight', [G * d, D]);
    out.set(p + 'self_attn.o_proj.weight', [D, H * d]);
    if (c.nats.policy === 'nats') out.set(p + 'self_attn.proj_layer.weight', [3 * G, D]);
    out.set(p + 'post_attention_layernorm.weight', [D]);
    out.set(p + 'mlp.gate_proj.weight', [F, D]);
    out.set(p + 'mlp.up_proj.weight', [F, D]);
    out.set(p + 'mlp.down_proj.weight', [D, F]);
  }
  out.set('model.norm.weight', [D]);
  if (!c.tieWordEmbeddings) out.set('lm_head.weight', [V, D]);
  return out;
}
export function checkWeights(c: ModelConfig, w: ReadonlyMap<string, unknown>): void { for (const n of expectedWeights(c).keys()) if (!w.has(n)) throw new Error(n); }
