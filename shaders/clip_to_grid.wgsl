// sum[first + i] += trunc(multiplier[b] * g[b, i]) over the examples b, in integers modulo 2^32: the private sum.
// The multiplier clips and scales to the grid at once; one of 0 leaves the example out, whatever its values.

@group(0) @binding(0) var<storage, read_write> sum: array<i32>;
@group(0) @binding(1) var<storage, read_write> g: array<f32>;
@group(0) @binding(2) var<storage, read_write> multipliers: array<f32>;
// examples, length, first
@group(0) @binding(3) var<storage, read_write> params: array<u32>;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let i = (group.x + group.y * {{ grid_width }}u) * 256u + t;
    let length = params[1];
    if (i >= length) { return; }
    var total = sum[params[2] + i];
    for (var b = 0u; b < params[0]; b++) {
        let multiplier = multipliers[b];
        if (multiplier != 0.0) { total += i32(g[b * length + i] * multiplier); }
    }
    sum[params[2] + i] = total;
}
