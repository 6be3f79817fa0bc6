//! What was charged to the rows of a data set, wherever it was charged.
//!
//! A charge on a data set counts for each of its rows and for no other (under add/remove adjacency of one
//! row, data sets that do not hold the row are the same in both worlds; their sizes are public). So rows
//! fall into groups by which data sets hold them, each group bears the charges of these data sets, and ε
//! is that of the group that bears most.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::Shared;
use super::{
    Charges, DatasetFingerprint, DatasetRows, Ledger, LedgerError, LedgerStore, RunCharge,
    SessionRecord,
};
use crate::accountant::{self, AccountingError, Phase};

/// Most combinations of charges that are told apart. Beyond, all are counted as if one row bore every
/// charge, which can only over-count.
const MOST_COMBINATIONS: usize = 16;

/// Most groups of rows that are looked at before their charges are compared; the same beyond.
const MOST_GROUPS: usize = 256;

/// Everything charged to the rows of one data set: on it, and on data sets that share rows with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowLedger {
    own: Ledger,
    overlaps: Vec<Overlap>,
    /// Which overlaps a row lies in, for each combination that no other includes.
    groups: Vec<Vec<usize>>,
    incomparable: Vec<DatasetFingerprint>,
}

/// A data set that was charged and shares rows with the one in question, but is not the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Overlap {
    /// Its name.
    pub fingerprint: DatasetFingerprint,
    /// Rows that both have.
    pub shared_rows: u64,
    /// Rows it has.
    pub rows: u64,
    /// What was charged to it.
    pub ledger: Ledger,
}

/// What the row that bears most has spent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spent {
    /// Upper bound on ε.
    pub epsilon: f64,
    /// The charges it comes from.
    pub charges: Charges,
}

impl RowLedger {
    /// Reads everything that was charged to these rows.
    ///
    /// # Errors
    /// When the store fails, or any record that may bear on these rows is damaged or newer.
    pub async fn read<S: LedgerStore>(store: &S, rows: &DatasetRows) -> Result<Self, LedgerError> {
        RowLedgerReader::new(rows.clone()).read(store).await
    }

    /// What was charged on exactly this data set.
    pub fn own(&self) -> &Ledger {
        &self.own
    }

    /// Adds a session's record to the data set's own.
    pub fn merge(&mut self, record: SessionRecord) {
        self.own.merge(record);
    }

    /// Other data sets that were charged and share rows with this one.
    pub fn overlaps(&self) -> &[Overlap] {
        &self.overlaps
    }

    /// Data sets that were charged before rows were recorded, so that it is unknown whether they share rows
    /// with this one. They are not counted.
    pub fn incomparable(&self) -> &[DatasetFingerprint] {
        &self.incomparable
    }

    /// Every combination of charges that some row bears, but for those that another includes.
    pub fn combinations(&self) -> Vec<Charges> {
        let of_group = |group: &Vec<usize>| {
            let others = group.iter().map(|&index| &self.overlaps[index].ledger);
            Charges::new(self.own.charges().chain(others.flat_map(Ledger::charges)))
        };
        let mut combinations: Vec<Charges> = Vec::new();
        for charges in self.groups.iter().map(of_group) {
            if combinations.iter().any(|known| charges.is_within(known)) {
                continue;
            }
            combinations.retain(|known| !known.is_within(&charges));
            combinations.push(charges);
        }
        if combinations.is_empty() || combinations.len() > MOST_COMBINATIONS {
            combinations = vec![of_group(&(0..self.overlaps.len()).collect())];
        }
        combinations
    }

    /// What the row that bears most has spent at `delta`.
    ///
    /// # Errors
    /// When `delta` is out of range.
    pub fn spent(&self, delta: f64) -> Result<Spent, AccountingError> {
        self.spent_by(delta, None, accountant::epsilon)
    }

    /// The same once `charge` will have been made on this data set.
    ///
    /// # Errors
    /// When `delta` or the charge is out of range.
    pub fn spent_with(&self, charge: &RunCharge, delta: f64) -> Result<Spent, AccountingError> {
        self.spent_by(delta, Some(charge), accountant::epsilon)
    }

