// y[i, :] = scale * table[ids[i], :]; an id outside the table gives zeros.

@group(0) @binding(0) var<storage, read_write> table: array<f32>;
@group(0) @binding(1) var<storage, read_write> ids: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
// elements of y, width, rows of the table, bits of scale (f32)
@group(0) @binding(3) var<storage, read_write> params: array<u32>;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let i = (group.x + group.y * {{ grid_width }}u) * 256u + t;
    if (i >= params[0]) { return; }
    let width = params[1];
    let id = ids[i / width];
    var value = 0.0;
    if (id >= 0 && u32(id) < params[2]) {
        value = table[u32(id) * width + i % width] * bitcast<f32>(params[3]);
    }
    y[i] = value;
}
