//! A statement in words.

use std::fmt;

use super::PrivacyStatement;

impl PrivacyStatement {
    /// What is promised, in one paragraph.
    pub fn claim(&self) -> String {
        let all = self.all_charges();
        let overlaps = match self.overlapping_data_sets {
            0 => String::new(),
            1 => ", those on another data set that shares rows included".into(),
            more => format!(", those on {more} other data sets that share rows included"),
        };
        let unknown = match self.incomparable_data_sets {
            0 => String::new(),
            some => format!(
                " The ledger holds {} whose rows were not recorded; whether they share rows with this one is unknown, \
                 and they are not counted.",
                count(some, "further data set")
            ),
        };
        format!(
            "All updates released by the {runs} on record that used any one of these rows{overlaps} are, taken \
             together, (ε, δ)-differentially private with ε ≤ {epsilon} and δ = {delta:e}{error}. The unit is {unit}: the \
             promise compares the data with one row added or removed. It holds for the adapters and for everything \
             computed from them afterwards.{unknown}",
            runs = count(all.runs() as u64, "run"),
            epsilon = round_up(self.epsilon),
            error = self.epsilon_error.map_or_else(String::new, |error| format!(
                " (ε is at most {error:.1e} above the exact value for these steps)"
            )),
            delta = self.delta,
            unit = self.unit,
        )
    }

    /// How it was done, in one paragraph.
    pub fn mechanism(&self) -> String {
        let cap = self.batch_cap.map_or_else(String::new, |cap| {
            format!(" Of a draw of more than {cap} rows, {cap} were kept, chosen uniformly.")
        });
        format!(
            "In each of the {steps} charged to this run, each of the {rows} rows joined the batch by a coin \
             of its own with probability {batch}/{rows} (Poisson sampling).{cap} Each row's gradient over all \
             {dimensions} trained parameters was clipped to L2 norm {clip} and rounded toward zero to an integer grid; \
             the integers were added up, Gaussian noise of standard deviation {sigma} × {clip} was added once to every \
             coordinate, and the result was divided by {batch}. The charge was on record before the noise was drawn. \
             Accountant: {accountant}. Noise: {noise}; {theorem}. Its total-variation error over all charges, at most \
             {error:.1e}, is covered by δ. Its key came from the platform's cryptographic generator and was not kept.",
            steps = count(self.run_steps, "step"),
            rows = self.rows,
            batch = self.expected_batch,
            dimensions = self.dimensions,
            clip = self.clip_norm,
            sigma = self.noise_multiplier,
            accountant = self.accountant,
            noise = self.noise,
            theorem = self.noise_theorem,
            error = self.noise_total_variation,
        )
    }
}

impl fmt::Display for PrivacyStatement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.secure {
            return write!(
                formatter,
                "NO PRIVACY. This run took its random numbers from a fixed test seed (insecure test mode). \
                 Whoever knows the seed can remove the noise, so ε = {} means nothing here.",
                round_up(self.epsilon)
            );
        }
        writeln!(
            formatter,
            "{}\n\n{}\n\nNot covered:",
            self.claim(),
            self.mechanism()
        )?;
        self.not_covered
            .iter()
            .try_for_each(|sentence| writeln!(formatter, "- {sentence}"))
    }
}

fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// ε to four decimals, never rounded down: the text must not promise more than was computed.
fn round_up(epsilon: f64) -> f64 {
    let rounded = (epsilon * 1e4).ceil() / 1e4;
    if rounded.is_finite() {
        rounded.max(epsilon)
    } else {
        epsilon
    }
}
