//! Step counts: the parameters of a group that took the same steps share one, and with it their
//! coefficients.

/// A count of steps, with the scalars that go with it.
#[derive(Debug, Clone)]
pub(crate) struct Count {
    pub group: usize,
    /// Steps taken if the count is known; otherwise steps recorded, and at most these were taken.
    pub steps: u64,
    /// Whether the host knows how many steps were taken: none of them was the device's to skip.
    pub is_known: bool,
    /// What the rule keeps for all its parameters.
    pub scalars: Vec<f64>,
    /// Whether the next step leaves its parameters alone.
    pub frozen: bool,
    /// How many parameters share it.
    pub members: usize,
    /// Where the device, if it counts, finds the count before the next step.
    pub origin: Origin,
    /// A hash of the steps that it took: counts of a group that agree in it agree in everything.
    history: u64,
    /// Whether the latest recorded step found members, so that the device still needs it.
    recorded: bool,
}

/// Where the device finds a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Where the latest step left it.
    Itself,
    /// Where the latest step left another count.
    Other(usize),
    /// The host knows it.
    Host,
}

/// The most steps that a count counts, since GPUs count in 32 bits. A run of a thousand steps a
/// second gets there in seven weeks.
pub(crate) const MAX_STEPS: u64 = u32::MAX as u64;

/// The history of a count that took no step.
const NO_HISTORY: u64 = 0;

/// A history, one event longer (SplitMix64's mixing).
fn mix(history: u64, event: u64) -> u64 {
    let mut x = (history ^ event).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Count {
    /// A count that the host knows, without members. Counts of as many steps but other scalars took
    /// other steps: a rule's hyperparameters may have changed on the way.
    pub fn new(group: usize, steps: u64, scalars: Vec<f64>, frozen: bool) -> Self {
        let history = if steps == 0 { NO_HISTORY } else { mix(!NO_HISTORY, steps) };
        let history = scalars.iter().fold(history, |history, x| mix(history, x.to_bits()));
        Self {
            group,
            steps,
            is_known: true,
            scalars,
            frozen,
            members: 0,
            origin: Origin::Host,
            history,
            recorded: false,
        }
    }

    /// The same count, without members, at another index than `index`, which has it now.
    pub fn copy_of(&self, index: usize) -> Self {
        let origin = match self.origin {
            Origin::Itself => Origin::Other(index),
            known => known,
        };
        Self { origin, members: 0, recorded: false, ..self.clone() }
    }

    /// The same count in another group. Its scalars, if there are any, were computed by its old
    /// group's rule, so that it agrees with no other count of the new group.
    pub fn in_group(self, group: usize) -> Self {
        let moved = mix(self.history, !(self.group as u64));
        let history = if self.scalars.is_empty() { self.history } else { moved };
        Self { group, history, ..self }
    }

    /// Whether the next step updates some parameter of it.
    pub fn takes_part(&self) -> bool {
        self.members > 0 && !self.frozen
    }

    /// Whether the two stand for the same steps of the same group, and the same is to happen next.
    pub fn agrees(&self, other: &Self) -> bool {
        (self.group, self.history, self.frozen) == (other.group, other.history, other.frozen)
    }

    /// Takes the count over a recorded step, the optimizer's `number`-th, which the device may yet
    /// skip if it is `skippable`: whether it counts.
    pub fn record(&mut self, number: u64, skippable: bool) -> bool {
        self.recorded = self.members > 0;
        self.origin = Origin::Itself;
        if self.takes_part() {
            self.steps += 1;
            self.is_known &= !skippable;
            self.history = mix(self.history, number);
        }
        self.takes_part()
    }

    /// Whether nobody needs it, so that another count may take its index.
    pub fn is_free(&self) -> bool {
        self.members == 0 && !self.recorded
    }
}