    /// The same by any accountant, with `one_more` charge on this data set, if given.
    pub(crate) fn spent_by<E: From<AccountingError>>(
        &self,
        delta: f64,
        one_more: Option<&RunCharge>,
        mut accountant: impl FnMut(&[Phase], f64) -> Result<f64, E>,
    ) -> Result<Spent, E> {
        let mut worst: Option<Spent> = None;
        for charges in self.combinations() {
            let charges = Charges::new(charges.iter().chain(one_more));
            let epsilon = charges.epsilon_by(delta, &mut accountant)?;
            if worst.as_ref().is_none_or(|worst| epsilon > worst.epsilon) {
                worst = Some(Spent { epsilon, charges });
            }
        }
        Ok(worst.expect("there is at least one combination"))
    }
}

/// Reads the same rows' ledger again and again, comparing each other data set only once: what rows a
/// fingerprint stands for never changes.
pub(crate) struct RowLedgerReader {
    rows: DatasetRows,
    compared: BTreeMap<DatasetFingerprint, Comparison>,
    /// The groups last found, and for which overlapping data sets.
    groups: (Vec<DatasetFingerprint>, Vec<Vec<usize>>),
}

struct Comparison {
    rows: u64,
    shared: Shared,
}

impl RowLedgerReader {
    pub(crate) fn new(rows: DatasetRows) -> Self {
        Self {
            rows,
            compared: BTreeMap::new(),
            groups: Default::default(),
        }
    }

    pub(crate) fn rows(&self) -> &DatasetRows {
        &self.rows
    }

    /// Everything charged so far. A charge and the rows it was made on that are on record before the call
    /// are in the result.
    pub(crate) async fn read<S: LedgerStore>(
        &mut self,
        store: &S,
    ) -> Result<RowLedger, LedgerError> {
        let own_name = self.rows.fingerprint();
        let mut ledger = RowLedger {
            own: Ledger::read(store, &own_name).await?,
            ..RowLedger::default()
        };
        let others: BTreeSet<DatasetFingerprint> = store.data_sets().await?.into_iter().collect();
        for other in others.into_iter().filter(|other| *other != own_name) {
            let Some(comparison) = self.compare(store, &other).await? else {
                if !store.load(&other).await?.is_empty() {
                    ledger.incomparable.push(other);
                }
                continue;
            };
            let (rows, shared_rows) = (comparison.rows, comparison.shared.rows);
            if shared_rows == 0 {
                continue;
            }
            let charged = Ledger::read(store, &other).await?;
            if charged.steps() > 0 {
                ledger.overlaps.push(Overlap {
                    fingerprint: other,
                    shared_rows,
                    rows,
                    ledger: charged,
                });
            }
        }
        ledger.groups = self.groups_of(&ledger.overlaps);
        Ok(ledger)
    }

    /// Compares another data set's rows with ours; `None` if they are not on record.
    async fn compare<S: LedgerStore>(
        &mut self,
        store: &S,
        other: &DatasetFingerprint,
    ) -> Result<Option<&Comparison>, LedgerError> {
        if !self.compared.contains_key(other) {
            let comparison = if self.rows.former_name() == Some(*other) {
                self.comparison_with(&self.rows)
            } else if let Some(bytes) = store.load_rows(other).await? {
                self.comparison_with(&DatasetRows::parse(&bytes, other)?)
            } else {
                return Ok(None);
            };
            self.compared.insert(*other, comparison);
        }
        Ok(self.compared.get(other))
    }

    fn comparison_with(&self, theirs: &DatasetRows) -> Comparison {
        Comparison {
            rows: theirs.count(),
            shared: self.rows.shared_with(theirs),
        }
    }

    /// Which of the overlapping data sets a row lies in, for each combination that no other includes.
    fn groups_of(&mut self, overlaps: &[Overlap]) -> Vec<Vec<usize>> {
        let names: Vec<DatasetFingerprint> =
            overlaps.iter().map(|overlap| overlap.fingerprint).collect();
        if self.groups.0 != names {
            let mut of_place: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (index, name) in names.iter().enumerate() {
                for &place in &self.compared[name].shared.places {
                    of_place.entry(place).or_default().push(index);
                }
            }
            let distinct: BTreeSet<Vec<usize>> = of_place.into_values().collect();
            let groups = if distinct.len() > MOST_GROUPS {
                vec![(0..names.len()).collect()]
            } else {
                largest(distinct.into_iter().collect())
            };
            self.groups = (names, groups);
        }
        self.groups.1.clone()
    }
}

/// The sets that no other set includes; elements increasing.
fn largest(mut sets: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
    sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
    let mut kept: Vec<Vec<usize>> = Vec::new();
    for set in sets {
        let within = |larger: &Vec<usize>| set.iter().all(|index| larger.contains(index));
        if !kept.iter().any(within) {
            kept.push(set);
        }
    }
    kept
}
