//! Gaussian noise in integers, ⌊2^k·Z⌋ with Z standard normal.
//!
//! For an integer v, v + ⌊2^k·Z⌋ = ⌊v + 2^k·Z⌋: the noised sum is a function of what the real-valued Gaussian
//! mechanism would release for the same integers. So all that holds for the Gaussian mechanism holds here,
//! subsampling and composition included, by post-processing (Dwork, Roth 2014, Proposition 2.1) and without
//! an approximation. (For the discrete Gaussian of Canonne, Kamath, Steinke 2020 that is known of Rényi
//! divergences, but not of the whole privacy loss distribution.)
//!
//! Z is drawn by Karney's algorithm N (2016, "Sampling exactly from the normal distribution",
//! <https://doi.org/10.1145/2710016>), which uses no arithmetic but comparisons of uniform deviates. It is
//! exact for real deviates. Ours have 128 bits, so the result is another one only if two deviates agree in
//! all of them: with probability 2^-128 a comparison, and fewer than 64 comparisons a draw on average, the
//! total-variation distance is below [`TOTAL_VARIATION`] a draw. Deviates are drawn 32 bits at a time, as
//! comparisons need them.
//!
//! Bits come from ChaCha20 (RFC 8439) with a key of the step's own and the coordinate's number as a nonce;
//! `shaders/grid_noise.wgsl` draws the same integers on the GPU.

use std::fmt;

use crate::chacha;

/// How this version draws its noise, as quoted in statements.
pub const NOISE_SAMPLER: &str =
    "Gaussian rounded down to an integer grid (Karney 2016), ChaCha20 (RFC 8439)";

/// Comparisons of deviates in a draw, on average: fewer than this. (A draw takes 17.5 words on average, and
/// each comparison has at least one of its own.)
const COMPARISONS: f64 = 64.0;

/// Total-variation distance between one coordinate's noise and the law it stands for, at most: 2^-122.
pub const TOTAL_VARIATION: f64 = COMPARISONS / (1_u128 << 64) as f64 / (1_u128 << 64) as f64;

/// 32-bit words of a uniform deviate.
const WORDS: usize = 4;

/// A step's noise: one integer a coordinate, the same each time it is asked for.
///
/// Handed by a session to the sum that it noises, after the charge. Whoever keeps it can remove the noise.
#[derive(Clone, PartialEq, Eq)]
pub struct StepNoise {
    key: [u32; 8],
    bits: u32,
}

impl StepNoise {
    /// INSECURE, for tests: noise that whoever knows the key can take off again. A session makes its own, from a
    /// fresh key that it does not show.
    ///
    /// # Panics
    /// If `bits` is larger than 24.
    pub fn of_known_key(key: [u32; 8], bits: u32) -> Self {
        Self::new(key, bits)
    }

    /// Noise of standard deviation 2^`bits`, `bits` ≤ 24.
    pub(crate) fn new(key: [u32; 8], bits: u32) -> Self {
        assert!(bits <= 24, "noise of 2^{bits} leaves no room in 32 bits");
        Self { key, bits }
    }

    /// The key, for a device that draws the same noise.
    pub fn key(&self) -> &[u32; 8] {
        &self.key
    }

    /// k: the standard deviation is 2^k.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// ⌊2^k·Z⌋ for one coordinate.
    pub fn integer(&self, coordinate: u32) -> i32 {
        let mut bits = Bits::new(&self.key, coordinate);
        let (whole, fraction, negative) = standard_normal(&mut bits);
        let magnitude = (whole << self.bits) | leading(fraction, self.bits);
        // ⌊-x⌋ = -⌊x⌋ - 1 for an x that is no integer, which Z almost surely is not.
        if negative {
            !(magnitude as i32)
        } else {
            magnitude as i32
        }
    }
}

impl fmt::Debug for StepNoise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StepNoise(2^{})", self.bits)
    }
}

/// The first bits of a deviate.
fn leading(word: u32, bits: u32) -> u32 {
    if bits == 0 { 0 } else { word >> (32 - bits) }
}

/// A coordinate's random words.
struct Bits<'k> {
    key: &'k [u32; 8],
    coordinate: u32,
    block: [u32; 16],
    drawn: u32,
}

impl<'k> Bits<'k> {
    fn new(key: &'k [u32; 8], coordinate: u32) -> Self {
        Self {
            key,
            coordinate,
            block: [0; 16],
            drawn: 0,
        }
    }

    fn word(&mut self) -> u32 {
        let place = self.drawn % 16;
        if place == 0 {
            self.block = chacha::block(self.key, self.drawn / 16, [self.coordinate, 0, 0]);
        }
        self.drawn += 1;
        self.block[place as usize]
    }

    /// An integer below `limit`, which is small: rejects what would favour some (Lemire 2019 does better, but
    /// needs a wide product in WGSL).
    fn below(&mut self, limit: u32) -> u32 {
        let accepted = u32::MAX - u32::MAX % limit;
        loop {
            let word = self.word();
            if word < accepted {
                return word % limit;
            }
        }
    }
}

/// A uniform deviate in [0, 1), its words drawn as they are needed.
#[derive(Clone, Copy, Default)]
struct Deviate {
    words: [u32; WORDS],
    drawn: usize,
}

impl Deviate {
    fn new(bits: &mut Bits<'_>) -> Self {
        let mut deviate = Self::default();
        deviate.word(0, bits);
        deviate
    }

