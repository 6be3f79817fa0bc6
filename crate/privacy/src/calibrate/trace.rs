//! ε along a run.

use crate::accountant::pld::composer::Composer;
use crate::accountant::{
    AccountingError, Adjacency, Phase, epsilon, validate_delta, validate_phases,
};

/// Half of the part of ε by which a point inside a trace may be too large: a picture needs no more.
const TOLERANCE: f64 = 2.5e-4;

/// ε after a number of steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TracePoint {
    /// Steps taken.
    pub steps: u64,
    /// ε spent by then, everything before the traced phase included.
    pub epsilon: f64,
}

/// ε along `phase`, after everything in `earlier`, add/remove adjacency: at most `points` (≥ 2) points,
/// evenly spread, the first at step 0 and the last at the end.
///
/// Every point is an upper bound. The ends are those of [`crate::accountant::epsilon`]; those between
/// are on a coarser grid, and up to 5e-4 relative larger. The jump from step 0 to step 1 is real: a first
/// step's ε is mostly the price of a small δ.
///
/// # Errors
/// When a phase or `delta` is out of range.
pub fn epsilon_trace(
    earlier: &[Phase],
    phase: &Phase,
    delta: f64,
    points: u32,
) -> Result<Vec<TracePoint>, AccountingError> {
    validate_delta(delta)?;
    validate_phases(earlier)?;
    phase.validate()?;
    let mut phases = earlier.to_vec();
    phases.push(*phase);
    let last = epsilon(&phases, delta)?;
    let mut composer = Composer::new(Adjacency::AddRemove, false).coarsened(TOLERANCE);
    let intervals = phase.steps.min(u64::from(points.max(2)) - 1).max(1);
    let mut trace: Vec<TracePoint> = Vec::with_capacity(intervals as usize + 1);
    for index in 0..=intervals {
        let steps = (u128::from(phase.steps) * u128::from(index) / u128::from(intervals)) as u64;
        let before = trace.last().copied();
        if before.is_some_and(|before| before.steps == steps) {
            continue;
        }
        let found = if steps == phase.steps {
            last
        } else if steps == 0 {
            epsilon(earlier, delta)?
        } else {
            if let Some(traced) = phases.last_mut() {
                traced.steps = steps;
            }
            composer.upper(&phases, delta)
        };
        // A bound for more steps is one for fewer, so that the end and the last point bound this one.
        let least = before.map_or(0.0, |before| before.epsilon);
        trace.push(TracePoint {
            steps,
            epsilon: found.min(last).max(least),
        });
    }
    Ok(trace)
}
