//! The optimizer and its builder: everything that GPU and CPU share, once. What differs is an
//! [`Engine`]: where elements are, and how a step goes through them.

use crate::control::{Control, GradScaler, NormType};
use crate::error::Error;
pub use crate::model::Param;
use crate::model::pattern::matches;
use crate::model::{Member, Model, ParamId, ParamInfo, ParamKey, Storage, Values};
use crate::rule::{DynRule, Real, Rule};
use std::fmt::Debug;

/// One of a parameter's arrays.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Array {
    Param,
    Grad,
    /// The n-th state in use.
    State(usize),
}

/// Where an optimizer computes: [`Gpu`](crate::Gpu) or [`Cpu`](crate::Cpu). Sealed: these are all.
pub trait Engine: Debug + Sized + sealed::Sealed {
    /// The type of elements on the host.
    type Element: Real;
    /// How a caller tells where it keeps a parameter and its gradient.
    type Place: Debug;
    /// What a builder hands over beside groups and settings.
    #[doc(hidden)]
    type Setup: Debug + Default;
    /// What is kept of a step that is taken in parts, until it ends.
    #[doc(hidden)]
    type Open: Debug;

    /// Makes room for the groups and parameters from these indices on. If it fails, nothing has
    /// changed.
    #[doc(hidden)]
    fn extend(
        &mut self,
        model: &Model,
        control: &Control,
        first_group: usize,
        places: Vec<Option<Self::Place>>,
    ) -> Result<(), Error>;
    /// Tells that the next step is another: parameters were frozen, thawed, counted anew or moved
    /// to other groups.
    #[doc(hidden)]
    fn changed(&mut self);
    /// Refuses a parameter that is nowhere.
    #[doc(hidden)]
    fn check_place(&self, model: &Model, param: usize) -> Result<(), Error>;
    /// Sets the elements of an array; their number was checked.
    #[doc(hidden)]
    fn write(
        &mut self,
        model: &Model,
        param: usize,
        array: Array,
        values: &[Self::Element],
    ) -> Result<(), Error>;
    /// Sets the elements of a state as they are stored; the number of bytes was checked.
    #[doc(hidden)]
    fn write_bytes(
        &mut self,
        model: &Model,
        param: usize,
        state: usize,
        bytes: &[u8],
    ) -> Result<(), Error>;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

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

/// A rule, its learning rate's multiplier, and its parameters.
#[derive(Debug)]
pub(crate) struct NewGroup<P> {
    rule: Box<dyn DynRule>,
    lr_multiplier: f64,
    params: Vec<Param<P>>,
}

/// Collects groups for an [`Optimizer`], and what it does around its steps.
#[derive(Debug)]
#[must_use = "an optimizer is made by `build`"]
pub struct Builder<E: Engine> {
    pub(crate) groups: Vec<NewGroup<E::Place>>,
    pub(crate) control: Control,
    /// How parameters are stored, by patterns of their names.
    storage: Vec<(String, Storage)>,
    pub(crate) setup: E::Setup,
    /// The first call that made no sense, for `build` to tell.
    pub(crate) misuse: Option<Error>,
}

impl<E: Engine> Default for Builder<E> {
    fn default() -> Self {
        let (groups, control, storage, setup, misuse) = Default::default();
        Self { groups, control, storage, setup, misuse }
    }
}

impl<E: Engine> Builder<E> {
    /// Adds parameters that share a rule's hyperparameters: [`Param`]s, or names with shapes or
    /// numbers of elements, `("w", [128, 784])` or `("w", 100_352)`.
    pub fn group<P: Into<Param<E::Place>>>(
        mut self,
        rule: impl Into<Box<dyn DynRule>>,
        params: impl IntoIterator<Item = P>,
    ) -> Self {
        let params = params.into_iter().map(Into::into).collect();
        self.groups.push(NewGroup { rule: rule.into(), lr_multiplier: 1.0, params });
        self
    }

    /// Adds a group for each of these rules, with the parameters whose names match its pattern, in
    /// which `*` stands for any characters and `?` for one. A parameter goes to the first that
    /// matches, so that exceptions come first; one that none matches is refused by `build`.
    ///
    /// ```no_run
    /// # use wgpu_optim::{AdamW, Optimizer};
    /// let decayed = AdamW { weight_decay: 0.1, ..Default::default() };
    /// let plain = AdamW { weight_decay: 0.0, ..decayed };
    /// let builder = Optimizer::builder().groups_by_name(
    ///     [("*.bias", plain), ("*norm*", plain), ("*", decayed)],
    ///     [("layer.weight", 4096), ("layer.bias", 64), ("norm.weight", 64)],
    /// );
    /// ```
    pub fn groups_by_name<P: Into<Param<E::Place>>>(
        mut self,
        rules: impl IntoIterator<Item = (impl Into<String>, impl Into<Box<dyn DynRule>>)>,
        params: impl IntoIterator<Item = P>,
    ) -> Self {
        let rule = |(pattern, rule): (_, _)| {
            let pattern: String = Into::into(pattern);
            let group = NewGroup { rule: Into::into(rule), lr_multiplier: 1.0, params: Vec::new() };
            (pattern, group)
        };
        let mut groups: Vec<_> = rules.into_iter().map(rule).collect();
        for param in params.into_iter().map(Into::into) {
            match groups.iter_mut().find(|(pattern, _)| matches(pattern, &param.name)) {
                Some((_, group)) => group.params.push(param),
                None => {
                    let patterns: Vec<_> = groups.iter().map(|(pattern, _)| &**pattern).collect();
                    self.misuse.get_or_insert_with(|| unmatched(&param.name, &patterns));
                }
            }
        }
        self.groups.extend(groups.into_iter().map(|(_, group)| group));
        self
    }

