// out[m, n] = sum_k x[m, k] * w[n, k] for a few rows m: 8 outputs a workgroup, 8 invocations an output.

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding({{ out_binding }}) var<storage, read_write> out: array<f32>;
// m, n, k
@group(0) @binding({{ params_binding }}) var<storage, read_write> params: array<u32>;

var<workgroup> uniform_params: array<u32, 3>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    if (t < 3u) { uniform_params[t] = params[t]; }
    let p = workgroupUniformLoad(&uniform_params);
    let n = p[1];
    let k = p[2];
    let lane = t % 8u;
    let row = (group.x + group.y * {{ grid_width }}u) * 8u + t / 8u;
    for (var m = 0u; m < p[0]; m++) {
        var sum = 0.0;
        if (row < n) {
            for (var i = lane; i < k; i += 8u) { sum += x[m * k + i] * weight(row * k + i); }
        }
        partial[t] = sum;
        workgroupBarrier();
        if (lane == 0u && row < n) {
            var total = 0.0;
            for (var i = 0u; i < 8u; i++) { total += partial[t + i]; }
            out[m * n + row] = total;
        }
        workgroupBarrier();
    }
}
