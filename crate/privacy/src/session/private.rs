use rand::Rng;

use super::plan::{PlanError, PrivacyPlan};
use super::{ClippedSum, GradientPrivacy, PrivacyError, ReleasedGradient, SumLost};
use crate::accountant::LiveAccountant;
use crate::grid::Grid;
use crate::ledger::{
    DatasetFingerprint, DatasetRows, LedgerError, LedgerStore, RowLedger, RowLedgerReader,
    RunCharge, RunId, SessionId, SessionRecord, Spent,
};
use crate::noise::StepNoise;
use crate::randomness::{Purpose, Randomness, Streams};
use crate::sampling::PoissonSampler;
use crate::statement::PrivacyStatement;

/// A private run on one data set: sampler, noise and accounting in one hand.
pub struct PrivateSession<S: LedgerStore> {
    plan: PrivacyPlan,
    sampler: PoissonSampler,
    streams: Streams,
    store: S,
    /// This session's own charges, as far as they are known to be written.
    own: SessionRecord,
    /// True once our row hashes are known to be on record.
    rows_recorded: bool,
    reader: RowLedgerReader,
    /// Everyone's charges when the store was last read, ours included.
    ledger: RowLedger,
    accountant: LiveAccountant,
    /// What `spent` and `next` were computed from.
    accounted: Option<(RowLedger, RunCharge)>,
    spent: Spent,
    next: f64,
    steps_done: u32,
}

/// A step whose batch is drawn. Dropped without a release, it charges and releases nothing; opened
/// again, the same session draws the same batch, so that giving up on a batch cannot bias the sampling.
pub struct OpenStep<'session, S: LedgerStore> {
    session: &'session mut PrivateSession<S>,
    rows: Vec<usize>,
}

impl<S: LedgerStore> PrivateSession<S> {
    /// Begins `run_id` on these rows, or resumes it after `steps_done` steps.
    ///
    /// Reads what was charged to the rows, on this data set or on others that share some. Steps that the checkpoint has but the ledger does not know (a
    /// ledger cleared or left on another machine) are charged again, with this session's first charge.
    ///
    /// # Errors
    /// When the plan is out of range, is not the one the run was begun with or is for another number of rows,
    /// the ledger cannot be read in full, or the platform gives no random bytes.
    pub async fn begin(
        plan: PrivacyPlan,
        rows: DatasetRows,
        run_id: RunId,
        steps_done: u32,
        randomness: Randomness,
        store: S,
    ) -> Result<Self, PrivacyError> {
        plan.validate()?;
        if steps_done > plan.steps {
            return Err(PrivacyError::BeyondPlan {
                done: steps_done,
                planned: plan.steps,
            });
        }
        if rows.count() != plan.rows {
            return Err(PrivacyError::OtherRows {
                planned: plan.rows,
                given: rows.count(),
            });
        }
        let sampler = PoissonSampler::new(plan.rows, plan.expected_batch).ok_or(
            PlanError::ExpectedBatch {
                batch: plan.expected_batch,
                rows: plan.rows,
            },
        )?;
        let sampler = match plan.batch_cap {
            Some(cap) => sampler.with_cap(cap),
            None => sampler,
        };
        let fingerprint = rows.fingerprint();
        let mut reader = RowLedgerReader::new(rows);
        let ledger = reader.read(&store).await?;
        let mut charge = RunCharge {
            run: run_id,
            rows: plan.rows,
            expected_batch: plan.expected_batch,
            noise_multiplier: plan.noise_multiplier,
            clip_norm: plan.clip_norm,
            steps: 0,
            delta: plan.delta,
            batch_cap: plan.batch_cap,
            dimensions: 0,
        };
        let mut known = 0_u64;
        let own = ledger.own();
        for earlier in own.charges().filter(|earlier| earlier.run == run_id) {
            if !earlier.same_mechanism(&charge) {
                return Err(PrivacyError::PlanChanged(run_id));
            }
            known = known.saturating_add(earlier.steps);
            charge.dimensions = charge.dimensions.max(earlier.dimensions);
        }
        charge.steps = u64::from(steps_done).saturating_sub(known);
        let mut session = Self {
            plan,
            sampler,
            streams: Streams::new(randomness)?,
            store,
            own: SessionRecord {
                fingerprint,
                session: SessionId::random()?,
                charge,
            },
            rows_recorded: false,
            reader,
            ledger,
            accountant: LiveAccountant::new(),
            accounted: None,
            spent: Spent::default(),
            next: 0.0,
            steps_done,
        };
        session.account()?;
        Ok(session)
    }