    /// Multiplies the last group's learning rate wherever [`Optimizer::set_base_lr`] sets all
    /// groups' at once. Before any group it is refused by `build`.
    pub fn lr_multiplier(mut self, multiplier: f64) -> Self {
        match self.groups.last_mut() {
            Some(group) => group.lr_multiplier = multiplier,
            None => {
                self.misuse.get_or_insert_with(|| Error::Setting {
                    expected: "a group before `lr_multiplier`".into(),
                    remedy: "Call it after the group that it is for".into(),
                });
            }
        }
        self
    }

    /// Clips by the global norm: every gradient is multiplied by `min(1, max_norm/(‖g‖ + 1e-6))`,
    /// with the root of the sum of all squares, over all parameters of the optimizer that are not
    /// frozen; PyTorch's `clip_grad_norm_`. As there, a NaN makes all gradients NaN, and an
    /// infinite one makes all others 0 and itself NaN, unless such steps are skipped.
    pub fn clip_grad_norm(mut self, max_norm: f64) -> Self {
        self.control.clip_norm = Some((NormType::L2, max_norm));
        self
    }

    /// The same by the largest magnitude of any element.
    pub fn clip_grad_norm_max(mut self, max_norm: f64) -> Self {
        self.control.clip_norm = Some((NormType::Max, max_norm));
        self
    }

    /// Clamps each element of the gradient to ±`value`, after anything else that scales it;
    /// PyTorch's `clip_grad_value_`.
    pub fn clip_grad_value(mut self, value: f64) -> Self {
        self.control.clip_value = Some(value);
        self
    }

    /// Takes gradients that come multiplied by the loss scale, and skips steps in which one is
    /// infinite or NaN. [`GradScaler`] tells what to do where several models share a loss.
    pub fn grad_scaler(mut self, scaler: GradScaler) -> Self {
        self.control.scaler = Some(scaler);
        self
    }

    /// Skips steps in which a gradient is infinite or NaN, whole, without a loss scale.
    pub fn skip_non_finite(mut self) -> Self {
        self.control.skip_non_finite = true;
        self
    }

    /// Zeroes each gradient as the step reads it, also where it is skipped. It costs 4 bytes more a
    /// parameter, less than to zero them apart.
    ///
    /// As PyTorch's `zero_grad` does, it zeroes all gradients: a frozen parameter's too, so that
    /// one that is thawed starts from none, whatever an engine added meanwhile. No step reads
    /// those; where there are any, a dispatch of their own zeroes them.
    pub fn zero_grad(mut self) -> Self {
        self.control.zero_grad = true;
        self
    }

    /// Keeps statistics of each step: on the GPU for
    /// [`read_statistics`](crate::Optimizer::read_statistics), on the CPU for
    /// [`grad_norm`](crate::CpuOptimizer::grad_norm).
    pub fn statistics(mut self) -> Self {
        self.control.statistics = true;
        self
    }

    /// How parameters whose names match a pattern are stored, with their gradients and states, also
    /// those that are added later. A parameter takes the first that matches, so that exceptions
    /// come first; its own [`storage`](Param::storage) goes before all; one that none matches is in
    /// f32.
    ///
    /// ```no_run
    /// # use wgpu_optim::{AdamW, Format, Optimizer, Rounding, Storage};
    /// let builder = Optimizer::builder()
    ///     .group(AdamW::default(), [("embed.weight", [50_000, 512]), ("mlp.weight", [512, 512])])
    ///     .storage("embed.*", Storage::bf16(Rounding::Remainder))
    ///     .storage("*", Storage::bf16(Rounding::Remainder).states(Format::Block8));
    /// ```
    pub fn storage(mut self, pattern: impl Into<String>, storage: Storage) -> Self {
        self.storage.push((pattern.into(), storage));
        self
    }

    /// An optimizer over this engine, which has no groups yet.
    pub(crate) fn over(self, engine: E) -> Result<Optimizer<E>, Error> {
        let Self { groups, control, storage, .. } = self;
        let mut optimizer = Optimizer { model: Model::default(), control, storage, engine };
        optimizer.extend(groups)?;
        Ok(optimizer)
    }

    /// Refuses settings that are out of range, and calls that made no sense.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        self.control.validate()?;
        self.misuse.take().map_or(Ok(()), Err)
    }
}

fn unmatched(name: &str, patterns: &[&str]) -> Error {
    Error::parameter(
        name,
        format!("a name that one of the patterns matches: {}", patterns.join(", ")),
        "none that does",
        "End the patterns with `*` for all others",
    )
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
    /// keep the others, call [`Self::update_rule`].
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
