//! A step that is taken in parts, as gradients come: what it knows of its parameters, for GPU and
//! CPU alike.

use crate::error::Error;
use crate::model::{Count, ParamKey, Values};
use crate::optimizer::{Engine, Optimizer};
use std::fmt::Debug;

/// A step that was begun and takes its parameters in parts, each as soon as its gradients are
/// there, so that an engine may free or reuse their memory in the middle of the backward pass.
///
/// It is one step: all its parameters take it with the learning rates and the step count that were
/// set when it began, and end with the bits of a whole step, in whatever parts and order. Between
/// parts nothing can be changed, added or frozen, and no other step begun: the open step borrows
/// the optimizer.
///
/// - Each parameter that is not frozen is stepped once, or left out by [`Self::leave_out`].
///   [`Self::end`] refuses a step that misses one, and tells which: an engine that forgets a
///   gradient hears of it.
/// - A step that is dropped before its end is over as well. Parameters that were stepped have taken
///   it; all others have not: values, states and step counts are what they were.
/// - Frozen parameters may be named in a part or not. They are left alone, but that with
///   [`zero_grad`](crate::optimizer::Builder::zero_grad) a part zeroes all gradients it names.
/// - Clipping by value, averaging, zeroing and sums over a tensor (LAMB's and LARS's trust ratios)
///   work in parts. What must know all gradients first does not: clipping by a norm, loss scaling,
///   skipping, statistics.
#[derive(Debug)]
#[must_use = "no parameter takes a step that is begun and dropped"]
pub struct OpenStep<'a, E: Engine> {
    pub(crate) optimizer: &'a mut Optimizer<E>,
    pub(crate) open: E::Open,
    /// The step counts before the step.
    before: Vec<Count>,
    /// Of each parameter.
    turns: Vec<Turn>,
    ended: bool,
}

/// What became of a parameter in an open step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Waiting,
    Stepped,
    LeftOut,
}

/// The most parameters that a message names.
const MOST_NAMED: usize = 8;

impl<'a, E: Engine> OpenStep<'a, E> {
    /// Begins a step, by what counts it for all parameters.
    pub(crate) fn begin(
        optimizer: &'a mut Optimizer<E>,
        count: impl FnOnce(&mut Optimizer<E>) -> Result<E::Open, Error>,
    ) -> Result<Self, Error> {
        optimizer.control.check_parts()?;
        let before = optimizer.model.counts.clone();
        let turns = vec![Turn::Waiting; optimizer.model.params.len()];
        let open = count(optimizer)?;
        Ok(Self { optimizer, open, before, turns, ended: false })
    }

    /// Leaves parameters out of this step, as those that got no gradient: values, states and step
    /// counts stay what they are. They count their steps apart from then on, which costs what
    /// freezing does.
    ///
    /// # Errors
    /// A parameter is unknown or was stepped already, or the step has ended. Nothing has changed
    /// then.
    pub fn leave_out(
        &mut self,
        params: impl IntoIterator<Item = impl ParamKey>,
    ) -> Result<(), Error> {
        self.check_open()?;
        let params = self.optimizer.model.find_all(params)?;
        let stepped = |&&param: &&usize| self.turns[param] == Turn::Stepped;
        if let Some(&param) = params.iter().find(stepped) {
            return Err(self.had_its_turn(param, "Leave it out before, or take its step as taken"));
        }
        params.into_iter().for_each(|param| self.turns[param] = Turn::LeftOut);
        Ok(())
    }

    /// Sets a gradient's elements, as [`Optimizer::set_grad`] does: on the GPU before the commands
    /// of the next submission, whatever part they are in.
    ///
    /// # Errors
    /// As [`Optimizer::set_grad`].
    pub fn set_grad(
        &mut self,
        param: impl ParamKey,
        values: &(impl Values<E::Element> + ?Sized),
    ) -> Result<(), Error> {
        self.optimizer.set_grad(param, values)
    }

    /// The parameters that were neither stepped nor left out yet, and are not frozen.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.with_turn(|turn| turn == Turn::Waiting).map(|param| self.optimizer.model.name(param))
    }

    /// Ends the step.
    ///
    /// # Errors
    /// A parameter was neither stepped nor left out. The step is still open then: step it, or leave
    /// it out, and end again. Or it has ended already.
    pub fn end(&mut self) -> Result<(), Error> {
        self.check_open()?;
        let missing: Vec<_> = self.missing().collect();
        if let Some(first) = missing.first() {
            let names = missing.iter().take(MOST_NAMED).copied().collect::<Vec<_>>().join(", ");
            let more = if missing.len() > MOST_NAMED { ", …" } else { "" };
            return Err(Error::parameter(
                first,
                "a parameter that was stepped before the step's end",
                format!("{} that were not: {names}{more}", missing.len()),
                "Step them by `params`, or tell that they get no gradient in this step by \
                 `leave_out`; then end it again",
            ));
        }
        self.close();
        Ok(())
    }

    /// The indices of parameters that are to be stepped now, in order.
    pub(crate) fn turn_of(
        &self,
        params: impl IntoIterator<Item = impl ParamKey>,
    ) -> Result<Vec<usize>, Error> {
        self.check_open()?;
        let mut params = self.optimizer.model.find_all(params)?;
        params.sort_unstable();
        let had = |&&param: &&usize| self.turns[param] != Turn::Waiting;
        let twice = params.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| &pair[0]);
        match params.iter().find(had).or(twice) {
            Some(&param) => Err(self.had_its_turn(param, "Name each parameter in one part only")),
            None => Ok(params),
        }
    }

    /// These parameters were stepped.
    pub(crate) fn stepped(&mut self, params: &[usize]) {
        params.iter().for_each(|&param| self.turns[param] = Turn::Stepped);
    }

    fn had_its_turn(&self, param: usize, remedy: &str) -> Error {
        let found = match self.turns[param] {
            Turn::LeftOut => "one that was left out",
            Turn::Waiting | Turn::Stepped => "one that was stepped already, or is named twice",
        };
        let name = self.optimizer.model.name(param);
        Error::parameter(name, "a parameter that this step has yet to come to", found, remedy)
    }

    fn check_open(&self) -> Result<(), Error> {
        if !self.ended {
            return Ok(());
        }
        Err(Error::Setting {
            expected: "a step that is open, but this one has ended".into(),
            remedy: "Begin the next by `begin_step`".into(),
        })
    }

    /// Parameters that are not frozen, by what became of them.
    fn with_turn(&self, of: impl Fn(Turn) -> bool) -> impl Iterator<Item = usize> {
        let turns = self.turns.iter().enumerate().filter(move |(_, turn)| of(**turn));
        turns.map(|(param, _)| param).filter(|&param| !self.optimizer.model.is_frozen(param))
    }

    /// Those that were not stepped have not taken the step.
    fn close(&mut self) {
        self.ended = true;
        let others: Vec<_> = self.with_turn(|turn| turn != Turn::Stepped).collect();
        for &param in &others {
            self.optimizer.model.leave_out(param, &self.before);
        }
        if !others.is_empty() {
            self.optimizer.engine.changed();
        }
    }
}

impl<E: Engine> Drop for OpenStep<'_, E> {
    fn drop(&mut self) {
        if !self.ended {
            self.close();
        }
    }
}
