// out[b] = sum of squares of g[b, :], one workgroup an example. A tree of 256 partial sums keeps the error near 2^-24 of the result.

@group(0) @binding(0) var<storage, read_write> g: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
// examples, length
@group(0) @binding(2) var<storage, read_write> params: array<u32>;

var<workgroup> partial: array<f32, 256>;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let length = params[1];
    let example = group.x + group.y * {{ grid_width }}u;
    let inside = example < params[0];
    let base = example * length;
    var sum = 0.0;
    if (inside) {
        for (var i = t; i < length; i += 256u) { sum += g[base + i] * g[base + i]; }
    }
    partial[t] = sum;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if (t < half) { partial[t] += partial[t + half]; }
        workgroupBarrier();
    }
    if (inside && t == 0u) { out[example] = partial[0]; }
}
