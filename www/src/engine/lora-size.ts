// How many parameters an adapter would train: the planner weighs the noise against it before the
// engine makes one.

/** The sizes in a checkpoint's config.json that projections depend on. */
export interface Shape {
  hidden_size: number;
  intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  head_dim: number;
}

/** Inputs plus outputs of each projection of a Gemma block. */
function ends(shape: Shape, target: string): number {
  const queries = shape.num_attention_heads * shape.head_dim;
  const keys = shape.num_key_value_heads * shape.head_dim;
  switch (target) {
    case 'q_proj':
    case 'o_proj':
      return shape.hidden_size + queries;
    case 'k_proj':
    case 'v_proj':
      return shape.hidden_size + keys;
    case 'gate_proj':
    case 'up_proj':
    case 'down_proj':
      return shape.hidden_size + shape.intermediate_size;
    default:
      return 0;
  }
}

/** Parameters of a LoRA adapter: A is [rank, in] and B is [out, rank], for each projection of each layer. */
export function loraParameters(shape: Shape, rank: number, targets: string[]): number {
  const sum = targets.reduce((total, target) => total + ends(shape, target), 0);
  return shape.num_hidden_layers * rank * sum;
}

/** Reads the shape out of a config.json; null if it is not there. */
export function parseShape(text: string): Shape | null {
  const config = JSON.parse(text) as Partial<Record<keyof Shape, unknown>>;
  const keys: (keyof Shape)[] = ['hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads', 'num_key_value_heads', 'head_dim'];
  return keys.every((key) => typeof config[key] === 'number') ? (config as Shape) : null;
}
