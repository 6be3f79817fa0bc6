// Softmax attention with online normalisation (Milakov and Gimelshein 2018): one workgroup a query, keys in tiles of 64.
// q, out: [batch, time, heads, dim]; k, v: [batch, capacity, kv_heads, dim]; log_sums: [batch, time, heads].

@group(0) @binding(0) var<storage, read_write> q: array<f32>;
@group(0) @binding(1) var<storage, read_write> k: array<f32>;
@group(0) @binding(2) var<storage, read_write> v: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<storage, read_write> log_sums: array<f32>;
@group(0) @binding(5) var<storage, read_write> params: array<u32>;

{{ visibility }}

var<workgroup> query: array<f32, 256>;
var<workgroup> weights: array<f32, 64>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let s = load_shape(t);
    // Workgroups past the end repeat the last query: they write the same values.
    let row = min(group.x + group.y * {{ grid_width }}u, s.batch * s.time * s.heads - 1u);
    let head = row % s.heads;
    let time = (row / s.heads) % s.time;
    let batch = row / (s.heads * s.time);
    let kv_head = head / (s.heads / s.kv_heads);
    let keys = visible_keys(s, time, keys_of_row(s, batch, t));

    for (var d = t; d < s.dim; d += 64u) { query[d] = q[row * s.dim + d]; }
    workgroupBarrier();

    var largest = -3.4e38;
    var sum = 0.0;
    var acc: array<f32, 4>;
    for (var tile = keys.x; tile < keys.y; tile += 64u) {
        let j = tile + t;
        var score = -3.4e38;
        if (j < keys.y) {
            let base = ((batch * s.capacity + j) * s.kv_heads + kv_head) * s.dim;
            var dot = 0.0;
            for (var d = 0u; d < s.dim; d++) { dot += query[d] * k[base + d]; }
            score = soft_cap(s, dot * s.scale);
        }
        partial[t] = score;
        workgroupBarrier();
        for (var half = 32u; half > 0u; half /= 2u) {
            if (t < half) { partial[t] = max(partial[t], partial[t + half]); }
            workgroupBarrier();
        }
        let new_largest = max(largest, partial[0]);
        weights[t] = select(0.0, exp(score - new_largest), j < keys.y);
        workgroupBarrier();
        let keep = exp(largest - new_largest);
        largest = new_largest;
        let count = min(64u, keys.y - tile);
        sum *= keep;
        for (var i = 0u; i < count; i++) { sum += weights[i]; }
        for (var part = 0u; part < 4u; part++) {
            let d = part * 64u + t;
            if (d < s.dim) {
                var value = acc[part] * keep;
                for (var i = 0u; i < count; i++) {
                    value += weights[i] * v[((batch * s.capacity + tile + i) * s.kv_heads + kv_head) * s.dim + d];
                }
                acc[part] = value;
            }
        }
        workgroupBarrier();
    }
    // A query among the padding may see no key at all: its output is 0, not 0 / 0.
    if (sum == 0.0) { sum = 1.0; }
    for (var part = 0u; part < 4u; part++) {
        let d = part * 64u + t;
        if (d < s.dim) { out[row * s.dim + d] = acc[part] / sum; }
    }
    if (t == 0u) { log_sums[row] = largest + log(sum); }
}
