//! The optimizer: everything that GPU and CPU share, once.

use crate::control::Control;
use crate::error::Error;
use crate::model::pattern::matches;
use crate::model::{Member, Model, Param, ParamId, ParamInfo, ParamKey, Storage, Values};
use crate::optimizer::arrays::Array;
use crate::optimizer::builder::{Builder, NewGroup};
use crate::optimizer::engine::Engine;
use crate::rule::{DynRule, Modifiers, Rule};

/// An optimizer: rules, groups and parameters, with their states and step counts, over an engine.
///
/// [`crate::Optimizer`] is the one on the GPU, [`crate::CpuOptimizer`] the one on the CPU; what is
/// said there about steps, elements and memory belongs to the engine.
#[derive(Debug)]
pub struct Optimizer<E> {
    pub(crate) model: Model,
    pub(crate) control: Control,
    /// How parameters are stored, by patterns of their names.
    storage: Vec<(String, Storage)>,
    pub(crate) engine: E,
}

impl<E: Engine> Builder<E> {
    /// An optimizer over this engine, which has no groups yet.
    pub(crate) fn over(self, engine: E) -> Result<Optimizer<E>, Error> {
        let Self { groups, control, storage, .. } = self;
        let mut optimizer = Optimizer { model: Model::default(), control, storage, engine };
        optimizer.extend(groups)?;
        Ok(optimizer)
    }
}

impl<E: Engine> Optimizer<E> {
    /// Adds parameters that share a rule's hyperparameters, from the next step on; their group's
    /// index. Everything else stays as it is, states and step counts included.
    ///
    /// # Errors
    /// As when the optimizer was built. Nothing has changed then.
    pub fn add_group<P: Into<Param<E::Place>>>(
        &mut self,
        rule: impl Into<Box<dyn DynRule>>,
        params: impl IntoIterator<Item = P>,
    ) -> Result<usize, Error> {
        let params = params.into_iter().map(Into::into).collect();
        self.extend(vec![NewGroup { rule: rule.into(), lr_multiplier: 1.0, params }])?;
        Ok(self.model.groups.len() - 1)
    }

    /// Adds groups. If it fails, nothing has changed.
    fn extend(&mut self, mut new: Vec<NewGroup<E::Place>>) -> Result<(), Error> {
        for param in new.iter_mut().flat_map(|group| &mut group.params) {
            param.storage.get_or_insert_with(|| of_name(&self.storage, &param.name));
        }
        let (groups, params) = (self.model.groups.len(), self.model.params.len());
        let added = register(&mut self.model, new)
            .and_then(|places| self.engine.extend(&self.model, &self.control, groups, places));
        if added.is_err() {
            self.model.truncate(groups, params);
        }
        added
    }

    /// The number of groups, which are counted from 0 in the order they were added.
    pub fn groups(&self) -> usize {
        self.model.groups.len()
    }

    /// The rule of a group, with its present hyperparameters.
    ///
    /// # Errors
    /// There is no such group.
    pub fn rule(&self, group: usize) -> Result<&dyn DynRule, Error> {
        Ok(self.model.get(group)?.rule.as_ref())
    }

