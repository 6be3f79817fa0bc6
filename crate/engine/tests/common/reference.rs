//! The operations in f64 by their formulas, in plain loops: what both devices are compared with.

use std::f64::consts::PI;

pub fn rms_norm(x: &[f64], w: &[f64], eps: f64) -> Vec<f64> {
    x.chunks(w.len())
        .flat_map(|row| {
            let mean = row.iter().map(|v| v * v).sum::<f64>() / row.len() as f64;
            let r = (mean + eps).sqrt().recip();
            row.iter()
                .zip(w)
                .map(move |(v, w)| v * r * (1.0 + w))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// x `[batch, time, heads, dim]`; angles `[positions, dim / 2]`.
pub fn rope(
    x: &[f64],
    angles: &[f64],
    [_, time, heads, dim]: [usize; 4],
    position: usize,
) -> Vec<f64> {
    let half = dim / 2;
    let mut y = vec![0.0; x.len()];
    for (vector, chunk) in x.chunks(dim).enumerate() {
        let at = (position + (vector / heads) % time) * half;
        for d in 0..half {
            let (sin, cos) = angles[at + d].sin_cos();
            y[vector * dim + d] = chunk[d] * cos - chunk[half + d] * sin;
            y[vector * dim + half + d] = chunk[half + d] * cos + chunk[d] * sin;
        }
    }
    y
}

pub fn gelu_gate(gate: &[f64], up: &[f64]) -> Vec<f64> {
    gate.iter()
        .zip(up)
        .map(|(x, up)| {
            0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()) * up
        })
        .collect()
}

/// `scale · a · bᵀ`; a `[m, k]`, b `[n, k]`.
pub fn linear(a: &[f64], b: &[f64], k: usize, scale: f64) -> Vec<f64> {
    a.chunks(k)
        .flat_map(|row| {
            b.chunks(k)
                .map(move |w| scale * row.iter().zip(w).map(|(x, y)| x * y).sum::<f64>())
        })
        .collect()
}

pub fn lora(
    x: &[f64],
    a: &[f64],
    b: &[f64],
    [groups, m, width, r, out]: [usize; 5],
    scale: f64,
) -> Vec<f64> {
    (0..groups)
        .flat_map(|g| {
            let u = linear(
                &x[g * m * width..(g + 1) * m * width],
                &a[g * r * width..(g + 1) * r * width],
                width,
                1.0,
            );
            linear(&u, &b[g * out * r..(g + 1) * out * r], r, scale)
        })
        .collect()
}

pub struct Attention {
    pub batch: usize,
    pub time: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    pub capacity: usize,
    pub filled: usize,
    pub offset: usize,
    pub causal: bool,
    pub window: usize,
    pub key_lengths: Option<Vec<u32>>,
    pub scale: f64,
    pub soft_cap: f64,
}

pub fn attention(q: &[f64], k: &[f64], v: &[f64], s: &Attention) -> Vec<f64> {
    let mut out = vec![0.0; q.len()];
    for b in 0..s.batch {
        for t in 0..s.time {
            for h in 0..s.heads {
                let query = ((b * s.time + t) * s.heads + h) * s.dim;
                let key = |j: usize| {
                    ((b * s.capacity + j) * s.kv_heads + h / (s.heads / s.kv_heads)) * s.dim
                };
                let position = s.offset + t;
                let keys = s.key_lengths.as_ref().map_or(s.filled, |l| l[b] as usize);
                let seen: Vec<usize> = (0..keys)
                    .filter(|&j| {
                        (!s.causal || j <= position)
                            && (s.window == 0 || position.abs_diff(j) < s.window)
                    })
                    .collect();
                let scores: Vec<f64> = seen
                    .iter()
                    .map(|&j| {
                        let dot: f64 = (0..s.dim).map(|d| q[query + d] * k[key(j) + d]).sum();
                        let score = dot * s.scale;
                        if s.soft_cap > 0.0 {
                            s.soft_cap * (score / s.soft_cap).tanh()
                        } else {
                            score
                        }
                    })
                    .collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
                for (&j, score) in seen.iter().zip(&scores) {
                    for d in 0..s.dim {
                        out[query + d] += (score - largest).exp() / sum * v[key(j) + d];
                    }
                }
            }
        }
    }
    out
}

/// Loss of each row of `hidden · tableᵀ`, soft-capped; masked rows give 0.
pub fn cross_entropy(
    hidden: &[f64],
    table: &[f64],
    targets: &[i32],
    width: usize,
    cap: f64,
) -> Vec<f64> {
    hidden
        .chunks(width)
        .zip(targets)
        .map(|(row, &target)| {
            let logits: Vec<f64> = linear(row, table, width, 1.0)
                .into_iter()
                .map(|x| if cap > 0.0 { cap * (x / cap).tanh() } else { x })
                .collect();
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logits.iter().map(|x| (x - largest).exp()).sum();
            if target < 0 {
                0.0
            } else {
                sum.ln() + largest - logits[target as usize]
            }
        })
        .collect()
}

/// Gradient of `Σ g · f` with respect to input `which`, by central differences in f64.
pub fn gradient(
    f: &dyn Fn(&[Vec<f64>]) -> Vec<f64>,
    inputs: &[Vec<f64>],
    g: &[f64],
    which: usize,
) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut moved = inputs.to_vec();
    (0..inputs[which].len())
        .map(|i| {
            let mut value = |delta: f64| {
                moved[which][i] = inputs[which][i] + delta;
                let y = f(&moved);
                moved[which][i] = inputs[which][i];
                y.iter().zip(g).map(|(y, g)| y * g).sum::<f64>()
            };
            (value(STEP) - value(-STEP)) / (2.0 * STEP)
        })
        .collect()
}
