//! The commands of a step, in order: what the GPU decides first, norms where a rule takes them, updates,
//! and what is summed up for statistics.

use super::buffers::{Buffers, StateOf};
use super::coefficients::Bound;
use super::decision::Decision;
use super::kernel::{Compiler, Key, Recorded};
use super::scratch::Scratch;
use super::tables::Tables;
use crate::control::Control;
use crate::error::Error;
use crate::groups::Groups;
use crate::kernels::Kernels;
use crate::pages::Pages;
use crate::plan::{Dispatch, Limits, Window, need};
use crate::reduction::Reduction;
use crate::shader::{BLOCKS_MEASURED_PER_WORKGROUP, Extras, SUMS_BYTES, Stage, Sums, Variant};

/// What the commands are made of.
pub(super) struct Recipe<'a> {
    pub limits: &'a Limits,
    pub groups: &'a Groups,
    pub kernels: &'a Kernels,
    pub pages: &'a Pages,
    pub buffers: &'a Buffers,
    pub control: &'a Control,
    pub dispatches: &'a [Dispatch],
    /// Where the GPU decides: the coefficients that it computes, and what else it needs.
    pub decision: Option<(&'a wgpu::Buffer, &'a Decision)>,
}

/// A step, ready to be recorded, and what it leaves for statistics.
#[derive(Debug)]
pub(super) struct Commands {
    pub recorded: Vec<Recorded>,
    pub watched: Option<Watched>,
    /// Which block is whose, where gradients are measured.
    pub blocks: Option<Reduction>,
}

/// What statistics are read from: an entry for each parameter that takes part.
#[derive(Debug)]
pub(super) struct Watched {
    pub measures: wgpu::Buffer,
    pub changes: wgpu::Buffer,
}

/// Partial sums of blocks, on their way to one a tensor.
struct Summed {
    reduction: Reduction,
    /// Of each dispatch the places of its blocks, then of each level its rows.
    tables: Tables,
    dispatches: usize,
    /// The partial sums, then each level's.
    buffers: Vec<wgpu::Buffer>,
}

