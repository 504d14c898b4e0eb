//! Groups, their rules, who counts steps with whom, and the parameters' names: what every optimizer
//! keeps, wherever it computes.

use crate::dyn_rule::DynRule;
use crate::error::Error;
use std::collections::HashMap;

/// Parameters that share a rule's hyperparameters.
#[derive(Debug)]
pub(crate) struct Group {
    pub rule: Box<dyn DynRule>,
    /// What `set_lrs` multiplies the learning rate by.
    pub lr_multiplier: f64,
}

/// A count of steps, with the scalars that go with it. The parameters of a group that were updated by the
/// same steps share one.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    pub group: usize,
    /// Steps taken; where steps may be skipped, steps recorded.
    pub steps: u64,
    /// What the rule keeps for all of them.
    pub scalars: Vec<f64>,
    /// Whether the next step leaves its parameters alone.
    pub frozen: bool,
    /// How many parameters share it.
    pub members: usize,
    /// Where the GPU, if it counts, finds the count before the next step.
    pub origin: Origin,
    /// A hash of the steps that it took: clocks of a group that agree in it agree in everything.
    history: u64,
    /// Whether it was without members when the last step was recorded, so that nobody refers to it.
    free: bool,
}

impl Clock {
    /// Whether the next step updates some parameter of it.
    pub fn takes_part(&self) -> bool {
        self.members > 0 && !self.frozen
    }
}

/// Where the GPU finds a clock's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Where it left it.
    Itself,
    /// Where it left another clock's.
    Other(usize),
    /// The host knows it.
    Host,
}

/// A parameter's name, size and group.
#[derive(Debug)]
pub(crate) struct Param {
    pub name: String,
    pub len: usize,
    pub group: usize,
    pub clock: usize,
}

/// All groups and parameters of an optimizer.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    pub groups: Vec<Group>,
    pub clocks: Vec<Clock>,
    pub params: Vec<Param>,
    by_name: HashMap<String, usize>,
    /// Steps of the optimizer so far, for the clocks' histories.
    recorded: u64,
}

/// The history of a clock that took no step.
const NO_HISTORY: u64 = 0;

/// The history of a clock that was set to so many steps.
fn history_of(steps: u64) -> u64 {
    if steps == 0 { NO_HISTORY } else { mix(!NO_HISTORY, steps) }
}

