// Which keys a query sees, shared by the attention kernels.

struct AttentionShape {
    batch: u32,
    time: u32,
    heads: u32,
    kv_heads: u32,
    dim: u32,
    // Keys stored per batch row, and how many of them are filled.
    capacity: u32,
    filled: u32,
    // Position of the first query among the keys.
    offset: u32,
    // A query sees the keys less than this away from it; 0 for all.
    window: u32,
    scale: f32,
    // Attention soft-cap; 0 for none.
    cap: f32,
    // 1 if a query sees no key after its own position.
    causal: u32,
    // 1 if each batch row has its own number of keys, after these parameters.
    padded: u32,
}

const SHAPE_WORDS = 13u;

var<workgroup> uniform_params: array<u32, 13>;
var<workgroup> uniform_keys: u32;

fn load_shape(t: u32) -> AttentionShape {
    if (t < SHAPE_WORDS) { uniform_params[t] = params[t]; }
    let p = workgroupUniformLoad(&uniform_params);
    return AttentionShape(
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], bitcast<f32>(p[9]), bitcast<f32>(p[10]), p[11], p[12],
    );
}

// Keys of a batch row that count: those filled, or those before its padding.
fn keys_of_row(s: AttentionShape, batch: u32, t: u32) -> u32 {
    if (s.padded == 0u) { return s.filled; }
    if (t == 0u) { uniform_keys = min(params[SHAPE_WORDS + batch], s.filled); }
    return workgroupUniformLoad(&uniform_keys);
}

// Half-open range of the keys, of `count`, that the query at `time` sees. It depends on nothing else in the batch.
fn visible_keys(s: AttentionShape, time: u32, count: u32) -> vec2<u32> {
    let position = s.offset + time;
    var start = 0u;
    if (s.window > 0u && position + 1u > s.window) { start = position + 1u - s.window; }
    var end = count;
    if (s.causal == 1u) {
        end = min(end, position + 1u);
    } else if (s.window > 0u) {
        end = min(end, position + s.window);
    }
    return vec2<u32>(min(start, end), end);
}

// Half-open range of the queries that see key `j` of `count`.
fn seeing_queries(s: AttentionShape, j: u32, count: u32) -> vec2<u32> {
    var start = 0u;
    if (s.causal == 1u) {
        if (j > s.offset) { start = j - s.offset; }
    } else if (s.window > 0u && j + 1u > s.offset + s.window) {
        start = j + 1u - s.offset - s.window;
    }
    var end = s.time;
    if (s.window > 0u && j + s.window < s.offset + s.time) { end = max(j + s.window, s.offset) - s.offset; }
    if (j >= count) { end = start; }
    return vec2<u32>(start, max(start, min(end, s.time)));
}

fn soft_cap(s: AttentionShape, x: f32) -> f32 {
    if (s.cap == 0.0) { return x; }
    return s.cap * tanh(clamp(x / s.cap, -15.0, 15.0));
}

// Derivative of the soft-cap, from its value.
fn soft_cap_slope(s: AttentionShape, y: f32) -> f32 {
    if (s.cap == 0.0) { return 1.0; }
    return 1.0 - (y / s.cap) * (y / s.cap);
}