impl Recipe<'_> {
    /// Creates tables, pipelines and bind groups. To be called within an error scope.
    pub fn commands(
        &self,
        compiler: &mut Compiler,
        scratch: &mut Scratch,
    ) -> Result<Commands, Error> {
        let mut recorded = Vec::new();
        let tables = Tables::new(&compiler.device, self.dispatches.iter().map(Dispatch::table));
        let measured = match self.decision {
            Some((coeffs, decision)) => {
                let measured = self.summed(compiler, scratch, "measures", self.dispatches)?;
                recorded
                    .extend(self.decide(compiler, scratch, &tables, &measured, coeffs, decision)?);
                Some(measured)
            }
            None => None,
        };
        let watched = match &measured {
            Some(measured) if self.control.statistics => {
                let changes = self.summed(compiler, scratch, "changes", self.dispatches)?;
                recorded.extend(measured.sums(compiler, self.limits, Sums::Measures)?);
                Some((measured.totals(), changes))
            }
            _ => None,
        };
        let mut first = 0;
        for dispatches in self.dispatches.chunk_by(|a, b| a.kernel == b.kernel) {
            let changes = watched.as_ref().map(|(_, changes)| changes);
            recorded.extend(self.updates(compiler, scratch, &tables, first, dispatches, changes)?);
            first += dispatches.len();
        }
        if let Some((_, changes)) = &watched {
            recorded.extend(changes.sums(compiler, self.limits, Sums::Norms)?);
        }
        let watched =
            watched.map(|(measures, changes)| Watched { measures, changes: changes.totals() });
        let blocks = measured.map(|measured| measured.reduction);
        Ok(Commands { recorded, watched, blocks })
    }

    /// Measures all gradients and decides on the step.
    fn decide(
        &self,
        compiler: &mut Compiler,
        scratch: &mut Scratch,
        tables: &Tables,
        measured: &Summed,
        coeffs: &wgpu::Buffer,
        decision: &Decision,
    ) -> Result<Vec<Recorded>, Error> {
        let mut recorded = Vec::new();
        for (index, dispatch) in self.dispatches.iter().enumerate() {
            let buffers = [
                tables.binding(index),
                self.window(dispatch.windows[1], StateOf::default()),
                measured.tables.binding(index),
                measured.buffers[0].as_entire_buffer_binding(),
            ];
            let key = Key::Measure(compiler.best(dispatch.access));
            let workgroups = dispatch.blocks().div_ceil(BLOCKS_MEASURED_PER_WORKGROUP);
            let grid = self.limits.grid(workgroups);
            recorded.push(compiler.ready(key, None, buffers, Bound::Nothing, grid)?);
        }
        let count = Decision::gathered(measured.reduction.partials);
        let gathered = scratch.buffer(&compiler.device, "gathered", 0, count * SUMS_BYTES);
        let parts = [&measured.buffers[0], &gathered].map(wgpu::Buffer::as_entire_buffer_binding);
        let grid = [count as u32, 1];
        recorded.push(compiler.ready(Key::Gather, None, parts, Bound::Nothing, grid)?);
        let buffers = [&gathered, &decision.scale, &decision.report, &decision.clocks, coeffs];
        let buffers = buffers.map(wgpu::Buffer::as_entire_buffer_binding);
        recorded.push(compiler.ready(Key::Control, None, buffers, Bound::Request, [1, 1])?);
        Ok(recorded)
    }

    /// The updates of one kernel, whose dispatches follow `first` others; before them the norms that a trust
    /// ratio takes.
    fn updates(
        &self,
        compiler: &mut Compiler,
        scratch: &mut Scratch,
        tables: &Tables,
        first: usize,
        dispatches: &[Dispatch],
        changes: Option<&Summed>,
    ) -> Result<Vec<Recorded>, Error> {
        let kernel = dispatches[0].kernel;
        let rule = self.kernels.rule(self.groups, kernel);
        let mut recorded = Vec::new();
        // A step's norms and changes share a numbering of blocks: with changes, all kernels' together.
        let (counted, offset) =
            if changes.is_some() { (self.dispatches, first) } else { (dispatches, 0) };
        let norms = match rule.trust_ratio() {
            Some(_) => {
                let name = format!("norms {kernel}");
                let norms = self.summed(compiler, scratch, &name, counted)?;
                for (index, dispatch) in dispatches.iter().enumerate() {
                    let table = tables.binding(first + index);
                    let sums = [norms.tables.binding(offset + index), norms.partials()];
                    recorded.push(self.update(compiler, dispatch, Stage::Norm, table, sums)?);
                }
                recorded.extend(norms.sums(compiler, self.limits, Sums::Norms)?);
                Some(norms)
            }
            None => None,
        };
        for (index, dispatch) in dispatches.iter().enumerate() {
            let table = tables.binding(first + index);
            let mut sums = Vec::new();
            if let Some(summed) = norms.as_ref().or(changes) {
                sums.push(summed.tables.binding(offset + index));
            }
            sums.extend(norms.iter().map(|norms| norms.totals_binding()));
            sums.extend(changes.iter().map(|changes| changes.partials()));
            recorded.push(self.update(compiler, dispatch, Stage::Step, table, sums)?);
        }
        Ok(recorded)
    }

    /// A dispatch of a rule's kernel; `sums` is bound after the states.
    fn update<'b>(
        &'b self,
        compiler: &mut Compiler,
        dispatch: &Dispatch,
        stage: Stage,
        table: wgpu::BufferBinding<'b>,
        sums: impl IntoIterator<Item = wgpu::BufferBinding<'b>>,
    ) -> Result<Recorded, Error> {
        let kernel = dispatch.kernel;
        let rule = self.kernels.rule(self.groups, kernel);
        let step = stage == Stage::Step;
        let extras = Extras {
            clamps: self.control.clip_value.is_some(),
            skips: step && self.control.scaler.is_some(),
            zeroes: step && self.control.zero_grad,
            watches: step && self.control.statistics,
        };
        let access = compiler.best(dispatch.access);
        let variant = Variant { stage, access, shared: dispatch.shared(), extras };
        let key = Key::Rule(kernel, self.pages.kernels[kernel].entries, variant);
        let [params, grads, states] = dispatch.windows;
        let array = StateOf::default();
        let mut buffers = vec![table, self.window(params, array), self.window(grads, array)];
        let of = |state| self.window(states, StateOf { kernel, state });
        buffers.extend((0..self.buffers.states(kernel)).map(of));
        buffers.extend(sums);
        let page = Bound::Page(self.pages.first_page(kernel) + dispatch.page);
        compiler.ready(key, Some(rule), buffers, page, dispatch.grid)
    }

    fn window(&self, window: Window, of: StateOf) -> wgpu::BufferBinding<'_> {
        wgpu::BufferBinding {
            buffer: self.buffers.get(window.buffer, of),
            offset: window.offset,
            size: wgpu::BufferSize::new(window.size),
        }
    }

    /// Room for partial sums of the blocks of these dispatches.
    fn summed(
        &self,
        compiler: &Compiler,
        scratch: &mut Scratch,
        name: &str,
        dispatches: &[Dispatch],
    ) -> Result<Summed, Error> {
        let reduction = Reduction::new(dispatches);
        let limits = self.limits;
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let reason = format!("{name} take {SUMS_BYTES} bytes for every 256 elements");
        need("max_storage_buffer_binding_size", most, reduction.partials * SUMS_BYTES, reason)?;
        let rows = reduction.levels.iter().map(Vec::len).max().unwrap_or(0) as u64;
        let side = limits.max_compute_workgroups_per_dimension;
        let reason = "partial sums of so many tensors are added up".to_owned();
        need("max_compute_workgroups_per_dimension", side * side, rows, reason)?;

        let of_dispatch = dispatches.iter().map(|dispatch| reduction.tensors(dispatch));
        let tables = of_dispatch.chain(reduction.levels.iter().cloned());
        let tables = Tables::new(&compiler.device, tables);
        let entries = reduction.levels.iter().map(|rows| rows.len() as u64);
        let counts = [reduction.partials].into_iter().chain(entries);
        let buffers = counts
            .enumerate()
            .map(|(level, count)| {
                scratch.buffer(&compiler.device, name, level, count.max(1) * SUMS_BYTES)
            })
            .collect();
        Ok(Summed { tables, dispatches: dispatches.len(), buffers, reduction })
    }
}

impl Summed {
    fn partials(&self) -> wgpu::BufferBinding<'_> {
        self.buffers[0].as_entire_buffer_binding()
    }

    fn totals(&self) -> wgpu::Buffer {
        self.buffers[self.buffers.len() - 1].clone()
    }

    fn totals_binding(&self) -> wgpu::BufferBinding<'_> {
        self.buffers[self.buffers.len() - 1].as_entire_buffer_binding()
    }

    /// The dispatches that add up the partial sums, a level each.
    fn sums(
        &self,
        compiler: &mut Compiler,
        limits: &Limits,
        sums: Sums,
    ) -> Result<Vec<Recorded>, Error> {
        let sum = |(level, rows): (usize, &Vec<[u32; 2]>)| {
            let buffers = [
                self.tables.binding(self.dispatches + level),
                self.buffers[level].as_entire_buffer_binding(),
                self.buffers[level + 1].as_entire_buffer_binding(),
            ];
            let grid = limits.grid(rows.len() as u64);
            compiler.ready(Key::Sum(sums), None, buffers, Bound::Nothing, grid)
        };
        let levels = self.reduction.levels.iter().enumerate();
        levels.filter(|(_, rows)| !rows.is_empty()).map(sum).collect()
    }
}
