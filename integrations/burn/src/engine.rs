//! One device's optimizer of the core crate: what Burn does to a model between steps, told in the core's words.

use crate::collect::Job;
use crate::config::FusedConfig;
use crate::device::Handles;
use crate::error::Error;
use crate::seam::Places;
use crate::state::State;
use burn::module::ParamId;
use std::collections::HashMap;
use std::fmt::{Debug, Formatter};
use wgpu_optim::wgpu;
use wgpu_optim::{Optimizer, Param};

/// The optimizer of the parameters on one device.
pub(crate) struct Engine {
    handles: Handles,
    config: FusedConfig,
    optimizer: Option<Optimizer>,
    /// The core's groups.
    groups: Vec<Group>,
    members: HashMap<ParamId, Member>,
    /// States of parameters that no step has seen yet, from a record or from another device.
    waiting: HashMap<ParamId, State>,
    /// Steps so far.
    round: u64,
}

/// Parameters with the same rule and the same learning rate.
struct Group {
    /// Its group in the config.
    rule: usize,
    lr: f64,
}

/// A parameter that the core knows.
struct Member {
    name: String,
    path: String,
    shape: Vec<usize>,
    group: usize,
    place: Place,
    /// The last step that updated it.
    round: u64,
    /// A later step left it alone: it lies nowhere.
    left: bool,
    /// Its state was given away, and no step has updated it since.
    away: bool,
}

#[derive(Clone, PartialEq)]
struct Place {
    buffers: [wgpu::Buffer; 2],
    offsets: [u64; 2],
}

impl Engine {
    pub fn new(handles: Handles, config: FusedConfig) -> Self {
        Self {
            handles,
            config,
            optimizer: None,
            groups: Vec::new(),
            members: HashMap::new(),
            waiting: HashMap::new(),
            round: 0,
        }
    }

