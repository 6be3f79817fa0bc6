//! Two real sequences through one complex FFT.

use std::cell::RefCell;
use std::sync::Arc;

use rustfft::algorithm::Radix4;
use rustfft::num_complex::Complex64;
use rustfft::{Fft, FftDirection, Length};

thread_local! {
    /// Twiddle factors by length. Not the library's planner: it would bring every algorithm for every
    /// length into the page's module, and answers that differ in their last bits between machines.
    static PLANS: RefCell<Vec<Arc<Radix4<f64>>>> = const { RefCell::new(Vec::new()) };
}

fn plan(points: usize) -> Arc<Radix4<f64>> {
    PLANS.with_borrow_mut(|plans| {
        if let Some(known) = plans.iter().find(|plan| plan.len() == points) {
            return Arc::clone(known);
        }
        let plan = Arc::new(Radix4::new(points, FftDirection::Forward));
        plans.push(Arc::clone(&plan));
        plan
    })
}

/// A transform of a given length, and its working memory.
pub(super) struct Transform {
    fft: Arc<Radix4<f64>>,
    buffer: Vec<Complex64>,
    scratch: Vec<Complex64>,
}

impl Transform {
    /// A transform of `points` values, a power of two.
    pub fn new(points: usize) -> Self {
        let fft = plan(points);
        let zero = Complex64::new(0.0, 0.0);
        Self {
            buffer: vec![zero; points],
            scratch: vec![zero; fft.get_inplace_scratch_len()],
            fft,
        }
    }

    pub fn points(&self) -> usize {
        self.buffer.len()
    }

    /// Bound on the rounding error of one value of the transform of two sequences that each sum to at
    /// most 1: ε/2·(1 + 4·sqrt(2)) a level at most (Higham 2002, Theorem 24.2), several times what is seen.
    pub fn unit(&self) -> f64 {
        4.0 * f64::EPSILON * f64::from(self.points().trailing_zeros().max(1))
    }

    /// Spectra, at frequencies 0 to points/2, of two real sequences given as calls of
    /// `fill(sequence, add)`, each adding values at indices taken modulo `points`.
    pub fn forward(
        &mut self,
        fill: impl Fn(usize, &mut dyn FnMut(i64, f64)),
    ) -> [Vec<Complex64>; 2] {
        let points = self.points();
        self.buffer.fill(Complex64::new(0.0, 0.0));
        let buffer = &mut self.buffer;
        fill(0, &mut |index, value| {
            buffer[index.rem_euclid(points as i64) as usize].re += value;
        });
        fill(1, &mut |index, value| {
            buffer[index.rem_euclid(points as i64) as usize].im += value;
        });
        self.fft
            .process_with_scratch(&mut self.buffer, &mut self.scratch);
        let half = points / 2;
        let mut spectra = [Vec::with_capacity(half + 1), Vec::with_capacity(half + 1)];
        for k in 0..=half {
            let z = self.buffer[k];
            let mirrored = self.buffer[(points - k) % points].conj();
            let (sum, difference) = ((z + mirrored) * 0.5, (z - mirrored) * 0.5);
            spectra[0].push(sum);
            spectra[1].push(Complex64::new(difference.im, -difference.re));
        }
        spectra
    }

    /// The two real sequences with spectra `at(k)`, k from 0 to points/2, times `points`; index i of the
    /// sequences is index (points - i) mod points of the result.
    pub fn backward(&mut self, at: impl Fn(usize) -> [Complex64; 2]) -> &[Complex64] {
        let points = self.points();
        let turn = |z: Complex64| Complex64::new(-z.im, z.re);
        for k in 0..=points / 2 {
            let [first, second] = at(k);
            self.buffer[k] = first + turn(second);
            if k > 0 && k < points / 2 {
                self.buffer[points - k] = first.conj() + turn(second.conj());
            }
        }
        self.fft
            .process_with_scratch(&mut self.buffer, &mut self.scratch);
        &self.buffer
    }
}
