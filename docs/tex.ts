/**
 * TeX of the chapter's equations, made by mathjs's toTex with a handler. Formulas are in ```math blocks, which Markdown
 * leaves unchanged. Symbols inside prose must avoid double backslashes, `*`, `<` and `>`.
 * @module
 */
import {
  parse, type AccessorNode, type AssignmentNode, type ConditionalNode, type ConstantNode, type FunctionNode,
  type IndexNode, type MathNode, type OperatorNode, type ParenthesisNode, type SymbolNode,
} from 'mathjs';

/** Symbols whose TeX is not simply their name. */
const NAMES: Readonly<Record<string, string>> = {
  beta1: '\\beta_1', beta2: '\\beta_2', Nc: 'N_c', P: 'P\'', eps: '\\epsilon',
  Kg: 'K^{g}', Kl: 'K^{l}', Kw: 'K^{w}', Wl: 'W^{l}', rstd: '\\rho', grad: '\\gamma', norm: '\\nu',
};
const GREEK = /^(theta|epsilon|lambda|tau|nu|eta|mu|sigma|rho|omega)$/;
const RELATIONS: Readonly<Record<string, string>> = {
  '==': '=', '!=': '\\ne', '<': '\\lt', '>': '\\gt', '<=': '\\le', '>=': '\\ge',
  smaller: '\\lt', smallerEq: '\\le', larger: '\\gt', largerEq: '\\ge', equal: '=',
};
const QUANTIFIERS: Readonly<Record<string, string>> = { total: '\\sum', product: '\\prod', maximum: '\\max', minimum: '\\min' };

/** The TeX of a symbol: dX is the cotangent of X, XNew the next X, XHat an estimate of X. */
export function symbolTex(name: string): string {
  if (NAMES[name]) return NAMES[name];
  if (GREEK.test(name)) return `\\${name}`;
  if (name.length === 1) return name;
  if (/^.+New$/.test(name)) return `${symbolTex(name.slice(0, -3))}'`;
  if (/^.+Hat$/.test(name)) return `\\hat{${symbolTex(name.slice(0, -3))}}`;
  if (/^d([A-Z]|.$|gate$|up$)/.test(name)) return `\\mathrm{d}${symbolTex(name.slice(1))}`;
  return `\\mathrm{${name}}`;
}

/**
 * The TeX of a list of definitions, aligned at their equals signs, for the index tuples that satisfy `given`.
 */
export function definitionsTex(expressions: readonly string[], given?: string): string {
  const condition = given ? ` \\qquad \\left( ${expressionTex(given)} \\right)` : '';
  if (expressions.length === 1) return expressionTex(expressions[0]) + condition;
  const rows = expressions.map((e) => `  ${expressionTex(e).replace(' = ', ' &= ')}`);
  return `\\begin{aligned}\n${rows.join(' \\\\[2pt]\n')}${condition}\n\\end{aligned}`;
}

/**
 * The TeX of one expression.
 *
 * @param expression In mathjs syntax, with the functions of mathematics.ts.
 */
export function expressionTex(expression: string): string {
  return tex(parse(expression)).replace(/ +/g, ' ').trim();
}

function tex(node: MathNode): string {
  return node.toTex({ handler: (n: MathNode) => nodeTex(n) });
}

function nodeTex(node: MathNode): string {
  switch (node.type as string) {
    case 'SymbolNode':
      return symbolTex((node as SymbolNode).name);
    case 'ConstantNode':
      return constantTex((node as ConstantNode).value as unknown as number);
    case 'AccessorNode':
      return subscripted((node as AccessorNode<MathNode>).object, (node as AccessorNode<MathNode>).index);
    case 'AssignmentNode':
      return assignmentTex(node as unknown as AssignmentNode);
    case 'ParenthesisNode':
      return parenthesisTex((node as ParenthesisNode).content);
    case 'RelationalNode':
      return chainTex(node as unknown as { conditionals: string[]; params: MathNode[] });
    case 'ConditionalNode':
      return casesTex(node as ConditionalNode);
    case 'OperatorNode':
      return operatorTex(node as OperatorNode);
    case 'FunctionNode':
      return functionTex((node as FunctionNode).fn as unknown as SymbolNode, (node as FunctionNode).args);
  }
  throw new Error(`no TeX for a ${node.type}: ${node.toString()}`);
}