    fn word(&mut self, index: usize, bits: &mut Bits<'_>) -> u32 {
        while self.drawn <= index {
            self.words[self.drawn] = bits.word();
            self.drawn += 1;
        }
        self.words[index]
    }

    /// True if this one is below `other`; false on a tie of all words.
    fn is_below(&mut self, other: &mut Self, bits: &mut Bits<'_>) -> bool {
        for index in 0..WORDS {
            let (mine, theirs) = (self.word(index, bits), other.word(index, bits));
            if mine != theirs {
                return mine < theirs;
            }
        }
        false
    }
}

/// |Z| as its whole part and the first 32 bits of its fraction, and whether Z is negative (algorithm N).
fn standard_normal(bits: &mut Bits<'_>) -> (u32, u32, bool) {
    loop {
        let whole = half_exponential(bits);
        if !(0..whole * whole.saturating_sub(1)).all(|_| exp_minus_half(bits)) {
            continue;
        }
        let mut fraction = Deviate::new(bits);
        if (0..=whole).all(|_| exp_of_rest(whole, &mut fraction, bits)) {
            let negative = bits.word() >> 31 == 1;
            return (whole, fraction.words[0], negative);
        }
    }
}

/// n ≥ 0 with probability e^{-n/2}·(1 - e^{-1/2}) (algorithm G).
fn half_exponential(bits: &mut Bits<'_>) -> u32 {
    let mut count = 0;
    while exp_minus_half(bits) {
        count += 1;
    }
    count
}

/// True with probability e^{-1/2} (algorithm H): the run 1/2 > u₁ > u₂ > … has even length.
fn exp_minus_half(bits: &mut Bits<'_>) -> bool {
    let mut last = Deviate::new(bits);
    if last.words[0] >> 31 == 1 {
        return true;
    }
    let mut even = false;
    loop {
        let mut next = Deviate::new(bits);
        if !next.is_below(&mut last, bits) {
            return even;
        }
        last = next;
        even = !even;
    }
}

/// True with probability e^{-x(2k+x)/(2k+2)} for x in [0, 1) (algorithm B): the run x > u₁ > u₂ > …, each
/// link of which also takes a coin of (2k+x)/(2k+2), has even length.
fn exp_of_rest(whole: u32, x: &mut Deviate, bits: &mut Bits<'_>) -> bool {
    let mut next = Deviate::new(bits);
    if !next.is_below(x, bits) || !coin(whole, x, bits) {
        return true;
    }
    let mut last = next;
    let mut even = false;
    loop {
        let mut next = Deviate::new(bits);
        if !next.is_below(&mut last, bits) || !coin(whole, x, bits) {
            return even;
        }
        last = next;
        even = !even;
    }
}

/// True with probability (2k+x)/(2k+2): one of 2k+2 equal shares is x's, and one is never (algorithm C).
fn coin(whole: u32, x: &mut Deviate, bits: &mut Bits<'_>) -> bool {
    let share = bits.below(2 * whole + 2);
    match share.cmp(&(2 * whole)) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Equal => Deviate::new(bits).is_below(x, bits),
        std::cmp::Ordering::Greater => false,
    }
}

/// Expected L2 norm of `dimensions` independent Gaussians, to within 1/(8·dimensions²) relative:
/// standard deviation · sqrt(dimensions - 1/2). It depends on no data.
pub fn expected_norm(standard_deviation: f64, dimensions: usize) -> f64 {
    standard_deviation * (dimensions as f64 - 0.5).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before each comparison of deviates a new one is drawn, so a draw makes no more comparisons than it takes
    /// words: on average fewer than 20, far from the 64 that the bound on the total variation allows. The mean
    /// of 10⁶ draws strays by less than 0.1, for the words' standard deviation is below 16.
    #[test]
    fn few_comparisons_a_draw() {
        let key = [1; 8];
        let draws = 1_000_000_u32;
        let (mut words, mut squares) = (0.0, 0.0);
        for coordinate in 0..draws {
            let mut bits = Bits::new(&key, coordinate);
            standard_normal(&mut bits);
            words += f64::from(bits.drawn);
            squares += f64::from(bits.drawn).powi(2);
        }
        let mean = words / f64::from(draws);
        let deviation = (squares / f64::from(draws) - mean * mean).sqrt();
        assert!(mean < 20.0 && deviation < 20.0, "{mean} ± {deviation}");
        assert_eq!(TOTAL_VARIATION, 2.0_f64.powi(-122));
    }

    /// Deviates that agree in some words are told apart by the next; a tie of all words is not "below".
    #[test]
    fn comparisons_go_word_by_word() {
        let key = [2; 8];
        let mut bits = Bits::new(&key, 0);
        let deviate = |words: [u32; WORDS]| Deviate {
            words,
            drawn: WORDS,
        };
        let mut low = deviate([5, 5, 5, 1]);
        let mut high = deviate([5, 5, 5, 2]);
        assert!(low.is_below(&mut high, &mut bits) && !high.is_below(&mut low, &mut bits));
        assert!(!low.clone().is_below(&mut low, &mut bits));
        // Words beyond those drawn come from the stream, once.
        let mut short = Deviate {
            words: [5, 0, 0, 0],
            drawn: 1,
        };
        let before = bits.drawn;
        let first = short.is_below(&mut high, &mut bits);
        assert_eq!((short.drawn, bits.drawn - before), (2, 1));
        assert_eq!(short.is_below(&mut high, &mut bits), first);
        assert_eq!(bits.drawn - before, 1);
    }
}
