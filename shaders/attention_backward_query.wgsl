// dq of softmax attention: one workgroup a query, the scores of its keys recomputed in tiles of 64.

@group(0) @binding(0) var<storage, read_write> q: array<f32>;
@group(0) @binding(1) var<storage, read_write> k: array<f32>;
@group(0) @binding(2) var<storage, read_write> v: array<f32>;
@group(0) @binding(3) var<storage, read_write> d_out: array<f32>;
@group(0) @binding(4) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> dq: array<f32>;
@group(0) @binding(6) var<storage, read_write> params: array<u32>;

{{ visibility }}

var<workgroup> query: array<f32, 256>;
var<workgroup> d_row: array<f32, 256>;
var<workgroup> d_scores: array<f32, 64>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let s = load_shape(t);
    let row = min(group.x + group.y * {{ grid_width }}u, s.batch * s.time * s.heads - 1u);
    let head = row % s.heads;
    let time = (row / s.heads) % s.time;
    let batch = row / (s.heads * s.time);
    let kv_head = head / (s.heads / s.kv_heads);
    let keys = visible_keys(s, time, keys_of_row(s, batch, t));
    let stat = stats[row];

    for (var d = t; d < s.dim; d += 64u) {
        query[d] = q[row * s.dim + d];
        d_row[d] = d_out[row * s.dim + d];
    }
    workgroupBarrier();

    var acc: array<f32, 4>;
    for (var tile = keys.x; tile < keys.y; tile += 64u) {
        let j = tile + t;
        var d_score = 0.0;
        if (j < keys.y) {
            let base = ((batch * s.capacity + j) * s.kv_heads + kv_head) * s.dim;
            var dot = 0.0;
            var d_weight = 0.0;
            for (var d = 0u; d < s.dim; d++) {
                dot += query[d] * k[base + d];
                d_weight += d_row[d] * v[base + d];
            }
            let score = soft_cap(s, dot * s.scale);
            d_score = exp(score - stat.x) * (d_weight - stat.y) * soft_cap_slope(s, score) * s.scale;
        }
        d_scores[t] = d_score;
        workgroupBarrier();
        let count = min(64u, keys.y - tile);
        for (var part = 0u; part < 4u; part++) {
            let d = part * 64u + t;
            if (d < s.dim) {
                for (var i = 0u; i < count; i++) {
                    acc[part] += d_scores[i] * k[((batch * s.capacity + tile + i) * s.kv_heads + kv_head) * s.dim + d];
                }
            }
        }
        workgroupBarrier();
    }
    for (var part = 0u; part < 4u; part++) {
        let d = part * 64u + t;
        if (d < s.dim) { dq[row * s.dim + d] = acc[part]; }
    }
}
