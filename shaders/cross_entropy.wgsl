// Softmax cross-entropy of one chunk of rows, in place: logits become their gradient times the row's weight.
// One workgroup a row. A negative target masks the row: loss 0, gradient 0.

@group(0) @binding(0) var<storage, read_write> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> targets: array<i32>;
@group(0) @binding(2) var<storage, read_write> row_weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;
// rows, vocabulary, bits of the final soft-cap (f32, 0 for none), first row of the chunk
@group(0) @binding(4) var<storage, read_write> params: array<u32>;

var<workgroup> partial: array<f32, 256>;

fn capped(x: f32, cap: f32) -> f32 {
    if (cap == 0.0) { return x; }
    return cap * tanh(clamp(x / cap, -15.0, 15.0));
}

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let vocabulary = params[1];
    let cap = bitcast<f32>(params[2]);
    let in_chunk = group.x + group.y * {{ grid_width }}u;
    let inside = in_chunk < params[0];
    let row = params[3] + in_chunk;
    let base = in_chunk * vocabulary;

    var largest = -3.4e38;
    if (inside) {
        for (var i = t; i < vocabulary; i += 256u) { largest = max(largest, capped(logits[base + i], cap)); }
    }
    partial[t] = largest;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if (t < half) { partial[t] = max(partial[t], partial[t + half]); }
        workgroupBarrier();
    }
    largest = partial[0];
    workgroupBarrier();

    var sum = 0.0;
    if (inside) {
        for (var i = t; i < vocabulary; i += 256u) { sum += exp(capped(logits[base + i], cap) - largest); }
    }
    partial[t] = sum;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if (t < half) { partial[t] += partial[t + half]; }
        workgroupBarrier();
    }
    let log_sum = log(partial[0]) + largest;
    if (!inside) { return; }

    let target_id = targets[row];
    let weight = select(row_weights[row], 0.0, target_id < 0);
    if (t == 0u && target_id < 0) { losses[row] = 0.0; }
    for (var i = t; i < vocabulary; i += 256u) {
        let y = capped(logits[base + i], cap);
        var d = exp(y - log_sum);
        if (i32(i) == target_id) {
            d -= 1.0;
            losses[row] = log_sum - y;
        }
        if (cap != 0.0) { d *= 1.0 - (y / cap) * (y / cap); }
        logits[base + i] = d * weight;
    }
}
