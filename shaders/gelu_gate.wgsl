// y = gelu_tanh(gate) * up.

@group(0) @binding(0) var<storage, read_write> gate: array<f32>;
@group(0) @binding(1) var<storage, read_write> up: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
// elements
@group(0) @binding(3) var<storage, read_write> params: array<u32>;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let i = (group.x + group.y * {{ grid_width }}u) * 256u + t;
    if (i >= params[0]) { return; }
    let x = gate[i];
    // Some drivers compute tanh from exp, which overflows; beyond 15 the result is 1 in f32 anyway.
    let inner = clamp(0.7978845608028654 * (x + 0.044715 * x * x * x), -15.0, 15.0);
    y[i] = 0.5 * x * (1.0 + tanh(inner)) * up[i];
}