/// A history, one event longer (SplitMix64's mixing).
fn mix(history: u64, event: u64) -> u64 {
    let mut x = (history ^ event).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Groups {
    /// Adds a group; its parameters follow by [`Self::add_param`].
    pub fn add_group(&mut self, rule: Box<dyn DynRule>, lr_multiplier: f64) -> Result<(), Error> {
        rule.validate()?;
        check_multiplier(self.groups.len(), lr_multiplier)?;
        self.groups.push(Group { rule, lr_multiplier });
        Ok(())
    }

    /// Adds a parameter to the last group.
    pub fn add_param(&mut self, name: String, len: usize) -> Result<(), Error> {
        let group = self.groups.len().saturating_sub(1);
        if let Some(&first) = self.by_name.get(&name) {
            let first = self.params[first].group;
            return Err(Error::parameter(
                &name,
                "a name that no other parameter has",
                format!("it in group {first} and again in group {group}"),
                "Give every parameter its own name, such as the module path and the tensor",
            ));
        }
        let clock =
            self.clock(group, NO_HISTORY, false).unwrap_or_else(|| self.new_clock(group, 0));
        self.clocks[clock].members += 1;
        self.by_name.insert(name.clone(), self.params.len());
        self.params.push(Param { name, len, group, clock });
        Ok(())
    }

    /// Takes the last groups and their parameters away, as if they had never been added.
    pub fn truncate(&mut self, groups: usize) {
        while self.params.last().is_some_and(|param| param.group >= groups) {
            if let Some(param) = self.params.pop() {
                self.clocks[param.clock].members -= 1;
                self.by_name.remove(&param.name);
            }
        }
        self.groups.truncate(groups);
    }

    /// Freezes parameters or thaws them, all or, if a name is unknown, none; whether that changed anything.
    pub fn set_frozen<'n>(
        &mut self,
        names: impl IntoIterator<Item = &'n str>,
        frozen: bool,
    ) -> Result<bool, Error> {
        let found = names.into_iter().map(|name| self.find(name));
        let params: Vec<_> = found.collect::<Result<_, _>>()?;
        let mut changed = false;
        for param in params {
            changed |= self.freeze(param, frozen);
        }
        Ok(changed)
    }

    /// Freezes a parameter or thaws it; whether that changed anything.
    pub fn freeze(&mut self, param: usize, frozen: bool) -> bool {
        let old = self.params[param].clock;
        let Clock { group, history, .. } = self.clocks[old];
        if self.clocks[old].frozen == frozen {
            return false;
        }
        let clock = self.clock(group, history, frozen).unwrap_or_else(|| {
            let origin = match self.clocks[old].origin {
                Origin::Itself => Origin::Other(old),
                known => known,
            };
            let clock = Clock { frozen, origin, members: 0, ..self.clocks[old].clone() };
            self.insert_clock(clock)
        });
        self.move_to(param, clock);
        true
    }

    /// Sets the number of steps that a parameter has behind it.
    pub fn set_steps(&mut self, param: usize, steps: u64) {
        let Clock { group, frozen, .. } = self.clocks[self.params[param].clock];
        let clock = self.clock(group, history_of(steps), frozen).unwrap_or_else(|| {
            let clock = self.new_clock(group, steps);
            self.clocks[clock].frozen = frozen;
            clock
        });
        self.move_to(param, clock);
    }

    /// Takes every clock that is not frozen one step further.
    pub fn advance(&mut self) {
        self.recorded += 1;
        for clock in &mut self.clocks {
            clock.free = clock.members == 0;
            clock.origin = Origin::Itself;
            if clock.takes_part() {
                clock.steps += 1;
                clock.history = mix(clock.history, self.recorded);
                self.groups[clock.group].rule.advance(clock.steps, &mut clock.scalars);
            }
        }
    }

    /// Appends the coefficients of a clock's latest step.
    pub fn coeffs(&self, clock: usize, coeffs: &mut Vec<f64>) {
        let Clock { group, steps, scalars, .. } = &self.clocks[clock];
        self.groups[*group].rule.coeffs(*steps, scalars, coeffs);
    }

    pub fn is_frozen(&self, param: usize) -> bool {
        self.clocks[self.params[param].clock].frozen
    }

    /// The clock of a group with this history.
    fn clock(&self, group: usize, history: u64, frozen: bool) -> Option<usize> {
        let same = |clock: &Clock| {
            clock.members > 0
                && (clock.group, clock.history, clock.frozen) == (group, history, frozen)
        };
        self.clocks.iter().position(same)
    }

    /// A clock with so many steps behind it.
    fn new_clock(&mut self, group: usize, steps: u64) -> usize {
        let rule = &self.groups[group].rule;
        let mut scalars: Vec<_> = rule.scalars().iter().map(|scalar| scalar.value).collect();
        if !scalars.is_empty() {
            (1..=steps).for_each(|step| rule.advance(step, &mut scalars));
        }
        self.insert_clock(Clock {
            group,
            steps,
            scalars,
            frozen: false,
            members: 0,
            origin: Origin::Host,
            history: history_of(steps),
            free: false,
        })
    }

    fn insert_clock(&mut self, clock: Clock) -> usize {
        let clock = Clock { free: false, ..clock };
        match self.clocks.iter().position(|clock| clock.free) {
            Some(index) => {
                self.clocks[index] = clock;
                index
            }
            None => {
                self.clocks.push(clock);
                self.clocks.len() - 1
            }
        }
    }

    fn move_to(&mut self, param: usize, clock: usize) {
        let old = std::mem::replace(&mut self.params[param].clock, clock);
        self.clocks[old].members -= 1;
        self.clocks[clock].members += 1;
    }

    /// A parameter's index by its name.
    pub fn find(&self, name: &str) -> Result<usize, Error> {
        self.by_name.get(name).copied().ok_or_else(|| {
            let known: Vec<_> = self.params.iter().take(8).map(|p| p.name.as_str()).collect();
            let more = if self.params.len() > known.len() { ", …" } else { "" };
            Error::parameter(
                name,
                "the name of a parameter of this optimizer",
                "none of that name",
                format!("Known are: {}{more}", known.join(", ")),
            )
        })
    }

    /// A state's index among those in use by a parameter's rule.
    pub fn find_state(&self, param: usize, state: &str) -> Result<usize, Error> {
        let param = &self.params[param];
        let rule = &self.groups[param.group].rule;
        let states = rule.states();
        states.iter().position(|s| s.name == state).ok_or_else(|| {
            let known: Vec<_> = states.iter().map(|s| s.name).collect();
            Error::parameter(
                &param.name,
                format!("a state that {} keeps with its present options", rule.name()),
                format!("`{state}`"),
                format!("It keeps: [{}]", known.join(", ")),
            )
        })
    }

    /// Refuses values of the wrong number for a parameter.
    pub fn check_len(&self, param: usize, found: usize) -> Result<(), Error> {
        let param = &self.params[param];
        if param.len == found {
            return Ok(());
        }
        Err(Error::parameter(
            &param.name,
            format!("{} values", param.len),
            format!("{found} values"),
            "Pass all elements of the tensor, in row-major order",
        ))
    }

    pub fn get(&self, group: usize) -> Result<&Group, Error> {
        self.groups.get(group).ok_or_else(|| self.no_group(group))
    }

    pub fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), Error> {
        let mut rule = self.get(group)?.rule.boxed();
        rule.set_lr(lr);
        rule.validate()?;
        self.groups[group].rule = rule;
        Ok(())
    }

    /// Sets every group's learning rate to its multiple of this one.
    pub fn set_lrs(&mut self, lr: f64) -> Result<(), Error> {
        let scaled = |group: &Group| {
            let mut rule = group.rule.boxed();
            rule.set_lr(lr * group.lr_multiplier);
            rule.validate().map(|()| rule)
        };
        // All are checked before any is changed.
        let rules: Vec<_> = self.groups.iter().map(scaled).collect::<Result<_, _>>()?;
        for (group, rule) in self.groups.iter_mut().zip(rules) {
            group.rule = rule;
        }
        Ok(())
    }

    /// Replaces a group's hyperparameters. What decides the kernel and the states must stay.
    pub fn set_rule(&mut self, group: usize, rule: Box<dyn DynRule>) -> Result<(), Error> {
        let old = &self.get(group)?.rule;
        let kernel = |rule: &dyn DynRule| format!("{} with {:?}", rule.name(), rule.options());
        let (old, new) = (kernel(old.as_ref()), kernel(rule.as_ref()));
        if old != new {
            return Err(Error::group(
                group,
                format!("{old}, as the optimizer was built"),
                new,
                "Change numbers only; to change rule or options, build another optimizer",
            ));
        }
        rule.validate()?;
        self.groups[group].rule = rule;
        Ok(())
    }

    fn no_group(&self, group: usize) -> Error {
        Error::group(
            group,
            format!("an index below {}, the number of groups", self.groups.len()),
            group,
            "Groups are counted from 0 in the order they were added",
        )
    }
}

fn check_multiplier(group: usize, multiplier: f64) -> Result<(), Error> {
    if multiplier.is_finite() && multiplier >= 0.0 {
        return Ok(());
    }
    Err(Error::group(
        group,
        "a learning-rate multiplier that is a finite number of at least 0",
        multiplier,
        "Give such a number; 1 leaves the learning rate as it is",
    ))
}
