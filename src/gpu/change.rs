//! What may change between steps: parameters are added, moved, frozen and thawed. States stay.

use super::Optimizer;
use super::builder::NewGroup;
use super::coefficients::Coefficients;
use super::commands::Recipe;
use super::guard::guarded;
use super::param::{Param, Places};
use crate::dyn_rule::DynRule;
use crate::error::Error;
use crate::groups::Groups;
use crate::layout::ParamSpec;
use crate::pages::Pages;
use crate::plan::{Limits, plan};
use crate::program::Program;

impl Optimizer {
    /// Adds parameters that share a rule's hyperparameters, from the next recorded step on; their group's
    /// index. Everything else stays as it is, states and step counts included.
    ///
    /// # Errors
    /// As [`Builder::build`](super::Builder::build). Nothing has changed then.
    pub fn add_group<P: Into<Param>>(
        &mut self,
        rule: impl Into<Box<dyn DynRule>>,
        params: impl IntoIterator<Item = P>,
    ) -> Result<usize, Error> {
        let params = params.into_iter().map(Into::into).collect();
        self.extend([(rule.into(), 1.0, params)])?;
        Ok(self.groups.groups.len() - 1)
    }

    /// Moves parameters to other buffers or offsets, from the next recorded step on. Each is named, with its
    /// length; those not named stay where they are. States and step counts stay; values are not copied.
    ///
    /// For engines whose gradients, or parameters, are in other memory in each step.
    ///
    /// # Errors
    /// A name is unknown, a length is not the parameter's, buffers are missing, lack `STORAGE`, are too small,
    /// or ranges overlap. Nothing has changed then.
    pub fn set_buffers(&mut self, params: impl IntoIterator<Item = Param>) -> Result<(), Error> {
        let checked = params.into_iter().map(|param| self.check_move(param));
        let mut moved: Vec<_> = checked.collect::<Result<_, _>>()?;
        self.swap(&mut moved);
        let result = self.settle();
        if result.is_err() {
            moved.reverse();
            self.swap(&mut moved);
        }
        result
    }

    /// Freezes parameters and gives up their buffers, from the next recorded step on: the memory may be others'
    /// then. States and step counts stay, and can be read. To go on with a parameter, give it a place by
    /// [`Self::set_buffers`] and thaw it by [`Self::set_frozen`].
    ///
    /// For engines whose pools give the memory of a parameter that takes no part in some steps to others.
    ///
    /// # Errors
    /// A name is unknown, or a parameter lies in the arena. Nothing has changed then.
    pub fn remove_buffers<'n>(
        &mut self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<(), Error> {
        let find = |name| {
            let param = self.groups.find(name)?;
            match self.params[param].buffers.is_none() && self.layout.has_place(param) {
                true => Err(Error::parameter(
                    name,
                    "a parameter in buffers of yours",
                    "one in the optimizer's own",
                    "Freeze it instead",
                )),
                false => Ok(param),
            }
        };
        let removed: Vec<_> = names.into_iter().map(find).collect::<Result<_, _>>()?;
        for &param in &removed {
            self.groups.freeze(param, true);
            self.layout.remove(param);
            (self.params[param].buffers, self.params[param].offsets) = (None, [0, 0]);
        }
        // Fewer places cannot get in one another's way.
        if removed.is_empty() { Ok(()) } else { self.settle() }
    }

    /// Refuses a parameter's new place for what is wrong with it alone.
    fn check_move(&self, param: Param) -> Result<(usize, Param), Error> {
        let index = self.groups.find(&param.name)?;
        self.groups.check_len(index, param.len)?;
        if param.buffers.is_none() {
            return Err(Error::parameter(
                &param.name,
                "buffers to move it to",
                "a parameter without buffers",
                "Call `Param::buffers`",
            ));
        }
        param.check()?;
        Ok((index, param))
    }

    /// Exchanges parameters' descriptions, one after the other.
    fn swap(&mut self, moved: &mut [(usize, Param)]) {
        for (index, param) in moved {
            std::mem::swap(&mut self.params[*index], param);
        }
    }

    /// Lays parameters out as they are described now.
    fn settle(&mut self) -> Result<(), Error> {
        let Places { buffers, sizes, places } = Places::new(&self.params);
        self.layout.check_places(&places, &sizes)?;
        self.layout.set_places(&places);
        self.buffers.caller = buffers;
        self.ready = None;
        Ok(())
    }

