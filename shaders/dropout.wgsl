// y = keep ? x / (1 - p) : 0, where keep is a hash of (the example's seed, salt, index within the example): recomputing
// a block drops the same entries, and an example's mask does not depend on the examples beside it.
// The hash is PCG (Jarzynski and Olano 2020, "Hash Functions for GPU Rendering"); it guards no secret.

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> seeds: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
// elements, elements of an example, salt, keep below this hash value, bits of 1 / (1 - p) (f32)
@group(0) @binding(3) var<storage, read_write> params: array<u32>;

fn pcg(v: u32) -> u32 {
    let state = v * 747796405u + 2891336453u;
    let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let i = (group.x + group.y * {{ grid_width }}u) * 256u + t;
    if (i >= params[0]) { return; }
    let seed = pcg(bitcast<u32>(seeds[i / params[1]]) ^ params[2]);
    let keep = pcg((i % params[1]) ^ seed) < params[3];
    y[i] = select(0.0, x[i] * bitcast<f32>(params[4]), keep);
}
