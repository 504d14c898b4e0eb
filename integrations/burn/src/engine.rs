//! The optimizer of one device: tells the core crate what Burn did to a model between steps.

use crate::arrays;
use crate::collect::Job;
use crate::config::FusedConfig;
use crate::device::WgpuHandles;
use crate::error::Error;
use crate::memory::Allocations;
use crate::state::State;
use burn::module::ParamId;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{Debug, Formatter};
use wgpu_optim::{DynRule, Optimizer, Param, ParamId as Handle, Place};

/// What a rule keeps for all elements of a parameter, by name.
type Scalars = BTreeMap<String, f64>;

/// The optimizer of the parameters on one device.
pub(crate) struct Engine {
    wgpu: WgpuHandles,
    config: FusedConfig,
    /// The core's optimizer, from the first step on.
    optimizer: Option<Optimizer>,
    /// The core's groups.
    groups: Vec<Group>,
    /// The core's parameters, in its order.
    members: Vec<Member>,
    /// Each parameter's index among the members.
    index: HashMap<ParamId, usize>,
    /// States from a record or from another device, until a step updates their parameters.
    pending: HashMap<ParamId, State>,
    /// Steps so far.
    round: u64,
}

/// Parameters with the same rule and the same learning rate.
struct Group {
    /// The index of its group in the config.
    rule: usize,
    lr: f64,
}

/// A parameter that the core knows.
struct Member {
    id: ParamId,
    handle: Handle,
    path: String,
    shape: Vec<usize>,
    group: usize,
    /// Where it is and its gradient was; `None` if a later step did not update it.
    place: Option<Place>,
    /// The last step that updated it.
    round: u64,
    /// Its state was taken to another device, and no step has updated it here since.
    state_taken: bool,
}

/// A parameter that a step updates, with its memory.
struct Update<'a> {
    job: &'a Job,
    memory: &'a Allocations,
}

/// An update of the member of this index.
type Known<'a> = (usize, Update<'a>);

impl Engine {
    pub fn new(wgpu: WgpuHandles, config: FusedConfig) -> Self {
        Self {
            wgpu,
            config,
            optimizer: None,
            groups: Vec::new(),
            members: Vec::new(),
            index: HashMap::new(),
            pending: HashMap::new(),
            round: 0,
        }
    }

