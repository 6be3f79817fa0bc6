// out[g, m, n] = scale * sum_k a[g, m, k] * b[g, k, n], tiled in registers and workgroup memory.
//
// A workgroup of {{ side }} x {{ side }} invocations owns a square tile of the output, each invocation 4 x 4 of it.
// `weight(i)` comes from one of the weight loaders, so a quantised matrix is decoded once per tile.

@group(0) @binding(0) var<storage, read_write> a: array<f32>;
@group(0) @binding({{ out_binding }}) var<storage, read_write> out: array<f32>;
// m, n, k, batch stride of a, batch stride of b, bits of scale (f32)
@group(0) @binding({{ params_binding }}) var<storage, read_write> params: array<u32>;

const SIDE = {{ side }}u;
const THREADS = SIDE * SIDE;
const TILE = 4u * SIDE;
const DEPTH = 16u;

var<workgroup> uniform_params: array<u32, 6>;
var<workgroup> a_tile: array<f32, DEPTH * TILE>;
var<workgroup> b_tile: array<f32, DEPTH * TILE>;

@compute @workgroup_size(SIDE, SIDE, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) t: u32,
) {
    // Barriers need loop bounds that the compiler can prove uniform.
    if (t < 6u) { uniform_params[t] = params[t]; }
    let p = workgroupUniformLoad(&uniform_params);
    let m = p[0];
    let n = p[1];
    let k = p[2];
    let a_base = group.z * p[3];
    let b_base = group.z * p[4];
    let scale = bitcast<f32>(p[5]);
    let m0 = group.y * TILE;
    let n0 = group.x * TILE;

    var sum: array<vec4<f32>, 4>;
    for (var k0 = 0u; k0 < k; k0 += DEPTH) {
        for (var i = t; i < DEPTH * TILE; i += THREADS) {
            let am = {{ a_tile_m }};
            let ak = {{ a_tile_k }};
            var value = 0.0;
            if (m0 + am < m && k0 + ak < k) { value = a[a_base + {{ a_index }}]; }
            a_tile[ak * TILE + am] = value;
        }
        for (var i = t; i < DEPTH * TILE; i += THREADS) {
            let bn = {{ b_tile_n }};
            let bk = {{ b_tile_k }};
            var value = 0.0;
            if (n0 + bn < n && k0 + bk < k) { value = weight(b_base + {{ b_index }}); }
            b_tile[bk * TILE + bn] = value;
        }
        workgroupBarrier();
        for (var j = 0u; j < DEPTH; j++) {
            let row = j * TILE + local.y * 4u;
            let column = j * TILE + local.x * 4u;
            let b4 = vec4<f32>(b_tile[column], b_tile[column + 1u], b_tile[column + 2u], b_tile[column + 3u]);
            sum[0] += a_tile[row] * b4;
            sum[1] += a_tile[row + 1u] * b4;
            sum[2] += a_tile[row + 2u] * b4;
            sum[3] += a_tile[row + 3u] * b4;
        }
        workgroupBarrier();
    }

    let out_base = group.z * m * n;
    for (var i = 0u; i < 4u; i++) {
        let row = m0 + local.y * 4u + i;
        for (var j = 0u; j < 4u; j++) {
            let column = n0 + local.x * 4u + j;
            if (row < m && column < n) { out[out_base + row * n + column] = scale * sum[i][j]; }
        }
    }
}
