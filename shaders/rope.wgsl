// Rotates halves: (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin); the backward pass rotates by -sin.
// x is [batch, time, heads, 2 * half_dim]; the tables are [positions, half_dim].

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> cosines: array<f32>;
@group(0) @binding(2) var<storage, read_write> sines: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
// pairs in all, time, heads, half_dim, first position, bits of the sine's sign (f32)
@group(0) @binding(4) var<storage, read_write> params: array<u32>;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let i = (group.x + group.y * {{ grid_width }}u) * 256u + t;
    if (i >= params[0]) { return; }
    let half_dim = params[3];
    let d = i % half_dim;
    let vector = i / half_dim;
    let position = params[4] + (vector / params[2]) % params[1];
    let c = cosines[position * half_dim + d];
    let s = sines[position * half_dim + d] * bitcast<f32>(params[5]);
    let first = vector * 2u * half_dim + d;
    let x1 = x[first];
    let x2 = x[first + half_dim];
    y[first] = x1 * c - x2 * s;
    y[first + half_dim] = x2 * c + x1 * s;
}
