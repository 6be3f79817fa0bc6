// y = x * rsqrt(mean(x^2) + eps) * (1 + w), one workgroup a row.

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
// rows, width, bits of eps (f32)
@group(0) @binding(3) var<storage, read_write> params: array<u32>;

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let width = params[1];
    let row = group.x + group.y * {{ grid_width }}u;
    let inside = row < params[0];
    let base = row * width;
    var sum = 0.0;
    if (inside) {
        for (var i = t; i < width; i += 64u) { sum += x[base + i] * x[base + i]; }
    }
    partial[t] = sum;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if (t < half) { partial[t] += partial[t + half]; }
        workgroupBarrier();
    }
    let r = inverseSqrt(partial[0] / f32(width) + bitcast<f32>(params[2]));
    if (inside) {
        for (var i = t; i < width; i += 64u) { y[base + i] = x[base + i] * r * (1.0 + w[i]); }
    }
}
