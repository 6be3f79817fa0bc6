// sum[first + i] += factor[b] * g[b, i] over the examples b, in f32: for runs without privacy and for checks.
// A factor of 0 leaves the example out altogether, so that a non-finite gradient cannot enter as 0 * inf.

@group(0) @binding(0) var<storage, read_write> sum: array<f32>;
@group(0) @binding(1) var<storage, read_write> g: array<f32>;
@group(0) @binding(2) var<storage, read_write> factors: array<f32>;
// examples, length, first
@group(0) @binding(3) var<storage, read_write> params: array<u32>;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let i = (group.x + group.y * {{ grid_width }}u) * 256u + t;
    let length = params[1];
    if (i >= length) { return; }
    var total = sum[params[2] + i];
    for (var b = 0u; b < params[0]; b++) {
        let factor = factors[b];
        if (factor != 0.0) { total += factor * g[b * length + i]; }
    }
    sum[params[2] + i] = total;
}
