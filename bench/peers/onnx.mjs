/**
 * Writes ONNX models, of the little that the comparison needs: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
 * What is called `com.microsoft` are onnxruntime's own fused operators.
 */

const varint = (x) => {
  const bytes = [];
  for (let n = BigInt.asUintN(64, BigInt(x)); ; n >>= 7n) {
    if (n < 128n) return Buffer.from([...bytes, Number(n)]);
    bytes.push(Number(n & 127n) | 128);
  }
};
const whole = (field, x) => Buffer.concat([varint(field << 3), varint(x)]);
const real = (field, x) => Buffer.concat([varint((field << 3) | 5), Buffer.from(Float32Array.of(x).buffer)]);
const bytes = (field, x) => {
  const content = typeof x === 'string' ? Buffer.from(x) : x;
  return Buffer.concat([varint((field << 3) | 2), varint(content.length), content]);
};

const TYPES = { float: 1, int32: 6, int64: 7 };

function attribute(name, value) {
  const content = typeof value === 'string' ? [bytes(4, value), whole(20, 3)]
    : Number.isInteger(value) ? [whole(3, value), whole(20, 2)] : [real(2, value), whole(20, 1)];
  return bytes(5, Buffer.concat([bytes(1, name), ...content]));
}

/** A node: `[operator, inputs, outputs, attributes, domain]`. */
function node([operator, inputs, outputs, attributes = {}, domain = '']) {
  return bytes(1, Buffer.concat([
    ...inputs.map((name) => bytes(1, name)), ...outputs.map((name) => bytes(2, name)), bytes(4, operator),
    ...Object.entries(attributes).map(([name, value]) => attribute(name, value)), ...(domain ? [bytes(7, domain)] : []),
  ]));
}

/** An initializer: a name, a typed array of float32 or integers, and a shape. */
function tensor([name, data, shape]) {
  const type = data instanceof Float32Array ? 'float' : data instanceof Int32Array ? 'int32' : 'int64';
  return bytes(5, Buffer.concat([
    ...shape.map((size) => whole(1, size)), whole(2, TYPES[type]), bytes(8, name),
    bytes(9, Buffer.from(data.buffer, data.byteOffset, data.byteLength)),
  ]));
}

/** An input or output: `[name, type, shape]`, with names for sizes that vary. */
function value(field, [name, type, shape]) {
  const dims = shape.map((size) => bytes(1, typeof size === 'number' ? whole(1, size) : bytes(2, size)));
  const tensorType = Buffer.concat([whole(1, TYPES[type]), bytes(2, Buffer.concat(dims))]);
  return bytes(field, Buffer.concat([bytes(1, name), bytes(2, bytes(1, tensorType))]));
}

/** The bytes of a model. */
export function model({ nodes, initializers = [], inputs, outputs }) {
  const graph = Buffer.concat([
    ...nodes.map(node), bytes(2, 'graph'), ...initializers.map(tensor),
    ...inputs.map((each) => value(11, each)), ...outputs.map((each) => value(12, each)),
  ]);
  const named = (domain) => (domain ? [bytes(1, domain)] : []);
  const opset = (domain, version) => bytes(8, Buffer.concat([...named(domain), whole(2, version)]));
  return Buffer.concat([whole(1, 8), opset('', 17), opset('com.microsoft', 1), bytes(7, graph)]);
}

/** x [M,K] times a constant weight [K,N]. */
export function product(weight, M, K, N) {
  return model({
    nodes: [['MatMul', ['x', 'w'], ['y']]], initializers: [['w', weight, [K, N]]],
    inputs: [['x', 'float', [M, K]]], outputs: [['y', 'float', [M, N]]],
  });
}

/** Attention of [1,T,H*d] queries over [1,N,H*d] keys and values; causal if T = N. */
export function attention(T, N, H, d) {
  const inputs = [['q', 'float', [1, T, H * d]], ['k', 'float', [1, N, H * d]], ['v', 'float', [1, N, H * d]]];
  return model({
    nodes: [['MultiHeadAttention', ['q', 'k', 'v'], ['y'], {
      num_heads: H, scale: 1 / Math.sqrt(d) + 1e-12, ...(T === N && { unidirectional: 1 }),
    }, 'com.microsoft']],
    inputs, outputs: [['y', 'float', [1, T, H * d]]],
  });
}