    /// Updates these parameters, and no others. Submits.
    pub fn step(&mut self, jobs: &[Job], places: &[Places]) -> Result<(), Error> {
        self.prepare(jobs, places)?;
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        let mut encoder = self.handles.device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder)?;
        self.handles.queue.submit([encoder.finish()]);
        Ok(())
    }

    fn prepare(&mut self, jobs: &[Job], places: &[Places]) -> Result<(), Error> {
        let places: Vec<_> = places.iter().map(Place::of).collect();
        if !self.lrs_fit(jobs) {
            self.start_anew()?;
        }
        self.round += 1;
        self.leave(jobs)?;
        self.place(jobs, &places)?;
        self.take_up(jobs)?;
        self.add(jobs, &places)?;
        self.restore(jobs)?;
        self.set_lrs(jobs)
    }

    /// Whether parameters of one group have one learning rate still.
    fn lrs_fit(&self, jobs: &[Job]) -> bool {
        let mut lrs = vec![None; self.groups.len()];
        jobs.iter().all(|job| match self.members.get(&job.id) {
            Some(member) => *lrs[member.group].get_or_insert(job.lr) == job.lr,
            None => true,
        })
    }

    /// Reads all states back, to build the optimizer anew with them.
    fn start_anew(&mut self) -> Result<(), Error> {
        for (id, state) in self.states()? {
            self.waiting.insert(id, state);
        }
        self.forget();
        Ok(())
    }

    /// Tells the core where known parameters lie now.
    fn place(&mut self, jobs: &[Job], places: &[Place]) -> Result<(), Error> {
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        let member = |(job, place): &(&Job, &Place)| {
            self.members.get(&job.id).filter(|member| member.left || member.place != **place)
        };
        let moved = jobs
            .iter()
            .zip(places)
            .filter_map(|at| member(&at).map(|member| at.1.param(&member.name, at.0.len())));
        let moved: Vec<_> = moved.collect();
        if moved.is_empty() {
            return Ok(());
        }
        optimizer.set_buffers(moved)?;
        for (job, place) in jobs.iter().zip(places) {
            if let Some(member) = self.members.get_mut(&job.id) {
                member.place = place.clone();
            }
        }
        Ok(())
    }

    /// Tells the core of new parameters.
    fn add(&mut self, jobs: &[Job], places: &[Place]) -> Result<(), Error> {
        let mut new: Vec<(Group, Vec<(&Job, &Place)>)> = Vec::new();
        for (job, place) in jobs.iter().zip(places) {
            if self.members.contains_key(&job.id) {
                continue;
            }
            let same = |(group, _): &(Group, _)| (group.rule, group.lr) == (job.group, job.lr);
            match new.iter().position(same) {
                Some(index) => new[index].1.push((job, place)),
                None => new.push((Group { rule: job.group, lr: job.lr }, vec![(job, place)])),
            }
        }
        for (group, members) in new {
            self.add_group(group, &members)?;
        }
        Ok(())
    }

    fn add_group(&mut self, group: Group, new: &[(&Job, &Place)]) -> Result<(), Error> {
        let name = |job: &Job| format!("{} ({})", job.path, job.id);
        let params: Vec<_> =
            new.iter().map(|(job, place)| place.param(&name(job), job.len())).collect();
        let mut rule = self.config.groups[group.rule].rule.boxed();
        rule.set_lr(group.lr);
        match &mut self.optimizer {
            Some(optimizer) => {
                optimizer.add_group(rule, params)?;
            }
            None => {
                let mut builder = Optimizer::builder().group(rule, params);
                if let Some(max_norm) = self.config.clip_grad_norm {
                    builder = builder.clip_grad_norm(max_norm);
                }
                self.optimizer = Some(builder.build(&self.handles.device, &self.handles.queue)?);
            }
        }
        for (job, place) in new {
            let member = Member {
                name: name(job),
                path: job.path.clone(),
                shape: job.shape.clone(),
                group: self.groups.len(),
                place: (*place).clone(),
                round: self.round,
                left: false,
                away: false,
            };
            self.members.insert(job.id, member);
        }
        self.groups.push(group);
        Ok(())
    }

    /// Gives parameters the states that waited for them.
    fn restore(&mut self, jobs: &[Job]) -> Result<(), Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        for job in jobs {
            if let (Some(state), Some(member)) =
                (self.waiting.remove(&job.id), self.members.get(&job.id))
            {
                for (name, values) in &state.arrays {
                    optimizer.set_state(&member.name, name, values)?;
                }
                optimizer.set_steps(&member.name, state.steps)?;
            }
        }
        Ok(())
    }

    /// Takes the parameters that this step does not update from their places, which Burn may have given to others.
    fn leave(&mut self, jobs: &[Job]) -> Result<(), Error> {
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        for job in jobs {
            if let Some(member) = self.members.get_mut(&job.id) {
                (member.round, member.away) = (self.round, false);
            }
        }
        let left = |member: &&mut Member| !member.left && member.round < self.round;
        let names = self.members.values_mut().filter(left).map(|member| {
            member.left = true;
            member.name.as_str()
        });
        Ok(optimizer.remove_buffers(names)?)
    }

    /// Lets parameters that were left take part again.
    fn take_up(&mut self, jobs: &[Job]) -> Result<(), Error> {
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        for job in jobs {
            if let Some(member) = self.members.get_mut(&job.id).filter(|member| member.left) {
                optimizer.set_frozen([member.name.as_str()], false)?;
                member.left = false;
            }
        }
        Ok(())
    }

    fn set_lrs(&mut self, jobs: &[Job]) -> Result<(), Error> {
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        for job in jobs {
            let Some(member) = self.members.get(&job.id) else { continue };
            let group = &mut self.groups[member.group];
            if group.lr != job.lr {
                optimizer.set_lr(member.group, job.lr)?;
                group.lr = job.lr;
            }
        }
        Ok(())
    }

    /// Dispatches in a step of the parameters that the last one updated.
    pub fn dispatches(&mut self) -> Result<usize, Error> {
        Ok(self.optimizer.as_mut().map_or(Ok(0), Optimizer::dispatches)?)
    }

    /// The states of all parameters, read back.
    pub fn states(&self) -> Result<Vec<(ParamId, State)>, Error> {
        let mut states = Vec::new();
        for id in self.members.keys() {
            states.extend(self.state(*id)?.map(|state| (*id, state)));
        }
        let waiting = self.waiting.iter().map(|(id, state)| (*id, state.clone()));
        states.extend(waiting);
        Ok(states)
    }

    /// The state of a parameter, if it has one that waits for nothing.
    fn state(&self, id: ParamId) -> Result<Option<State>, Error> {
        let (Some(member), Some(optimizer)) = (self.members.get(&id), &self.optimizer) else {
            return Ok(None);
        };
        if member.away || self.waiting.contains_key(&id) {
            return Ok(None);
        }
        let rule = &self.config.groups[self.groups[member.group].rule].rule;
        let read = |state: &str| -> Result<_, Error> {
            Ok((state.to_owned(), optimizer.read_state(&member.name, state)?.wait()?))
        };
        let arrays =
            rule.states().iter().map(|state| read(state.name)).collect::<Result<_, _>>()?;
        Ok(Some(State {
            path: member.path.clone(),
            shape: member.shape.clone(),
            steps: optimizer.steps(&member.name)?,
            arrays,
        }))
    }

    /// Whether the parameter has a state here that is of use.
    pub fn has(&self, id: ParamId) -> bool {
        let here = self.members.get(&id).is_some_and(|member| !member.away);
        here || self.waiting.contains_key(&id)
    }

    /// Gives a parameter's state away, as when the parameter has moved to another device.
    pub fn take(&mut self, id: ParamId) -> Result<Option<State>, Error> {
        let state = match self.waiting.remove(&id) {
            Some(state) => Some(state),
            None => self.state(id)?,
        };
        if let Some(member) = self.members.get_mut(&id) {
            member.away = true;
        }
        if self.members.values().all(|member| member.away) {
            self.forget();
        }
        Ok(state)
    }

    /// Frees the device's memory.
    fn forget(&mut self) {
        self.optimizer = None;
        self.groups.clear();
        self.members.clear();
    }

    /// Keeps a state until a step updates its parameter.
    pub fn keep(&mut self, id: ParamId, state: State) {
        self.waiting.insert(id, state);
    }
}

impl Place {
    fn of(places: &Places) -> Self {
        let Places { param, grad } = places;
        Self {
            buffers: [param.buffer().clone(), grad.buffer().clone()],
            offsets: [param.offset(), grad.offset()],
        }
    }

    fn param(&self, name: &str, len: usize) -> Param {
        let ([param, grad], [param_offset, grad_offset]) = (&self.buffers, self.offsets);
        Param::new(name, len).buffers(param, grad).offsets(param_offset, grad_offset)
    }
}

impl Debug for Engine {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let paths = self.members.values().map(|member| &member.path);
        f.debug_struct("Engine")
            .field("parameters", &paths.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
