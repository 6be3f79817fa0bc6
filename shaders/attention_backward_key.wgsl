// dk and dv of softmax attention: one workgroup a key and kv head, over the queries that see it in tiles of 64.

@group(0) @binding(0) var<storage, read_write> q: array<f32>;
@group(0) @binding(1) var<storage, read_write> k: array<f32>;
@group(0) @binding(2) var<storage, read_write> v: array<f32>;
@group(0) @binding(3) var<storage, read_write> d_out: array<f32>;
@group(0) @binding(4) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> dk: array<f32>;
@group(0) @binding(6) var<storage, read_write> dv: array<f32>;
@group(0) @binding(7) var<storage, read_write> params: array<u32>;

{{ visibility }}

var<workgroup> key: array<f32, 256>;
var<workgroup> value: array<f32, 256>;
var<workgroup> weights: array<f32, 64>;
var<workgroup> d_scores: array<f32, 64>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let s = load_shape(t);
    let row = min(group.x + group.y * {{ grid_width }}u, s.batch * s.capacity * s.kv_heads - 1u);
    let kv_head = row % s.kv_heads;
    let j = (row / s.kv_heads) % s.capacity;
    let batch = row / (s.kv_heads * s.capacity);
    let queries = seeing_queries(s, j, keys_of_row(s, batch, t));
    let shared_by = s.heads / s.kv_heads;

    for (var d = t; d < s.dim; d += 64u) {
        key[d] = k[row * s.dim + d];
        value[d] = v[row * s.dim + d];
    }
    workgroupBarrier();

    var k_acc: array<f32, 4>;
    var v_acc: array<f32, 4>;
    for (var h = 0u; h < shared_by; h++) {
        let head = kv_head * shared_by + h;
        for (var tile = queries.x; tile < queries.y; tile += 64u) {
            let time = tile + t;
            var weight = 0.0;
            var d_score = 0.0;
            if (time < queries.y) {
                let q_row = (batch * s.time + time) * s.heads + head;
                var dot = 0.0;
                var d_weight = 0.0;
                for (var d = 0u; d < s.dim; d++) {
                    dot += q[q_row * s.dim + d] * key[d];
                    d_weight += d_out[q_row * s.dim + d] * value[d];
                }
                let score = soft_cap(s, dot * s.scale);
                weight = exp(score - stats[q_row].x);
                d_score = weight * (d_weight - stats[q_row].y) * soft_cap_slope(s, score) * s.scale;
            }
            weights[t] = weight;
            d_scores[t] = d_score;
            workgroupBarrier();
            let count = min(64u, queries.y - tile);
            for (var part = 0u; part < 4u; part++) {
                let d = part * 64u + t;
                if (d < s.dim) {
                    for (var i = 0u; i < count; i++) {
                        let at = ((batch * s.time + tile + i) * s.heads + head) * s.dim + d;
                        v_acc[part] += weights[i] * d_out[at];
                        k_acc[part] += d_scores[i] * q[at];
                    }
                }
            }
            workgroupBarrier();
        }
    }
    for (var part = 0u; part < 4u; part++) {
        let d = part * 64u + t;
        if (d < s.dim) {
            dk[row * s.dim + d] = k_acc[part];
            dv[row * s.dim + d] = v_acc[part];
        }
    }
}