function constantTex(value: number): string {
  return Number.isFinite(value) ? String(value) : '\\infty';
}

function subscripted(object: MathNode, index: MathNode): string {
  return `${tex(object)}_{${(index as IndexNode).dimensions.map(tex).join(', ')}}`;
}

function assignmentTex({ object, index, value }: AssignmentNode): string {
  const right = isStatement(value) ? parenthesisTex(value) : tex(value);
  return `${index ? subscripted(object, index) : tex(object)} = ${right}`;
}

/** A statement in brackets is a number, 1 if it is true and 0 if not (Iverson's bracket). */
function parenthesisTex(inner: MathNode): string {
  return isStatement(inner) ? `\\left[ ${tex(inner)} \\right]` : `\\left( ${tex(inner)} \\right)`;
}

function isStatement(node: MathNode): boolean {
  const op = node.type === 'OperatorNode' ? (node as OperatorNode).op as string : '';
  return (node.type as string) === 'RelationalNode' || op in RELATIONS || op === 'and';
}

function bare(node: MathNode): MathNode {
  return node.type === 'ParenthesisNode' ? (node as ParenthesisNode).content : node;
}

function chainTex({ conditionals, params }: { conditionals: string[]; params: MathNode[] }): string {
  return params.map((p, n) => n === 0 ? tex(p) : `${RELATIONS[conditionals[n - 1]]} ${tex(p)}`).join(' ');
}

function casesTex(node: ConditionalNode): string {
  const rows: string[] = [];
  let rest: MathNode = node;
  while ((rest.type as string) === 'ConditionalNode') {
    const { condition, trueExpr, falseExpr } = rest as ConditionalNode;
    rows.push(`${tex(trueExpr)} & \\text{if } ${tex(condition)}`);
    rest = bare(falseExpr);
  }
  rows.push(`${tex(rest)} & \\text{otherwise}`);
  return `\\begin{cases} ${rows.join(' \\cr ')} \\end{cases}`;
}

function operatorTex(node: OperatorNode): string {
  const [a, b] = node.args as unknown as [MathNode, MathNode?];
  const op = node.op as string;
  if (!b) return `${op}${tex(a)}`;
  if (op === '/') return `\\frac{${tex(bare(a))}}{${tex(bare(b))}}`;
  if (op === '^') return `${tex(a)}^{${tex(bare(b))}}`;
  if (op === 'and') return `${tex(a)},\\, ${tex(b)}`;
  // Before a number, a product needs a dot: 2 3 would read as one number.
  if (op === '*') return `${tex(a)} ${b.type === 'ConstantNode' ? '\\cdot' : '\\,'} ${tex(b)}`;
  return `${tex(a)} ${RELATIONS[op] ?? op} ${tex(b)}`;
}

function functionTex(fn: SymbolNode, args: MathNode[]): string {
  const list = args.map(tex);
  if (fn.name in QUANTIFIERS) {
    const under = args.length === 3 ? list[1] : list[0];
    const body = args.at(-1)!;
    const sum = body.type === 'OperatorNode' && ['+', '-'].includes((body as OperatorNode).op as string);
    return `${QUANTIFIERS[fn.name]}_{${under}} ${sum ? parenthesisTex(body) : list.at(-1)}`;
  }
  switch (fn.name) {
    case 'first': return `\\min \\lbrace ${list[0]} : ${list[1]} \\rbrace`;
    case 'dot': return `${list[0]} \\cdot ${list[1]}`;
    case 'sqrt': return `\\sqrt{${list[0]}}`;
    case 'floor': return `\\left\\lfloor ${list[0]} \\right\\rfloor`;
    case 'transpose': return `${list[0]}^{\\top}`;
    case 'exp': case 'log': case 'min': case 'max':
      return `\\${fn.name} \\left( ${list.join(', ')} \\right)`;
  }
  throw new Error(`no TeX for the function ${fn.name}: add it to docs/tex.ts`);
}
