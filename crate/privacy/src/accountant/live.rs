//! The accountant of a run in progress.

use super::pld::composer::Composer;
use super::{AccountingError, Adjacency, Phase, validate_delta, validate_phases};

/// Answers for ε after every step of a run, in a few milliseconds each.
///
/// The discretised losses and their transforms are kept from one question to the next. Without what
/// [`Self::epsilon`] remembers of earlier answers, they are the values of [`super::epsilon`].
pub struct LiveAccountant {
    composer: Composer,
    /// The last answers, newest first: phases, δ, ε.
    answers: Vec<(Vec<Phase>, f64, f64)>,
}

/// Answers remembered.
const ANSWERS: usize = 4;

impl LiveAccountant {
    /// An accountant that was not asked yet.
    pub fn new() -> Self {
        Self {
            composer: Composer::new(Adjacency::AddRemove, false),
            answers: Vec::new(),
        }
    }

    /// Upper bound on ε at `delta` after all `phases`, add/remove adjacency.
    ///
    /// Never below an earlier answer for phases that these contain, although two grids' roundings
    /// differ: what was spent stays spent.
    ///
    /// # Errors
    /// When a phase or `delta` is out of range.
    pub fn epsilon(&mut self, phases: &[Phase], delta: f64) -> Result<f64, AccountingError> {
        validate_phases(phases)?;
        validate_delta(delta)?;
        if let Some((_, _, epsilon)) = self
            .answers
            .iter()
            .find(|(known, at, _)| *at == delta && known == phases)
        {
            return Ok(*epsilon);
        }
        let fresh = self.composer.upper(phases, delta);
        let epsilon = self
            .answers
            .iter()
            .filter(|(known, at, _)| *at >= delta && contains(phases, known))
            .map(|(_, _, epsilon)| *epsilon)
            .fold(fresh, f64::max);
        self.answers.truncate(ANSWERS - 1);
        self.answers.insert(0, (phases.to_vec(), delta, epsilon));
        Ok(epsilon)
    }
}

impl Default for LiveAccountant {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for LiveAccountant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveAccountant").finish_non_exhaustive()
    }
}

/// True if every mechanism of `part` has at least as many steps in `all`. Mechanisms listed more than
/// once are not looked into.
fn contains(all: &[Phase], part: &[Phase]) -> bool {
    let same = |a: &Phase, b: &Phase| Phase { steps: 0, ..*a } == Phase { steps: 0, ..*b };
    let once = |phases: &[Phase], phase: &Phase| {
        phases.iter().filter(|other| same(other, phase)).count() == 1
    };
    part.iter().all(|phase| {
        once(part, phase)
            && all
                .iter()
                .any(|other| same(other, phase) && phase.steps <= other.steps)
    })
}
