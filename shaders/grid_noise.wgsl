// sum[i] += floor(2^k Z), Z standard normal, modulo 2^32: Karney's algorithm N (2016) on ChaCha20 (RFC 8439).
//
// Integers only, and the same ones as `vaultlab_privacy::noise` draws, step by step; see there for what is proven.
// Each invocation has the stream of its own coordinate: key from the params, nonce (coordinate, 0, 0).

@group(0) @binding(0) var<storage, read_write> sum: array<i32>;
// length, k, eight words of key
@group(0) @binding(1) var<storage, read_write> params: array<u32>;

var<private> coordinate: u32;
var<private> drawn: u32;
var<private> block: array<vec4<u32>, 4>;

fn rotated(x: vec4<u32>, bits: u32) -> vec4<u32> {
    return (x << vec4(bits)) | (x >> vec4(32u - bits));
}

// Four quarter rounds at once, on the columns of the state.
fn quarter_rounds(rows: ptr<function, array<vec4<u32>, 4>>) {
    var a = (*rows)[0];
    var b = (*rows)[1];
    var c = (*rows)[2];
    var d = (*rows)[3];
    a += b; d = rotated(d ^ a, 16u);
    c += d; b = rotated(b ^ c, 12u);
    a += b; d = rotated(d ^ a, 8u);
    c += d; b = rotated(b ^ c, 7u);
    (*rows)[0] = a;
    (*rows)[1] = b;
    (*rows)[2] = c;
    (*rows)[3] = d;
}

fn fill_block(counter: u32) {
    let constants = vec4(0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u);
    let key_low = vec4(params[2], params[3], params[4], params[5]);
    let key_high = vec4(params[6], params[7], params[8], params[9]);
    let place = vec4(counter, coordinate, 0u, 0u);
    var rows = array<vec4<u32>, 4>(constants, key_low, key_high, place);
    for (var round = 0u; round < 10u; round++) {
        quarter_rounds(&rows);
        rows[1] = rows[1].yzwx;
        rows[2] = rows[2].zwxy;
        rows[3] = rows[3].wxyz;
        quarter_rounds(&rows);
        rows[1] = rows[1].wxyz;
        rows[2] = rows[2].zwxy;
        rows[3] = rows[3].yzwx;
    }
    block = array<vec4<u32>, 4>(rows[0] + constants, rows[1] + key_low, rows[2] + key_high, rows[3] + place);
}

fn next_word() -> u32 {
    let at = drawn % 16u;
    if (at == 0u) { fill_block(drawn / 16u); }
    drawn += 1u;
    return block[at / 4u][at % 4u];
}

// An integer below a small limit, each as likely.
fn next_below(limit: u32) -> u32 {
    let accepted = 0xffffffffu - 0xffffffffu % limit;
    var word = next_word();
    while (word >= accepted) { word = next_word(); }
    return word % limit;
}

// A uniform deviate in [0, 1) of 128 bits, its words drawn as they are needed.
struct Deviate {
    words: array<u32, 4>,
    drawn: u32,
}

fn new_deviate() -> Deviate {
    return Deviate(array<u32, 4>(next_word(), 0u, 0u, 0u), 1u);
}

fn word_of(deviate: ptr<function, Deviate>, index: u32) -> u32 {
    while ((*deviate).drawn <= index) {
        (*deviate).words[(*deviate).drawn] = next_word();
        (*deviate).drawn += 1u;
    }
    return (*deviate).words[index];
}

// False on a tie of all words.
fn is_below(a: ptr<function, Deviate>, b: ptr<function, Deviate>) -> bool {
    for (var index = 0u; index < 4u; index++) {
        let mine = word_of(a, index);
        let theirs = word_of(b, index);
        if (mine != theirs) { return mine < theirs; }
    }
    return false;
}

// True with probability e^(-1/2): the run 1/2 > u1 > u2 > … has even length.
fn exp_minus_half() -> bool {
    var last = new_deviate();
    if (last.words[0] >= 0x80000000u) { return true; }
    var even = false;
    loop {
        var next = new_deviate();
        if (!is_below(&next, &last)) { break; }
        last = next;
        even = !even;
    }
    return even;
}

// True with probability (2k + x) / (2k + 2).
fn coin(whole: u32, x: ptr<function, Deviate>) -> bool {
    let share = next_below(2u * whole + 2u);
    if (share == 2u * whole) {
        var next = new_deviate();
        return is_below(&next, x);
    }
    return share < 2u * whole;
}

// True with probability e^(-x(2k + x) / (2k + 2)).
fn exp_of_rest(whole: u32, x: ptr<function, Deviate>) -> bool {
    var last = new_deviate();
    if (!is_below(&last, x)) { return true; }
    if (!coin(whole, x)) { return true; }
    var even = false;
    loop {
        var next = new_deviate();
        if (!is_below(&next, &last)) { break; }
        if (!coin(whole, x)) { break; }
        last = next;
        even = !even;
    }
    return even;
}

fn noise(bits: u32) -> i32 {
    var whole = 0u;
    var fraction: Deviate;
    var accepted = false;
    while (!accepted) {
        whole = 0u;
        while (exp_minus_half()) { whole += 1u; }
        accepted = true;
        if (whole > 1u) {
            for (var i = 0u; accepted && i < whole * (whole - 1u); i++) { accepted = exp_minus_half(); }
        }
        if (accepted) {
            fraction = new_deviate();
            for (var i = 0u; accepted && i <= whole; i++) { accepted = exp_of_rest(whole, &fraction); }
        }
    }
    // The first k bits of the fraction; a shift by 32 is undefined.
    let leading = select(fraction.words[0] >> (32u - max(bits, 1u)), 0u, bits == 0u);
    let magnitude = (whole << bits) | leading;
    // floor(-x) = -floor(x) - 1.
    return bitcast<i32>(select(magnitude, ~magnitude, next_word() >= 0x80000000u));
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    coordinate = (group.x + group.y * {{ grid_width }}u) * 64u + t;
    if (coordinate >= params[0]) { return; }
    drawn = 0u;
    sum[coordinate] += noise(params[1]);
}
