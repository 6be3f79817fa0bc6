// What both backward kernels need of a query row: (log of the softmax's denominator, d_out . out).

@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read_write> d_out: array<f32>;
@group(0) @binding(2) var<storage, read_write> log_sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> stats: array<vec2<f32>>;
// rows, dim
@group(0) @binding(4) var<storage, read_write> params: array<u32>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let row = (group.x + group.y * {{ grid_width }}u) * 64u + t;
    if (row >= params[0]) { return; }
    let dim = params[1];
    var dot = 0.0;
    for (var d = 0u; d < dim; d++) { dot += out[row * dim + d] * d_out[row * dim + d]; }
    stats[row] = vec2<f32>(log_sums[row], dot);
}