    /// Draws the batch of the next step.
    ///
    /// # Errors
    /// [`PrivacyError::PlanFinished`] when all planned steps were taken, and
    /// [`PrivacyError::BudgetSpent`] when one more would pass the budget.
    pub fn open_step(&mut self) -> Result<OpenStep<'_, S>, PrivacyError> {
        if self.steps_done >= self.plan.steps {
            return Err(PrivacyError::PlanFinished {
                steps: self.plan.steps,
            });
        }
        self.require(self.next)?;
        let rows = self
            .sampler
            .draw(&mut self.streams.stream(self.steps_done, Purpose::Sampling));
        Ok(OpenStep {
            session: self,
            rows,
        })
    }

    /// ε at the plan's δ of the row that bears most: this run, and every other run in the ledger on data sets
    /// that hold the row, as last read (at the beginning and at each release).
    pub fn epsilon(&self) -> f64 {
        self.spent.epsilon
    }

    /// The same with the charges it comes from.
    pub fn spent(&self) -> &Spent {
        &self.spent
    }

    /// What [`Self::epsilon`] will be after one more step.
    pub fn epsilon_after_next_step(&self) -> f64 {
        self.next
    }

    /// Steps of this run released so far, earlier sessions included.
    pub fn steps_done(&self) -> u32 {
        self.steps_done
    }

    /// The plan.
    pub fn plan(&self) -> &PrivacyPlan {
        &self.plan
    }

    /// The run.
    pub fn run_id(&self) -> RunId {
        self.own.charge.run
    }

    /// The data set.
    pub fn fingerprint(&self) -> DatasetFingerprint {
        self.own.fingerprint
    }

    /// Everything charged to these rows, as [`Self::epsilon`] counts it.
    pub fn ledger(&self) -> &RowLedger {
        &self.ledger
    }

    /// False in the insecure test mode, which gives no privacy.
    pub fn is_secure(&self) -> bool {
        self.streams.is_secure()
    }

    /// The claim in words, as of now.
    pub fn statement(&self) -> PrivacyStatement {
        PrivacyStatement::new(
            &self.plan,
            self.run_id(),
            &self.spent,
            &self.ledger,
            self.is_secure(),
        )
    }

    /// The next step's noise.
    fn step_noise(&self, grid: Grid) -> StepNoise {
        let mut stream = self.streams.stream(self.steps_done, Purpose::Noise);
        StepNoise::new(
            std::array::from_fn(|_| stream.next_u32()),
            grid.noise_bits(),
        )
    }

    /// Takes over what the store holds.
    async fn read_ledger(&mut self) -> Result<(), PrivacyError> {
        self.ledger = self.reader.read(&self.store).await?;
        // A save that reported failure may have been kept after all: then it counts.
        if let Some(written) = self.ledger.own().session(&self.own.session) {
            self.own.charge.steps = self.own.charge.steps.max(written.charge.steps);
        }
        self.account()
    }

    /// Recomputes ε from the ledger and our own charges.
    fn account(&mut self) -> Result<(), PrivacyError> {
        if self.own.charge.steps > 0 {
            self.ledger.merge(self.own);
        }
        let one_more = RunCharge {
            steps: 1,
            ..self.own.charge
        };
        let known = self.accounted.as_ref();
        if known.is_some_and(|(ledger, step)| *ledger == self.ledger && *step == one_more) {
            return Ok(());
        }
        let (delta, accountant) = (self.plan.delta, &mut self.accountant);
        let mut ask = |phases: &[_], delta| accountant.epsilon(phases, delta);
        self.spent = self.ledger.spent_by(delta, None, &mut ask)?;
        let next = self.ledger.spent_by(delta, Some(&one_more), &mut ask)?;
        self.next = next.epsilon;
        self.accounted = Some((self.ledger.clone(), one_more));
        Ok(())
    }

    /// Refuses an ε past the budget.
    fn require(&self, epsilon: f64) -> Result<(), PrivacyError> {
        if epsilon <= self.plan.budget_epsilon {
            return Ok(());
        }
        let (spent, next) = (self.spent.epsilon, self.next);
        let budget = self.plan.budget_epsilon;
        Err(PrivacyError::BudgetSpent {
            spent,
            next,
            budget,
        })
    }

    /// Sees to it that our row hashes are on record, where other data sets' sessions will look for them.
    async fn record_rows(&mut self) -> Result<(), LedgerError> {
        if self.rows_recorded {
            return Ok(());
        }
        let (rows, name) = (self.reader.rows(), &self.own.fingerprint);
        if self.store.load_rows(name).await?.is_none() {
            self.store.save_rows_durably(name, &rows.to_bytes()).await?;
        }
        let written = self.store.load_rows(name).await?;
        DatasetRows::parse(&written.ok_or(LedgerError::ChargeLost)?, name)?;
        self.rows_recorded = true;
        Ok(())
    }

    /// Charges one step with noise on so many coordinates: durable, seen again when read back, and within the
    /// budget together with what other sessions charged meanwhile, on these rows or on some of them.
    ///
    /// Each session writes, its row hashes first, before it reads. So of two sessions that both reach for the
    /// last step, at least one sees the other's charge and gives up; the charges of both remain.
    async fn charge(&mut self, dimensions: usize) -> Result<(), PrivacyError> {
        self.record_rows().await?;
        let own = &mut self.own.charge;
        own.dimensions = own.dimensions.max(dimensions as u64);
        self.read_ledger().await?;
        self.require(self.next)?;
        let mut charged = self.own;
        charged.charge.steps = charged.charge.steps.saturating_add(1);
        self.store
            .save_durably(&charged.fingerprint, &charged.session, &charged.to_bytes())
            .await
            .map_err(LedgerError::from)?;
        self.read_ledger().await?;
        if self.own.charge.steps < charged.charge.steps {
            return Err(LedgerError::ChargeLost.into());
        }
        self.require(self.spent.epsilon)
    }
}

