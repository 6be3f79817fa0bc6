/// AdamW (Loshchilov and Hutter 2019, algorithm 2) as torch.optim.AdamW computes it.
///
/// It runs on the host: what it reads was released by the privacy session, so it is post-processing, and a LoRA
/// adapter is small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
        }
    }
}

/// The moments, one value per parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamWState {
    /// Running mean of the gradient.
    pub first: Vec<f32>,
    /// Running mean of its square.
    pub second: Vec<f32>,
    /// Steps taken.
    pub step: u32,
}

impl AdamWState {
    /// Before the first step.
    pub fn new(parameters: usize) -> Self {
        Self {
            first: vec![0.0; parameters],
            second: vec![0.0; parameters],
            step: 0,
        }
    }
}

impl AdamW {
    /// Updates `parameters` in place.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn step(
        &self,
        parameters: &mut [f32],
        gradient: &[f32],
        state: &mut AdamWState,
        learning_rate: f64,
    ) {
        assert!(parameters.len() == gradient.len() && gradient.len() == state.first.len());
        state.step += 1;
        let step = f64::from(state.step);
        let correction1 = 1.0 - self.beta1.powf(step);
        let correction2 = (1.0 - self.beta2.powf(step)).sqrt();
        let moments = state.first.iter_mut().zip(&mut state.second);
        for ((parameter, &g), (first, second)) in parameters.iter_mut().zip(gradient).zip(moments) {
            let g = f64::from(g);
            let m = self.beta1 * f64::from(*first) + (1.0 - self.beta1) * g;
            let v = self.beta2 * f64::from(*second) + (1.0 - self.beta2) * g * g;
            (*first, *second) = (m as f32, v as f32);
            let decayed = f64::from(*parameter) * (1.0 - learning_rate * self.weight_decay);
            let denominator = v.sqrt() / correction2 + self.epsilon;
            *parameter = (decayed - learning_rate / correction1 * m / denominator) as f32;
        }
    }
}
