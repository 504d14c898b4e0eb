//! The commands of a step, in order: what the GPU decides first, norms where a rule takes them, updates,
//! and what is summed up for statistics.

use super::blocks::Blocks;
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
use std::ops::Range;

/// What the commands are made of.
pub(super) struct Recipe<'a> {
    pub queue: &'a wgpu::Queue,
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

/// How partial sums of blocks are added up to one a tensor.
struct Levels {
    reduction: Reduction,
    /// Of each level its rows.
    rows: Tables,
}

/// Partial sums of blocks, then each level's; the last has the tensors'.
struct Summed(Vec<wgpu::Buffer>);

/// The tables of blocks, and how what is summed up for them is added up, if something is.
struct Tabled {
    blocks: Blocks,
    levels: Option<Levels>,
}

impl Recipe<'_> {
    /// Creates tables, pipelines and bind groups. To be called within an error scope.
    pub fn commands(
        &self,
        compiler: &mut Compiler,
        scratch: &mut Scratch,
    ) -> Result<Commands, Error> {
        let tabled = self.tabled(compiler)?;
        let levels = tabled.levels.as_ref();
        let mut recorded = Vec::new();
        let measured = match (self.decision, levels) {
            (Some((coeffs, decision)), Some(levels)) => {
                let measured = self.summed(compiler, scratch, "measures", levels)?;
                recorded
                    .extend(self.decide(compiler, scratch, &tabled, &measured, coeffs, decision)?);
                Some(measured)
            }
            _ => None,
        };
        let watched = match (&measured, levels) {
            (Some(measured), Some(levels)) if self.control.statistics => {
                let changes = self.summed(compiler, scratch, "changes", levels)?;
                recorded.extend(self.sums(compiler, levels, measured, Sums::Measures)?);
                Some((measured.totals().clone(), changes))
            }
            _ => None,
        };
        let changes = watched.as_ref().map(|(_, changes)| changes);
        let mut first = 0;
        for dispatches in self.dispatches.chunk_by(|a, b| a.kernel == b.kernel) {
            let range = first..first + dispatches.len();
            first = range.end;
            recorded.extend(self.updates(compiler, scratch, &tabled, range, changes)?);
        }
        if let (Some(changes), Some(levels)) = (changes, levels) {
            recorded.extend(self.sums(compiler, levels, changes, Sums::Norms)?);
        }
        let watched = watched
            .map(|(measures, changes)| Watched { measures, changes: changes.totals().clone() });
        let blocks = tabled.levels.filter(|_| measured.is_some()).map(|levels| levels.reduction);
        Ok(Commands { recorded, watched, blocks })
    }

    /// The tables of blocks. All blocks are counted together, so that whatever is summed up for them is added
    /// up alike.
    fn tabled(&self, compiler: &mut Compiler) -> Result<Tabled, Error> {
        let trusts = |dispatch: &Dispatch| {
            self.kernels.rule(self.groups, dispatch.kernel).trust_ratio().is_some()
        };
        let sums = self.decision.is_some() || self.dispatches.iter().any(trusts);
        let levels = sums.then(|| {
            let reduction = Reduction::new(self.dispatches);
            let rows = Tables::new(&compiler.device, &reduction.levels);
            Levels { reduction, rows }
        });
        let reduction = levels.as_ref().map(|levels| &levels.reduction);
        let blocks = Blocks::new(compiler, self.queue, self.limits, self.dispatches, reduction)?;
        Ok(Tabled { blocks, levels })
    }

    /// Measures all gradients and decides on the step.
    fn decide(
        &self,
        compiler: &mut Compiler,
        scratch: &mut Scratch,
        tabled: &Tabled,
        measured: &Summed,
        coeffs: &wgpu::Buffer,
        decision: &Decision,
    ) -> Result<Vec<Recorded>, Error> {
        let mut recorded = Vec::new();
        for (index, dispatch) in self.dispatches.iter().enumerate() {
            let rows = tabled.blocks.rows(index);
            let grads = self.window(dispatch.windows[1], StateOf::default());
            let tensors = tabled.blocks.tensors(index);
            let buffers =
                [rows, grads].into_iter().chain(tensors).chain([measured.partials_binding()]);
            let key = Key::Measure(compiler.best(dispatch.access));
            let workgroups = dispatch.blocks().div_ceil(BLOCKS_MEASURED_PER_WORKGROUP);
            let grid = self.limits.grid(workgroups);
            recorded.push(compiler.ready(key, None, buffers, Bound::Nothing, grid)?);
        }
        let count = Decision::gathered(measured.partials().size() / SUMS_BYTES);
        let gathered = scratch.buffer(&compiler.device, "gathered", 0, count * SUMS_BYTES);
        let parts = [measured.partials(), &gathered].map(wgpu::Buffer::as_entire_buffer_binding);
        let grid = [count as u32, 1];
        recorded.push(compiler.ready(Key::Gather, None, parts, Bound::Nothing, grid)?);
        let buffers = [&gathered, &decision.scale, &decision.report, &decision.clocks, coeffs];
        let buffers = buffers.map(wgpu::Buffer::as_entire_buffer_binding);
        recorded.push(compiler.ready(Key::Control, None, buffers, Bound::Request, [1, 1])?);
        Ok(recorded)
    }

    /// The updates of one kernel, which has these dispatches; before them the norms that a trust ratio takes.
    fn updates(
        &self,
        compiler: &mut Compiler,
        scratch: &mut Scratch,
        tabled: &Tabled,
        dispatches: Range<usize>,
        changes: Option<&Summed>,
    ) -> Result<Vec<Recorded>, Error> {
        let kernel = self.dispatches[dispatches.start].kernel;
        let rule = self.kernels.rule(self.groups, kernel);
        let mut recorded = Vec::new();
        let norms = match (rule.trust_ratio(), &tabled.levels) {
            (Some(_), Some(levels)) => {
                let norms = self.summed(compiler, scratch, &format!("norms {kernel}"), levels)?;
                for index in dispatches.clone() {
                    let sums = [norms.partials_binding()];
                    recorded.push(self.update(compiler, tabled, index, Stage::Norm, sums)?);
                }
                recorded.extend(self.sums(compiler, levels, &norms, Sums::Norms)?);
                Some(norms)
            }
            _ => None,
        };
        for index in dispatches {
            let norms = norms.iter().map(|norms| norms.totals().as_entire_buffer_binding());
            let sums = norms.chain(changes.map(Summed::partials_binding));
            recorded.push(self.update(compiler, tabled, index, Stage::Step, sums)?);
        }
        Ok(recorded)
    }

    /// A dispatch of a rule's kernel; `sums`, if there are any, are bound last.
    fn update<'b>(
        &'b self,
        compiler: &mut Compiler,
        tabled: &'b Tabled,
        index: usize,
        stage: Stage,
        sums: impl IntoIterator<Item = wgpu::BufferBinding<'b>>,
    ) -> Result<Recorded, Error> {
        let dispatch = &self.dispatches[index];
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
        let rows = tabled.blocks.rows(index);
        let mut buffers = vec![rows, self.window(params, array), self.window(grads, array)];
        let of = |state| self.window(states, StateOf { kernel, state });
        buffers.extend((0..self.buffers.states(kernel)).map(of));
        let mut sums = sums.into_iter().peekable();
        if sums.peek().is_some() {
            buffers.extend(tabled.blocks.tensors(index));
        }
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

    /// Room for partial sums of all blocks.
    fn summed(
        &self,
        compiler: &Compiler,
        scratch: &mut Scratch,
        name: &str,
        levels: &Levels,
    ) -> Result<Summed, Error> {
        let Reduction { partials, levels, .. } = &levels.reduction;
        let limits = self.limits;
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let reason = format!("{name} take {SUMS_BYTES} bytes for every 256 elements");
        need("max_storage_buffer_binding_size", most, partials * SUMS_BYTES, reason)?;
        let rows = levels.iter().map(Vec::len).max().unwrap_or(0) as u64;
        let side = limits.max_compute_workgroups_per_dimension;
        let reason = "partial sums of so many tensors are added up".to_owned();
        need("max_compute_workgroups_per_dimension", side * side, rows, reason)?;

        let entries = levels.iter().map(|rows| rows.len() as u64);
        let counts = [*partials].into_iter().chain(entries);
        let buffer = |(level, count): (usize, u64)| {
            scratch.buffer(&compiler.device, name, level, count.max(1) * SUMS_BYTES)
        };
        Ok(Summed(counts.enumerate().map(buffer).collect()))
    }

    /// The dispatches that add up partial sums, a level each.
    fn sums(
        &self,
        compiler: &mut Compiler,
        levels: &Levels,
        Summed(buffers): &Summed,
        sums: Sums,
    ) -> Result<Vec<Recorded>, Error> {
        let sum = |(level, rows): (usize, &Vec<[u32; 2]>)| {
            let buffers = [
                levels.rows.binding(level),
                buffers[level].as_entire_buffer_binding(),
                buffers[level + 1].as_entire_buffer_binding(),
            ];
            let grid = self.limits.grid(rows.len() as u64);
            compiler.ready(Key::Sum(sums), None, buffers, Bound::Nothing, grid)
        };
        let rows = levels.reduction.levels.iter().enumerate();
        rows.filter(|(_, rows)| !rows.is_empty()).map(sum).collect()
    }
}

impl Summed {
    fn partials(&self) -> &wgpu::Buffer {
        &self.0[0]
    }

    fn partials_binding(&self) -> wgpu::BufferBinding<'_> {
        self.partials().as_entire_buffer_binding()
    }

    fn totals(&self) -> &wgpu::Buffer {
        &self.0[self.0.len() - 1]
    }
}