    /// Every parameter, in the order they were added: its handle, name, shape, group and step
    /// count.
    pub fn params(&self) -> impl ExactSizeIterator<Item = ParamInfo<'_>> {
        (0..self.model.params.len()).map(|param| self.model.info(param))
    }

    /// What is known of one parameter.
    ///
    /// # Errors
    /// The parameter is unknown.
    pub fn param_info(&self, param: impl ParamKey) -> Result<ParamInfo<'_>, Error> {
        Ok(self.model.info(self.model.find(param)?))
    }

    /// Bytes that all parameters, gradients and states take as they are stored, without padding.
    pub fn bytes_held(&self) -> u64 {
        let bytes = |member: &Member| {
            let codecs = member.formats.of_windows().into_iter().flatten();
            codecs.map(|codec| codec.bytes(member.len as u64)).sum::<u64>()
        };
        self.model.params.iter().map(bytes).sum()
    }

    /// A parameter's handle, by which every call finds it without a lookup.
    ///
    /// # Errors
    /// The name is unknown.
    pub fn id(&self, name: &str) -> Result<ParamId, Error> {
        Ok(self.model.id(self.model.find(name)?))
    }

    /// Changes a group's learning rate from the next step on.
    ///
    /// # Errors
    /// There is no such group, or the rate is out of range.
    pub fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), Error> {
        self.model.set_lr(group, lr)
    }

    /// Changes every group's learning rate from the next step on, to its
    /// [`lr_multiplier`](Builder::lr_multiplier) times this one.
    ///
    /// # Errors
    /// A rate is out of range; none is changed then.
    pub fn set_base_lr(&mut self, lr: f64) -> Result<(), Error> {
        self.model.set_base_lr(lr)
    }

    /// Changes a group's hyperparameters from the next step on, all of them: one that the new rule
    /// leaves at its default is the default from then on, the learning rate too. To change some and
    /// keep the others, call [`Self::update_rule`]. [`Modifiers`] stay unless the rule comes with
    /// others.
    ///
    /// # Errors
    /// There is no such group, the rule or its options are others, or a value is out of range.
    pub fn set_rule(
        &mut self,
        group: usize,
        rule: impl Into<Box<dyn DynRule>>,
    ) -> Result<(), Error> {
        self.model.set_rule(group, rule.into())
    }

    /// Changes some of a group's hyperparameters from the next step on; the others stay.
    ///
    /// ```
    /// use wgpu_optim::{AdamW, CpuOptimizer};
    /// let mut optimizer =
    ///     CpuOptimizer::<f32>::builder().group(AdamW::default(), [("w", 2)]).build()?;
    /// optimizer.set_lr(0, 3e-4)?;
    /// optimizer.update_rule(0, |rule: &mut AdamW| rule.weight_decay = 0.0)?;
    /// assert_eq!(optimizer.rule(0)?.lr(), 3e-4);
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is no such group, its rule is of another type, or as [`Self::set_rule`].
    pub fn update_rule<R: Rule>(
        &mut self,
        group: usize,
        change: impl FnOnce(&mut R),
    ) -> Result<(), Error> {
        let present = self.rule(group)?;
        let Some(rule) = present.downcast_ref::<R>() else {
            return Err(Error::group(
                group,
                format!("the rule `{}`", R::NAME),
                format!("`{}`", present.name()),
                "Let the function take the type of the group's own rule",
            ));
        };
        let mut rule = rule.clone();
        change(&mut rule);
        self.set_rule(group, rule)
    }

    /// Changes a group's modifiers from the next step on, all of their numbers: to change some and
    /// keep the others, start from [`DynRule::modifiers`] of its [`rule`](Self::rule).
    ///
    /// # Errors
    /// There is no such group, it was built with other modifiers in use, or a number is out of
    /// range.
    pub fn set_modifiers(&mut self, group: usize, modifiers: Modifiers) -> Result<(), Error> {
        self.model.set_modifiers(group, modifiers)
    }

    /// Moves parameters to another group of the same rule and options, from the next step on. Their
    /// states and step counts stay.
    ///
    /// # Errors
    /// A parameter or the group is unknown, or the group's rule keeps other states. Nothing has
    /// changed then.
    pub fn move_to_group(
        &mut self,
        params: impl IntoIterator<Item = impl ParamKey>,
        group: usize,
    ) -> Result<(), Error> {
        let params = self.model.find_all(params)?;
        self.model.get(group)?;
        params.iter().try_for_each(|&param| self.model.check_move(param, group))?;
        params.into_iter().for_each(|param| self.model.move_to_group(param, group));
        self.engine.changed();
        Ok(())
    }

    /// Freezes parameters, or thaws them, from the next step on. Steps leave a frozen parameter
    /// alone: its values, states and step count stay, and its gradient counts in no norm. With
    /// [`Builder::zero_grad`] its gradient is zeroed as all others are; where the gradient's memory
    /// is others' meanwhile, [`remove_buffers`](crate::Optimizer::remove_buffers) instead.
    ///
    /// # Errors
    /// A parameter is unknown, or one that is to be thawed has no buffers. Nothing has changed
    /// then.
    pub fn set_frozen(
        &mut self,
        params: impl IntoIterator<Item = impl ParamKey>,
        frozen: bool,
    ) -> Result<(), Error> {
        let params = self.model.find_all(params)?;
        if !frozen {
            let placed = |&param: &usize| self.engine.check_place(&self.model, param);
            params.iter().try_for_each(placed)?;
        }
        let mut changed = false;
        for param in params {
            changed |= self.model.freeze(param, frozen);
        }
        if changed {
            self.engine.changed();
        }
        Ok(())
    }

    /// Whether a parameter is frozen.
    ///
    /// # Errors
    /// The parameter is unknown.
    pub fn is_frozen(&self, param: impl ParamKey) -> Result<bool, Error> {
        Ok(self.model.is_frozen(self.model.find(param)?))
    }

    /// Steps that a parameter has taken, which is what a resumed run needs: skipped steps, and
    /// steps while it was frozen, do not count.
    ///
    /// Where the GPU skips steps ([`Builder::grad_scaler`], [`Builder::skip_non_finite`]), only the
    /// GPU knows: [`read_steps`](crate::Optimizer::read_steps) asks it, and may always be called in
    /// place of this.
    ///
    /// # Errors
    /// The parameter is unknown, or it took part in a step that the GPU may have skipped.
    pub fn steps(&self, param: impl ParamKey) -> Result<u64, Error> {
        let param = self.model.find(param)?;
        self.model.steps(param).ok_or_else(|| {
            Error::parameter(
                self.model.name(param),
                "a step count that the host knows",
                "one that the GPU keeps, since it skips steps",
                "Ask the GPU for the counts of all parameters: `read_steps()?.wait()?`",
            )
        })
    }

    /// Sets the number of steps that a parameter has behind it, as when a run is resumed: at most
    /// 2³² − 1, which no step goes beyond either.
    ///
    /// # Errors
    /// The parameter is unknown, or the number is too large.
    pub fn set_steps(&mut self, param: impl ParamKey, steps: u64) -> Result<(), Error> {
        let param = self.model.find(param)?;
        self.model.set_steps(param, steps)?;
        self.engine.changed();
        Ok(())
    }

    /// Changes the largest norm that gradients keep, from the next step on.
    ///
    /// # Errors
    /// The optimizer was built without clipping by a norm, or the number is out of range.
    pub fn set_clip_grad_norm(&mut self, max_norm: f64) -> Result<(), Error> {
        self.control.set_clip_norm(max_norm)
    }

    /// Changes the largest magnitude that an element of the gradient keeps, from the next step on.
    ///
    /// # Errors
    /// The optimizer was built without clipping by value, or the number is out of range.
    pub fn set_clip_grad_value(&mut self, value: f64) -> Result<(), Error> {
        self.control.set_clip_value(value)
    }

    /// Tells that gradients are sums over so many micro-batches, by which steps divide them from
    /// the next one on. At first 1.
    ///
    /// # Errors
    /// The number is 0.
    pub fn set_micro_batches(&mut self, count: u32) -> Result<(), Error> {
        self.control.set_micro_batches(count)
    }

    /// Sets a parameter's elements, in row-major order. On the GPU, before the commands of the next
    /// submission.
    ///
    /// # Errors
    /// The parameter is unknown, the number of values is wrong, or your buffer lacks `COPY_DST` or
    /// was removed.
    pub fn set_param(
        &mut self,
        param: impl ParamKey,
        values: &(impl Values<E::Element> + ?Sized),
    ) -> Result<(), Error> {
        let param = self.model.find(param)?;
        self.write(param, Array::Param, values)
    }

    /// Sets a gradient's elements. On the GPU, before the commands of the next submission: submit
    /// one step before setting the gradients of another.
    ///
    /// # Errors
    /// As [`Self::set_param`].
    pub fn set_grad(
        &mut self,
        param: impl ParamKey,
        values: &(impl Values<E::Element> + ?Sized),
    ) -> Result<(), Error> {
        let param = self.model.find(param)?;
        self.write(param, Array::Grad, values)
    }

    /// Sets a state's elements, by PyTorch's name for it. On the GPU, before the commands of the
    /// next submission.
    ///
    /// # Errors
    /// A name is unknown, the state is unused, or the number of values is wrong.
    pub fn set_state(
        &mut self,
        param: impl ParamKey,
        state: &str,
        values: &(impl Values<E::Element> + ?Sized),
    ) -> Result<(), Error> {
        let param = self.model.find(param)?;
        let state = self.model.find_state(param, state)?;
        self.write(param, Array::State(state), values)
    }

    /// Sets a state's elements as they are stored, without a loss: little-endian numbers of its
    /// format; in [`Format::Block8`](crate::Format::Block8) for each 256 elements an f32 scale and
    /// 256 codes, the last block padded.
    ///
    /// # Errors
    /// A name is unknown, the state is unused, or the number of bytes is wrong.
    pub fn set_state_bytes(
        &mut self,
        param: impl ParamKey,
        state: &str,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let param = self.model.find(param)?;
        let state = self.model.find_state(param, state)?;
        let Member { len, formats, .. } = &self.model.params[param];
        let expected = formats.states.as_slice()[state].bytes(*len as u64);
        if bytes.len() as u64 != expected {
            return Err(Error::parameter(
                self.model.name(param),
                format!("{expected} bytes of the state as it is stored"),
                format!("{} bytes", bytes.len()),
                "Pass what was read from an optimizer that stores it alike, or set values by \
                 `set_state`",
            ));
        }
        self.engine.write_bytes(&self.model, param, state, bytes)
    }

    fn write(
        &mut self,
        param: usize,
        array: Array,
        values: &(impl Values<E::Element> + ?Sized),
    ) -> Result<(), Error> {
        let values = values.values();
        self.model.check_len(param, values.len())?;
        self.engine.write(&self.model, param, array, &values)
    }
}

/// The storage of the first pattern that matches a name; f32 if none does.
fn of_name(storage: &[(String, Storage)], name: &str) -> Storage {
    let first = storage.iter().find(|(pattern, _)| matches(pattern, name));
    first.map_or_else(Storage::f32, |(_, storage)| storage.clone())
}

/// Checks hyperparameters, names and shapes; where the caller keeps the parameters.
fn register<P>(model: &mut Model, new: Vec<NewGroup<P>>) -> Result<Vec<Option<P>>, Error> {
    let mut places = Vec::new();
    for NewGroup { rule, lr_multiplier, params } in new {
        model.add_group(rule, lr_multiplier)?;
        for mut param in params {
            places.push(param.place.take());
            model.add_param(param)?;
        }
    }
    Ok(places)
}
