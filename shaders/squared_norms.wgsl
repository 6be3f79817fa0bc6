// out[b] = sum of squares of g[b, :], one workgroup an example; infinite if a value is not finite or not below 2^50.
//
// That is decided on the values' bits: a shader may be compiled as if infinities and NaNs did not exist, and below
// 2^50 no square and no sum overflows. Adding in a tree of 256 partial sums keeps the error small and known.

@group(0) @binding(0) var<storage, read_write> g: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
// examples, length
@group(0) @binding(2) var<storage, read_write> params: array<u32>;

const TOO_LARGE = 0x58800000u; // 2^50
const INFINITE = 0x7f800000u;

var<workgroup> partial: array<f32, 256>;
var<workgroup> refused: atomic<u32>;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let length = params[1];
    let example = group.x + group.y * {{ grid_width }}u;
    let inside = example < params[0];
    let base = example * length;
    // Workgroup memory may hold what an earlier workgroup left there.
    if (t == 0u) { atomicStore(&refused, 0u); }
    workgroupBarrier();
    var sum = 0.0;
    if (inside) {
        for (var i = t; i < length; i += 256u) {
            let bits = g[base + i];
            if ((bits & 0x7fffffffu) >= TOO_LARGE) {
                atomicStore(&refused, 1u);
            } else {
                let value = bitcast<f32>(bits);
                sum += value * value;
            }
        }
    }
    partial[t] = sum;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if (t < half) { partial[t] += partial[t + half]; }
        workgroupBarrier();
    }
    if (inside && t == 0u) {
        out[example] = select(bitcast<u32>(partial[0]), INFINITE, atomicLoad(&refused) == 1u);
    }
}