impl<S: LedgerStore> OpenStep<'_, S> {
    /// Row indices of the batch, increasing. May be empty: an empty batch takes a noisy step too.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// Number of this step, from 1.
    pub fn step(&self) -> u32 {
        self.session.steps_done + 1
    }

    /// The norm C to clip each row's gradient to.
    pub fn clip_norm(&self) -> f64 {
        self.session.plan.clip_norm
    }

    /// The grid to clip and round each row's gradient to.
    pub fn grid(&self) -> Grid {
        Grid::of_plan(&self.session.plan)
    }

    /// Writes the charge durably, then has noise of standard deviation σ·C added to each coordinate of the sum,
    /// where it is, and divides what comes back by the expected batch size.
    ///
    /// # Errors
    /// When the sum is on another grid than the plan's (nothing is charged then), the ledger cannot be written
    /// and read back, another session has spent the budget in the meantime, or the sum's device fails. Nothing
    /// is released on any error; a charge may remain.
    pub async fn release(self, sum: impl ClippedSum) -> Result<ReleasedGradient, PrivacyError> {
        let grid = self.grid();
        let Self { session, .. } = self;
        let plan = session.plan;
        if sum.grid() != grid {
            return Err(PrivacyError::GridMismatch);
        }
        let dimensions = sum.dimensions();
        session.charge(dimensions).await?;
        let noise = session.step_noise(grid);
        // Counted before the noise is handed out: should the device fail now, no other sum gets this noise.
        session.steps_done += 1;
        let noised = sum.noised(noise).await?;
        if noised.len() != dimensions {
            return Err(SumLost(format!("{} of {dimensions} came back", noised.len())).into());
        }
        let batch = plan.expected_batch as f64;
        let noise_on_sum = plan.noise_on_sum();
        let privacy = if session.is_secure() {
            GradientPrivacy::Private { noise_on_sum }
        } else {
            GradientPrivacy::InsecureTest { noise_on_sum }
        };
        Ok(ReleasedGradient {
            values: noised
                .into_iter()
                .map(|value| grid.update(value, batch))
                .collect(),
            privacy,
            step: session.steps_done,
        })
    }
}
