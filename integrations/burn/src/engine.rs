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
    members: Vec<Member>,
    /// Where each parameter is among the members.
    index: HashMap<ParamId, usize>,
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
    id: ParamId,
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

/// A parameter that a step updates, and which member it is: none if it is new.
struct Update<'a> {
    job: &'a Job,
    places: &'a Places,
    member: Option<usize>,
}

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
            members: Vec::new(),
            index: HashMap::new(),
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
        let member = |job: &Job| self.index.get(&job.id).copied();
        let update = |(job, places)| Update { job, places, member: member(job) };
        let mut updates: Vec<_> = jobs.iter().zip(places).map(update).collect();
        if !self.lrs_fit(&updates) {
            self.start_anew()?;
            updates.iter_mut().for_each(|update| update.member = None);
        }
        self.round += 1;
        self.leave(&updates)?;
        self.place(&updates)?;
        self.take_up(&updates)?;
        self.add(&updates)?;
        self.restore(jobs)?;
        self.set_lrs(&updates)
    }

    /// Whether parameters of one group have one learning rate still.
    fn lrs_fit(&self, updates: &[Update<'_>]) -> bool {
        let mut lrs = vec![None; self.groups.len()];
        updates.iter().all(|&Update { job, member, .. }| match member {
            Some(member) => *lrs[self.members[member].group].get_or_insert(job.lr) == job.lr,
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
    fn place(&mut self, updates: &[Update<'_>]) -> Result<(), Error> {
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        let moved = updates.iter().filter_map(|&Update { job, places, member }| {
            let index = member?;
            let member = &self.members[index];
            let moved = member.left || !member.place.is(places);
            moved.then(|| (index, job.len(), Place::of(places)))
        });
        let moved: Vec<_> = moved.collect();
        if moved.is_empty() {
            return Ok(());
        }
        let param = |(member, len, place): &(usize, _, Place)| {
            place.param(&self.members[*member].name, *len)
        };
        optimizer.set_buffers(moved.iter().map(param))?;
        for (member, _, place) in moved {
            self.members[member].place = place;
        }
        Ok(())
    }

    /// Tells the core of new parameters.
    fn add(&mut self, updates: &[Update<'_>]) -> Result<(), Error> {
        let mut new: Vec<(Group, Vec<(&Job, Place)>)> = Vec::new();
        for &Update { job, places, .. } in updates.iter().filter(|new| new.member.is_none()) {
            let same = |(group, _): &(Group, _)| (group.rule, group.lr) == (job.group, job.lr);
            let place = Place::of(places);
            match new.iter().position(same) {
                Some(index) => new[index].1.push((job, place)),
                None => new.push((Group { rule: job.group, lr: job.lr }, vec![(job, place)])),
            }
        }
        for (group, new) in new {
            self.add_group(group, new)?;
        }
        Ok(())
    }

    fn add_group(&mut self, group: Group, new: Vec<(&Job, Place)>) -> Result<(), Error> {
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
                id: job.id,
                name: name(job),
                path: job.path.clone(),
                shape: job.shape.to_vec(),
                group: self.groups.len(),
                place,
                round: self.round,
                left: false,
                away: false,
            };
            self.index.insert(job.id, self.members.len());
            self.members.push(member);
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
                (self.waiting.remove(&job.id), self.index.get(&job.id))
            {
                let name = &self.members[*member].name;
                for (state, values) in &state.arrays {
                    optimizer.set_state(name, state, values)?;
                }
                optimizer.set_steps(name, state.steps)?;
            }
        }
        Ok(())
    }

    /// Takes the parameters that this step does not update from their places, which Burn may have given to others.
    fn leave(&mut self, updates: &[Update<'_>]) -> Result<(), Error> {
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        for member in updates.iter().filter_map(|update| update.member) {
            let member = &mut self.members[member];
            (member.round, member.away) = (self.round, false);
        }
        let left = |member: &&mut Member| !member.left && member.round < self.round;
        let names = self.members.iter_mut().filter(left).map(|member| {
            member.left = true;
            member.name.as_str()
        });
        Ok(optimizer.remove_buffers(names)?)
    }

    /// Lets parameters that were left take part again.
    fn take_up(&mut self, updates: &[Update<'_>]) -> Result<(), Error> {
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        for member in updates.iter().filter_map(|update| update.member) {
            let member = &mut self.members[member];
            if member.left {
                optimizer.set_frozen([member.name.as_str()], false)?;
                member.left = false;
            }
        }
        Ok(())
    }

    fn set_lrs(&mut self, updates: &[Update<'_>]) -> Result<(), Error> {
        let Some(optimizer) = &mut self.optimizer else { return Ok(()) };
        for &Update { job, member, .. } in updates {
            let Some(member) = member else { continue };
            let at = self.members[member].group;
            let group = &mut self.groups[at];
            if group.lr != job.lr {
                optimizer.set_lr(at, job.lr)?;
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
        for member in &self.members {
            states.extend(self.state(member)?.map(|state| (member.id, state)));
        }
        let waiting = self.waiting.iter().map(|(id, state)| (*id, state.clone()));
        states.extend(waiting);
        Ok(states)
    }

    /// The state of a parameter, if it has one that waits for nothing.
    fn state(&self, member: &Member) -> Result<Option<State>, Error> {
        let Some(optimizer) = &self.optimizer else { return Ok(None) };
        if member.away || self.waiting.contains_key(&member.id) {
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

    /// Whether a step has updated the parameter here.
    pub fn knows(&self, id: ParamId) -> bool {
        self.index.contains_key(&id)
    }

    /// Whether the parameter has a state here that is of use.
    pub fn has(&self, id: ParamId) -> bool {
        let here = self.index.get(&id).is_some_and(|&member| !self.members[member].away);
        here || self.waiting.contains_key(&id)
    }

    /// Gives a parameter's state away, as when the parameter has moved to another device.
    pub fn take(&mut self, id: ParamId) -> Result<Option<State>, Error> {
        let member = self.index.get(&id).copied();
        let state = match (self.waiting.remove(&id), member) {
            (Some(state), _) => Some(state),
            (None, Some(member)) => self.state(&self.members[member])?,
            (None, None) => None,
        };
        if let Some(member) = member {
            self.members[member].away = true;
        }
        if self.members.iter().all(|member| member.away) {
            self.forget();
        }
        Ok(state)
    }

    /// Frees the device's memory.
    fn forget(&mut self) {
        self.optimizer = None;
        self.groups.clear();
        self.members.clear();
        self.index.clear();
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

    fn is(&self, places: &Places) -> bool {
        let Places { param, grad } = places;
        self.offsets == [param.offset(), grad.offset()]
            && self.buffers.iter().eq([param.buffer(), grad.buffer()])
    }

    fn param(&self, name: &str, len: usize) -> Param {
        let ([param, grad], [param_offset, grad_offset]) = (&self.buffers, self.offsets);
        Param::new(name, len).buffers(param, grad).offsets(param_offset, grad_offset)
    }
}

impl Debug for Engine {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let paths = self.members.iter().map(|member| &member.path);
        f.debug_struct("Engine")
            .field("parameters", &paths.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