    /// Freezes parameters, or thaws them, from the next recorded step on. Steps leave a frozen parameter alone:
    /// its values, states and step count stay, and its gradient counts in no norm.
    ///
    /// # Errors
    /// A name is unknown, or a parameter that is to be thawed has no buffers. Nothing has changed then.
    pub fn set_frozen<'n>(
        &mut self,
        names: impl IntoIterator<Item = &'n str>,
        frozen: bool,
    ) -> Result<(), Error> {
        let names: Vec<_> = names.into_iter().collect();
        if !frozen {
            names.iter().try_for_each(|name| self.check_place(self.groups.find(name)?))?;
        }
        if self.groups.set_frozen(names, frozen)? {
            self.ready = None;
        }
        Ok(())
    }

    /// Refuses a parameter whose buffers were removed.
    pub(super) fn check_place(&self, param: usize) -> Result<(), Error> {
        if self.layout.has_place(param) {
            return Ok(());
        }
        Err(Error::parameter(
            &self.params[param].name,
            "a parameter that lies somewhere",
            "one whose buffers were removed",
            "Call `set_buffers` first",
        ))
    }

    /// Adds groups. If it fails, nothing has changed.
    pub(super) fn extend(&mut self, new: impl IntoIterator<Item = NewGroup>) -> Result<(), Error> {
        let (groups, params) = (self.groups.groups.len(), self.params.len());
        let added = register(&mut self.groups, new, &mut self.params)
            .and_then(|()| self.create(groups, params));
        if added.is_err() {
            self.groups.truncate(groups);
            self.params.truncate(params);
        }
        added
    }

    /// Creates what the groups and parameters from these on need.
    fn create(&mut self, first_group: usize, first_param: usize) -> Result<(), Error> {
        let limits = limits(&self.device);
        let mut kernels = self.kernels.clone();
        kernels.extend(&self.groups);
        for group in &self.groups.groups[first_group..] {
            limits.check(group.rule.as_ref(), self.control.statistics)?;
            if self.control.decides() {
                limits.check_decision()?;
                group.rule.record(&mut Program::default())?;
            }
        }
        let Places { buffers: caller, sizes, places } = Places::new(&self.params);
        let of_param = |(index, param): (usize, &Param)| ParamSpec {
            name: param.name.clone(),
            len: param.len as u64,
            kernel: kernels.of(self.groups.params[index].group),
            places: places[index],
        };
        let specs: Vec<_> =
            self.params.iter().enumerate().skip(first_param).map(of_param).collect();
        let layout = self.layout.with(&specs, &sizes, kernels.len())?;
        let mut buffers = self.buffers.clone();
        buffers.caller = caller;
        guarded(&self.device, "creating states", || {
            buffers.extend(&self.device, &layout, &self.groups, &kernels);
        })?;
        (self.kernels, self.layout, self.buffers) = (kernels, layout, buffers);
        self.ready = None;
        Ok(())
    }

    /// Makes the next step ready to be recorded, if something changed since the last.
    pub(super) fn prepare(&mut self) -> Result<(), Error> {
        if self.ready.is_some() {
            return Ok(());
        }
        let limits = limits(&self.device);
        let device_limits = self.device.limits();
        let alignment = device_limits.min_uniform_buffer_offset_alignment.into();
        let max_page = device_limits.max_uniform_buffer_binding_size;
        let pages = Pages::new(&self.groups, &self.kernels, max_page, alignment);
        let entry = |param: &crate::groups::Param| pages.of_clock[param.clock];
        let entries: Vec<_> = self.groups.params.iter().map(entry).collect();
        let dispatches = plan(&self.layout, &entries, &limits);

        let device = self.device.clone();
        if let Some(decision) = &mut self.decision {
            decision.reserve(&device, self.groups.clocks.len())?;
        }
        let made = guarded(&device, "preparing a step", || {
            let old = self.coefficients.take().filter(|(old, _)| old.same_shape(&pages));
            let (decides, layouts) = (self.decision.is_some(), &self.compiler.layouts);
            let coefficients = old.map_or_else(
                || Coefficients::new(&device, layouts, &pages, decides),
                |(_, coefficients)| coefficients,
            );
            let recipe = Recipe {
                queue: &self.queue,
                limits: &limits,
                groups: &self.groups,
                kernels: &self.kernels,
                pages: &pages,
                buffers: &self.buffers,
                control: &self.control,
                dispatches: &dispatches,
                decision: coefficients.decided().zip(self.decision.as_ref()),
            };
            let commands = recipe.commands(&mut self.compiler, &mut self.scratch)?;
            Ok((commands, coefficients))
        });
        match made.and_then(|made| made) {
            Ok((commands, coefficients)) => {
                self.ready = Some(commands);
                self.coefficients = Some((pages, coefficients));
                Ok(())
            }
            Err(error) => {
                self.scratch.clear();
                Err(error)
            }
        }
    }
}

/// Checks hyperparameters and names.
fn register(
    groups: &mut Groups,
    new: impl IntoIterator<Item = NewGroup>,
    params: &mut Vec<Param>,
) -> Result<(), Error> {
    for (rule, lr_multiplier, members) in new {
        groups.add_group(rule, lr_multiplier)?;
        for param in members {
            param.check()?;
            groups.add_param(param.name.clone(), param.len)?;
            params.push(param);
        }
    }
    Ok(())
}

/// The limits of the device in hand, which may be lower than its adapter's.
fn limits(device: &wgpu::Device) -> Limits {
    let limits = device.limits();
    Limits {
        max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
        max_buffer_size: limits.max_buffer_size,
        max_compute_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension.into(),
        max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup.into(),
        max_compute_workgroup_size_x: limits.max_compute_workgroup_size_x.into(),
        max_storage_buffers_per_shader_stage: limits.max_storage_buffers_per_shader_stage.into(),
        min_storage_buffer_offset_alignment: limits.min_storage_buffer_offset_alignment.into(),
    }
}