    /// Updates these parameters, and no others. Submits.
    pub fn step(&mut self, jobs: &[Job], memory: &[Allocations]) -> Result<(), Error> {
        self.prepare(jobs, memory)?;
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        let mut encoder = self.wgpu.device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder)?;
        self.wgpu.queue.submit([encoder.finish()]);
        Ok(())
    }

    fn prepare(&mut self, jobs: &[Job], memory: &[Allocations]) -> Result<(), Error> {
        let (mut known, mut new) = (Vec::new(), Vec::new());
        for (job, memory) in jobs.iter().zip(memory) {
            let update = Update { job, memory };
            match self.index.get(&job.id) {
                Some(&member) => known.push((member, update)),
                None => new.push(update),
            }
        }
        self.round += 1;
        self.release(&known)?;
        self.place(&known)?;
        self.set_lrs(&known)?;
        self.add(new)?;
        self.restore(jobs)
    }

    /// Removes the buffers of parameters that this step does not update: Burn may have given their
    /// memory to other tensors.
    fn release(&mut self, known: &[Known<'_>]) -> Result<(), Error> {
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        for (member, _) in known {
            let member = &mut self.members[*member];
            (member.round, member.state_taken) = (self.round, false);
        }
        let unused = self.members.iter_mut().filter(|member| member.round < self.round);
        let released = unused.filter_map(|member| member.place.take().map(|_| member.handle));
        Ok(optimizer.remove_buffers(released)?)
    }

    /// Tells the core where known parameters and their gradients are now.
    fn place(&mut self, known: &[Known<'_>]) -> Result<(), Error> {
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        let old = |member: usize| self.members[member].place.as_ref();
        let places = known.iter().map(|(member, update)| (*member, update.memory.place()));
        let moved = places.filter(|(member, place)| old(*member) != Some(place));
        let moved: Vec<_> = moved.collect();
        if moved.is_empty() {
            return Ok(());
        }
        let handle = |member: usize| self.members[member].handle;
        optimizer
            .set_buffers(moved.iter().map(|(member, place)| (handle(*member), place.clone())))?;
        let returning = moved.iter().filter(|(member, _)| old(*member).is_none());
        optimizer.set_frozen(returning.map(|(member, _)| handle(*member)), false)?;
        for (member, place) in moved {
            self.members[member].place = Some(place);
        }
        Ok(())
    }

    /// Gives known parameters their learning rates. Those with the same rule and rate are in one
    /// group: where rates begin to differ, or agree again, parameters move to other groups, and
    /// their states and step counts stay as they are on the GPU.
    fn set_lrs(&mut self, known: &[Known<'_>]) -> Result<(), Error> {
        // Each rule's and rate's group in this step, by the rate's bits: if possible, one whose
        // parameters need not move.
        let mut groups = BTreeMap::new();
        let mut used = vec![false; self.groups.len()];
        let mut movers = Vec::new();
        for (member, update) in known {
            let own = self.members[*member].group;
            let key = (self.groups[own].rule, update.job.lr.to_bits());
            if !used[own] && !groups.contains_key(&key) {
                groups.insert(key, own);
                used[own] = true;
            }
            if groups.get(&key) != Some(&own) {
                movers.push((*member, key));
            }
        }
        for (&(_, lr), &group) in &groups {
            self.set_lr(group, f64::from_bits(lr))?;
        }
        let mut moves = BTreeMap::<usize, Vec<usize>>::new();
        for (member, key) in movers {
            let group = match groups.get(&key) {
                Some(&group) => group,
                None => self.unused_group(key.0, f64::from_bits(key.1), &mut used)?,
            };
            groups.insert(key, group);
            moves.entry(group).or_default().push(member);
        }
        moves.into_iter().try_for_each(|(group, members)| self.move_to_group(&members, group))
    }

    fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), Error> {
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        let known = &mut self.groups[group];
        if known.lr != lr {
            optimizer.set_lr(group, lr)?;
            known.lr = lr;
        }
        Ok(())
    }

    /// A group of this rule that this step does not use yet, or a new one, for this learning rate.
    fn unused_group(&mut self, rule: usize, lr: f64, used: &mut Vec<bool>) -> Result<usize, Error> {
        let mut groups = self.groups.iter().zip(used.iter());
        let group = match groups.position(|(group, used)| group.rule == rule && !used) {
            Some(group) => {
                self.set_lr(group, lr)?;
                group
            }
            None => {
                self.add_group(Group { rule, lr }, Vec::new())?;
                used.push(false);
                self.groups.len() - 1
            }
        };
        used[group] = true;
        Ok(group)
    }

    fn move_to_group(&mut self, members: &[usize], group: usize) -> Result<(), Error> {
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        optimizer
            .move_to_group(members.iter().map(|&member| self.members[member].handle), group)?;
        members.iter().for_each(|&member| self.members[member].group = group);
        Ok(())
    }

    /// Tells the core of new parameters.
    fn add(&mut self, updates: Vec<Update<'_>>) -> Result<(), Error> {
        let mut new: Vec<(Group, Vec<Update<'_>>)> = Vec::new();
        for update in updates {
            let Job { group: rule, lr, .. } = *update.job;
            match new.iter_mut().find(|(group, _)| (group.rule, group.lr) == (rule, lr)) {
                Some((_, updates)) => updates.push(update),
                None => new.push((Group { rule, lr }, vec![update])),
            }
        }
        new.into_iter().try_for_each(|(group, updates)| self.add_group(group, updates))
    }

    /// Adds a group of new parameters.
    fn add_group(&mut self, group: Group, updates: Vec<Update<'_>>) -> Result<(), Error> {
        let rule = self.config.rule(group.rule, group.lr);
        let handles = self.add_to_core(rule, updates.iter().map(param).collect())?;
        for (Update { job, memory }, handle) in updates.into_iter().zip(handles) {
            self.index.insert(job.id, self.members.len());
            self.members.push(Member {
                id: job.id,
                handle,
                path: job.path.clone(),
                shape: job.shape.to_vec(),
                group: self.groups.len(),
                place: Some(memory.place()),
                round: self.round,
                state_taken: false,
            });
        }
        self.groups.push(group);
        Ok(())
    }

    /// Adds a group to the core's optimizer, or builds the optimizer; the parameters' handles.
    fn add_to_core(
        &mut self,
        rule: Box<dyn DynRule>,
        params: Vec<Param>,
    ) -> Result<Vec<Handle>, Error> {
        let optimizer = match &mut self.optimizer {
            Some(optimizer) => {
                optimizer.add_group(rule, params)?;
                optimizer
            }
            None => {
                let mut builder = Optimizer::builder().group(rule, params);
                if let Some(max_norm) = self.config.clip_grad_norm {
                    builder = builder.clip_grad_norm(max_norm);
                }
                let WgpuHandles { device, queue } = &self.wgpu;
                self.optimizer.insert(builder.build(device, queue)?)
            }
        };
        // Parameters are listed in the order in which they were added.
        Ok(optimizer.params().skip(self.members.len()).map(|param| param.id).collect())
    }

    /// Gives parameters their pending states, all or none. They stay pending until that is done.
    fn restore(&mut self, jobs: &[Job]) -> Result<(), Error> {
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        let pending = jobs.iter().filter_map(|job| {
            let state = self.pending.get(&job.id)?;
            Some((name(&job.path, job.id), state))
        });
        let pending: Vec<_> = pending.collect();
        if pending.is_empty() {
            return Ok(());
        }
        let named = pending.iter().map(|(name, state)| (name.as_str(), *state));
        // Other parameters are not in these bytes, and stay as they are.
        let load = optimizer.load().allow_missing().without_params();
        load.bytes(&arrays::to_bytes(named, None))?;
        jobs.iter().for_each(|job| drop(self.pending.remove(&job.id)));
        Ok(())
    }

    /// Dispatches in a step of the parameters that the last one updated.
    pub fn dispatches(&mut self) -> Result<usize, Error> {
        Ok(self.optimizer.as_mut().map_or(Ok(0), Optimizer::dispatches)?)
    }

    /// The states of all parameters, read back.
    pub fn states(&mut self) -> Result<Vec<(ParamId, State)>, Error> {
        let (mut states, scalars) = (Vec::new(), self.scalars()?);
        for (member, scalars) in self.members.iter().zip(scalars) {
            states.extend(self.state(member, scalars)?.map(|state| (member.id, state)));
        }
        let pending = self.pending.iter().map(|(id, state)| (*id, state.clone()));
        states.extend(pending);
        Ok(states)
    }

    /// What rules keep for all elements, member by member.
    fn scalars(&mut self) -> Result<Vec<Scalars>, Error> {
        let rules = self.config.groups.iter();
        let has_some = rules.map(|group| &group.rule).any(|rule| !rule.scalars().is_empty());
        match &mut self.optimizer {
            Some(optimizer) if has_some => {
                let params = optimizer.snapshot()?.parameters.into_iter();
                Ok(params.map(|param| param.scalars).collect())
            }
            _ => Ok(vec![Scalars::new(); self.members.len()]),
        }
    }

    /// The state that the core keeps of a parameter, read back, unless another is in use.
    fn state(&self, member: &Member, scalars: Scalars) -> Result<Option<State>, Error> {
        let Some(optimizer) = &self.optimizer else { return Ok(None) };
        if member.state_taken || self.pending.contains_key(&member.id) {
            return Ok(None);
        }
        let Group { rule: group, lr } = self.groups[member.group];
        let read = |state: &str| -> Result<_, Error> {
            Ok((state.to_owned(), optimizer.read_state(member.handle, state)?.wait()?))
        };
        let states = self.config.groups[group].rule.states();
        Ok(Some(State {
            path: member.path.clone(),
            shape: member.shape.clone(),
            group,
            lr,
            steps: optimizer.steps(member.handle)?,
            scalars,
            arrays: states.iter().map(|state| read(state.name)).collect::<Result<_, _>>()?,
        }))
    }

    /// Whether a step has updated the parameter here.
    pub fn knows(&self, id: ParamId) -> bool {
        self.index.contains_key(&id)
    }

    /// Whether the parameter has a state here that is in use.
    pub fn has(&self, id: ParamId) -> bool {
        let here = self.index.get(&id).is_some_and(|&member| !self.members[member].state_taken);
        here || self.pending.contains_key(&id)
    }

    /// Takes a parameter's state from here, as when the parameter has moved to another device.
    pub fn take(&mut self, id: ParamId) -> Result<Option<State>, Error> {
        let member = self.index.get(&id).copied();
        let state = match (self.pending.remove(&id), member) {
            (Some(state), _) => Some(state),
            (None, Some(member)) => {
                let scalars = self.scalars()?.swap_remove(member);
                self.state(&self.members[member], scalars)?
            }
            (None, None) => None,
        };
        if let Some(member) = member {
            self.members[member].state_taken = true;
        }
        if self.members.iter().all(|member| member.state_taken) {
            self.clear();
        }
        Ok(state)
    }

    /// Frees the device's memory.
    fn clear(&mut self) {
        self.optimizer = None;
        self.groups.clear();
        self.members.clear();
        self.index.clear();
    }

    /// Keeps a state until a step updates its parameter.
    pub fn keep(&mut self, id: ParamId, state: State) {
        self.pending.insert(id, state);
    }

    /// The state that the parameter's next step would begin with, if it is on the host.
    pub fn pending(&self, id: ParamId) -> Option<&State> {
        self.pending.get(&id)
    }

    /// The learning rates in use in a group of the config.
    pub fn lrs(&self, group: usize) -> impl Iterator<Item = f64> {
        self.groups.iter().filter(move |known| known.rule == group).map(|known| known.lr)
    }

    /// Changes the hyperparameters of a group of the config.
    pub fn set_rule(&mut self, group: usize, rule: &dyn DynRule) -> Result<(), Error> {
        self.config.groups[group].rule = rule.boxed();
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        for (index, known) in self.groups.iter().enumerate() {
            if known.rule == group {
                optimizer.set_rule(index, self.config.rule(group, known.lr))?;
            }
        }
        Ok(())
    }
}

/// The core's name for a parameter: two modules may have the same paths.
fn name(path: &str, id: ParamId) -> String {
    format!("{path} ({id})")
}

/// The core's description of a new parameter.
fn param(Update { job, memory }: &Update<'_>) -> Param {
    Param::new(name(&job.path, job.id), job.shape.to_vec())
        .buffers(memory.param.slice(), memory.grad.slice())
}

impl Debug for Engine {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let paths = self.members.iter().map(|member| &member.path);
        f.debug_struct("Engine")
            .field("parameters", &paths.collect::<Vec<_>>())
            .field("groups", &self.groups.len())
            .finish_non_exhaustive()
    }
}