/** The same of single operators, with scores [1,H,T,N] in memory. q, k and v are [1,H,.,d]. */
export function plainAttention(T, N, H, d) {
  const mask = new Float32Array(T * N);
  if (T === N) for (let i = 0; i < T; i++) mask.fill(-1e30, i * N + i + 1, (i + 1) * N);
  return model({
    nodes: [
      ['Transpose', ['k'], ['kt'], {}], ['MatMul', ['q', 'kt'], ['s']], ['Mul', ['s', 'scale'], ['scaled']],
      ['Add', ['scaled', 'mask'], ['masked']], ['Softmax', ['masked'], ['p']], ['MatMul', ['p', 'v'], ['y']],
    ].slice(1),
    initializers: [['mask', mask, [T, N]], ['scale', Float32Array.of(1 / Math.sqrt(d)), [1]]],
    inputs: [['q', 'float', [1, H, T, d]], ['kt', 'float', [1, H, d, N]], ['v', 'float', [1, H, N, d]]],
    outputs: [['y', 'float', [1, H, T, d]]],
  });
}

/**
 * A Llama with a cache, of fused operators. `weight(name)` gives float32 numbers by Hugging Face's names, whose
 * matrices are [out,in] and are written as [in,out].
 */
export function llama({ layers, D, F, H, G, V, positions, epsilon, theta }, weight) {
  const d = D / H;
  const initializers = [];
  const turned = (name, rows, columns) => {
    const from = weight(name);
    const to = new Float32Array(from.length);
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c];
    initializers.push([name, to, [columns, rows]]);
    return name;
  };
  const asIs = (name, shape) => {
    initializers.push([name, weight(name), shape]);
    return name;
  };
  const half = d / 2;
  const table = (of) => Float32Array.from(
    { length: positions * half }, (_, n) => of(Math.floor(n / half) * theta ** (-(n % half) / half)),
  );
  initializers.push(['cos', table(Math.cos), [positions, d / 2]], ['sin', table(Math.sin), [positions, d / 2]]);
  const nodes = [['Gather', [asIs('model.embed_tokens.weight', [V, D]), 'ids'], ['h']]];
  const inputs = [['ids', 'int64', [1, 'T']], ['seqlens', 'int32', [1]], ['total', 'int32', []]];
  const outputs = [['logits', 'float', [1, 'T', V]]];
  const norm = (x, name, y) => {
    nodes.push(['SimplifiedLayerNormalization', [x, asIs(name, [D])], [y], { epsilon, axis: -1 }]);
  };
  const times = (x, name, rows, columns, y) => nodes.push(['MatMul', [x, turned(name, rows, columns)], [y]]);
  let x = 'h';
  for (let n = 0; n < layers; n++) {
    const [from, at] = [`model.layers.${n}`, (name) => `${name}.${n}`];
    norm(x, `${from}.input_layernorm.weight`, at('n'));
    for (const [name, heads] of [['q', H], ['k', G], ['v', G]]) {
      times(at('n'), `${from}.self_attn.${name}_proj.weight`, heads * d, D, at(name));
    }
    nodes.push(['GroupQueryAttention', [
      at('q'), at('k'), at('v'), at('pk'), at('pv'), 'seqlens', 'total', 'cos', 'sin',
    ], [at('a'), at('nk'), at('nv')], { num_heads: H, kv_num_heads: G, do_rotary: 1 }, 'com.microsoft']);
    for (const name of ['pk', 'pv']) inputs.push([at(name), 'float', [1, G, 'P', d]]);
    for (const name of ['nk', 'nv']) outputs.push([at(name), 'float', [1, G, 'S', d]]);
    times(at('a'), `${from}.self_attn.o_proj.weight`, D, D, at('o'));
    nodes.push(['Add', [x, at('o')], [at('r')]]);
    norm(at('r'), `${from}.post_attention_layernorm.weight`, at('m'));
    times(at('m'), `${from}.mlp.gate_proj.weight`, F, D, at('g'));
    times(at('m'), `${from}.mlp.up_proj.weight`, F, D, at('u'));
    nodes.push(
      ['Sigmoid', [at('g')], [at('s')]], ['Mul', [at('g'), at('s')], [at('silu')]],
      ['Mul', [at('silu'), at('u')], [at('f')]],
    );
    times(at('f'), `${from}.mlp.down_proj.weight`, D, F, at('w'));
    nodes.push(['Add', [at('r'), at('w')], [at('x')]]);
    x = at('x');
  }
  norm(x, 'model.norm.weight', 'last');
  times('last', 'lm_head.weight', V, D, 'logits');
  return model({ nodes, initializers, inputs, outputs });
}
