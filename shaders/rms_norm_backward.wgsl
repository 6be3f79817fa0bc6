// dx = r * (g * (1 + w)) - x * r^3 * mean(g * (1 + w) * x), with r = rsqrt(mean(x^2) + eps); one workgroup a row.

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;
// rows, width, bits of eps (f32)
@group(0) @binding(4) var<storage, read_write> params: array<u32>;

// Sums of x^2 and of g (1 + w) x.
var<workgroup> partial: array<vec2<f32>, 64>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let width = params[1];
    let row = group.x + group.y * {{ grid_width }}u;
    let inside = row < params[0];
    let base = row * width;
    var sum = vec2<f32>(0.0);
    if (inside) {
        for (var i = t; i < width; i += 64u) {
            let v = x[base + i];
            sum += vec2<f32>(v * v, g[base + i] * (1.0 + w[i]) * v);
        }
    }
    partial[t] = sum;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if (t < half) { partial[t] += partial[t + half]; }
        workgroupBarrier();
    }
    let mean = partial[0] / f32(width);
    let r = inverseSqrt(mean.x + bitcast<f32>(params[2]));
    if (inside) {
        for (var i = t; i < width; i += 64u) {
            dx[base + i] = r * g[base + i] * (1.0 + w[i]) - x[base + i] * r * r * r * mean.y;
        }
    }
}
