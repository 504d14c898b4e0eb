//! The commands of a step: its phases, with pipelines and bind groups.

use crate::control::Control;
use crate::error::Error;
use crate::gpu::blocks::{Beside, Blocks};
use crate::gpu::buffers::{Buffers, StateOf};
use crate::gpu::compile::{Compiler, Operands, Recorded};
use crate::gpu::decision::Decision;
use crate::gpu::ring::Slot;
use crate::gpu::scratch::Scratch;
use crate::gpu::tables::Tables;
use crate::gpu::uploads::{Bound, Uploads};
use crate::gpu::zeroing::Zeroing;
use crate::layout::geometry::{Exchange, NARROW_THREADS, THREADS_PER_BLOCK};
use crate::layout::kernels::Kernels;
use crate::layout::limits::need;
use crate::layout::pages::Pages;
use crate::layout::phases::{Asked, Phase, Summed, Work, phases};
use crate::layout::plan::{Dispatch, Window};
use crate::layout::sums::{Level, Reduction};
use crate::model::{Codec, Formats, Model};
use crate::rule::{DynRule, Pass};
use crate::shader::{CHANGED_SUMS, Extras, Fixed, Resource, RuleKernel, SumOf, update_exchange};
use std::collections::BTreeMap;

/// What the commands are made of.
pub(super) struct Inputs<'a> {
    pub model: &'a Model,
    pub kernels: &'a Kernels,
    pub pages: &'a Pages,
    pub buffers: &'a Buffers,
    pub control: &'a Control,
    pub dispatches: &'a [Dispatch],
    /// Those that zero the gradients of frozen parameters.
    pub zeroed: &'a [Dispatch],
    /// Where the GPU decides: the coefficients that it computes, and what else it keeps.
    pub decision: Option<(&'a wgpu::Buffer, &'a Decision)>,
}

/// A step, ready to be recorded, and what statistics read after it.
#[derive(Debug)]
pub(super) struct Commands {
    pub recorded: Vec<Recorded>,
    /// What is recorded before them until a step is known to have run: what writes tables, and what
    /// copies step counts to a larger buffer.
    pub first: Vec<Recorded>,
    pub statistics: Option<Totals>,
    /// Which block is whose, where gradients are measured.
    pub measured: Option<Reduction>,
}

impl Commands {
    /// Records the dispatches; also what is to be first, unless it is known to have run.
    pub fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        uploads: &Uploads,
        slot: &Slot,
        first_is_done: bool,
    ) {
        let first = if first_is_done { &[] } else { &self.first[..] };
        let mut last = None;
        for dispatch in first.iter().chain(&self.recorded) {
            dispatch.record(pass, uploads, slot, last);
            last = Some(dispatch);
        }
    }
}

/// What statistics are read from: an entry for each parameter that takes part.
#[derive(Debug)]
pub(super) struct Totals {
    pub measures: wgpu::Buffer,
    pub changes: wgpu::Buffer,
}

/// Partial sums of blocks, then each level's; the last has the tensors'.
struct Sums {
    of: SumOf,
    levels: Vec<wgpu::Buffer>,
}

/// How partial sums are added up, and each level's rows and runs.
struct Levels {
    reduction: Reduction,
    rows: Tables,
    runs: Tables,
}

/// Room for what the kernels of most rules bind.
const MOST_OPERANDS: usize = 8;

/// Makes commands, phase by phase.
struct CommandBuilder<'a> {
    inputs: &'a Inputs<'a>,
    compiler: &'a mut Compiler,
    scratch: &'a mut Scratch,
    blocks: Blocks,
    levels: Option<Levels>,
    sums: BTreeMap<Summed, Sums>,
}

impl Inputs<'_> {
    /// Creates tables and bind groups. To be called within an error scope.
    pub fn commands(
        &self,
        compiler: &mut Compiler,
        scratch: &mut Scratch,
    ) -> Result<Commands, Error> {
        let passes = |kernel| self.rule(kernel).passes();
        let sums = |kernel: usize| passes(kernel).iter().any(|pass| *pass != Pass::Update);
        let decides = self.decision.is_some();
        // By kernels and classes, whatever is frozen or in another part: by what there was at
        // `build` it was chosen what writes the tables, and compiled.
        let needs_sums = decides || (0..self.kernels.len()).any(sums);
        let by_chance = self.kernels.classes().any(|(_, class)| class.formats.by_chance());
        let reduction = needs_sums.then(|| Reduction::new(self.dispatches));
        let key = |param: usize| self.model.params[param].noise_key;
        let beside = Beside { reduction: reduction.as_ref(), origins: by_chance };
        let blocks = Blocks::new(compiler, self.dispatches, beside, key)?;
        let levels = reduction.map(|reduction| {
            let tables = |of: fn(&Level) -> &[[u32; 2]]| {
                let tables: Vec<_> = reduction.levels.iter().map(of).collect();
                Tables::new(&compiler.device, &tables)
            };
            let (rows, runs) = (tables(|level| &level.rows), tables(|level| &level.runs));
            Levels { reduction, rows, runs }
        });
        let count = levels.as_ref().map_or(0, |levels| levels.reduction.levels.len());
        let asked = Asked { decides, statistics: self.control.statistics };
        let phases = phases(self.dispatches, passes, asked, count);

        let sums = BTreeMap::new();
        let mut builder = CommandBuilder { inputs: self, compiler, scratch, blocks, levels, sums };
        let mut recorded = Vec::new();
        for phase in &phases {
            builder.phase(phase, &mut recorded)?;
        }
        let first = builder.first()?;
        let mut commands = builder.finish(first, recorded);
        let zeroing = Zeroing::new(self.zeroed, self.buffers, compiler)?;
        commands.first.extend(zeroing.writes);
        commands.recorded.extend(zeroing.recorded);
        Ok(commands)
    }

    fn rule(&self, kernel: usize) -> &dyn DynRule {
        self.kernels.rule(self.model, kernel)
    }
}

impl CommandBuilder<'_> {
    /// What the first step that runs does before all else.
    fn first(&mut self) -> Result<Vec<Recorded>, Error> {
        let mut first = std::mem::take(&mut self.blocks.writes);
        let Some((_, decision)) = self.inputs.decision else { return Ok(first) };
        let key = self.compiler.fixed(Fixed::Grow)?;
        for [from, to] in decision.grown() {
            let operands = vec![(Resource::Outgrown, whole(from)), (Resource::Counts, whole(to))];
            first.push(self.compiler.ready(key, &operands, Bound::Nothing, [1, 1])?);
        }
        Ok(first)
    }

    /// Appends the dispatches of a phase.
    fn phase(&mut self, phase: &Phase, recorded: &mut Vec<Recorded>) -> Result<(), Error> {
        match phase.work {
            Work::Measure => {
                self.make_sums(Summed::Measures)?;
                for index in phase.dispatches.clone() {
                    recorded.push(self.measure(index)?);
                }
            }
            Work::Gather => recorded.push(self.gather()?),
            Work::Decide => recorded.push(self.decide()?),
            Work::Pass(pass) => {
                for index in phase.dispatches.clone() {
                    recorded.push(self.rule_pass(pass, index)?);
                }
            }
            Work::AddUp(summed, level) => recorded.extend(self.add_up(summed, level)?),
        }
        Ok(())
    }

    fn measure(&mut self, index: usize) -> Result<Recorded, Error> {
        let dispatch = &self.inputs.dispatches[index];
        let codec = dispatch.formats.grad;
        let key = self.compiler.fixed(self.compiler.measure(dispatch.transport, codec))?;
        let mut operands = self.block_operands(index);
        let grads = self.window(dispatch.windows[1], StateOf::default(), codec)?;
        operands.push((Resource::Grads, grads));
        operands.push((Resource::Partials, self.partials(Summed::Measures)?));
        let threads = Exchange::threads_to_measure(self.compiler.measuring);
        let grid = dispatch.grid(threads, &self.compiler.limits);
        self.compiler.ready(key, &operands, Bound::Nothing, grid)
    }

    /// The entries that all measures are gathered to.
    fn gathered(&mut self) -> Result<(wgpu::Buffer, u32), Error> {
        let entry = SumOf::Measures.bytes();
        let count = Decision::gathered(self.sums(Summed::Measures)?.levels[0].size() / entry);
        let buffer = self.scratch.buffer(&self.compiler.device, "gathered", 0, count * entry);
        Ok((buffer, count as u32))
    }

    fn gather(&mut self) -> Result<Recorded, Error> {
        let key = self.compiler.fixed(Fixed::Gather)?;
        let (gathered, count) = self.gathered()?;
        let operands = vec![
            (Resource::Parts, self.partials(Summed::Measures)?),
            (Resource::Sums, gathered.as_entire_buffer_binding()),
        ];
        self.compiler.ready(key, &operands, Bound::Nothing, [count, 1])
    }

    fn decide(&mut self) -> Result<Recorded, Error> {
        let key = self.compiler.fixed(Fixed::Decide)?;
        let (gathered, _) = self.gathered()?;
        let (coeffs, decision) = self.inputs.decision.ok_or_else(|| missing("a decision"))?;
        let operands = [
            (Resource::Gathered, &gathered),
            (Resource::LossScale, &decision.scale),
            (Resource::Report, &decision.report),
            (Resource::Counts, &decision.counts),
            (Resource::Coeffs, coeffs),
        ];
        let operands = operands.map(|(resource, buffer)| (resource, whole(buffer))).to_vec();
        self.compiler.ready(key, &operands, Bound::Request, [1, 1])
    }

    /// A dispatch of one of a rule's passes.
    fn rule_pass(&mut self, pass: Pass, index: usize) -> Result<Recorded, Error> {
        let Inputs { dispatches, pages, control, .. } = *self.inputs;
        let dispatch = &dispatches[index];
        let kernel = dispatch.kernel;
        let slots = pages.kernels[kernel].slots;
        let transport = self.compiler.best(dispatch.transport);
        let (exchange, formats) = (self.compiler.exchange, dispatch.formats);
        let sums = match pass {
            Pass::Update => control.statistics.then_some(Summed::Changes),
            pass => Some(Summed::Rule(kernel, pass)),
        };
        sums.map_or(Ok(()), |summed| self.make_sums(summed))?;
        let of_rule = match pass {
            Pass::Update => {
                let (sharing, extras) = (dispatch.sharing(), Extras::of(control, exchange));
                let narrow = dispatch.narrow && sums.is_none();
                RuleKernel::Update { transport, slots, sharing, extras, formats, narrow }
            }
            pass => {
                let clamp = control.clip_value.is_some();
                RuleKernel::Sum { pass, transport, slots, clamp, exchange, formats }
            }
        };
        let key = self.compiler.rule(kernel, of_rule, self.inputs.rule(kernel))?;
        let mut operands = self.array_operands(index)?;
        if let Some(summed) = sums {
            operands.push((Resource::Partials, self.partials(summed)?));
        }
        for before in self.inputs.rule(kernel).passes().into_iter().take_while(|of| *of != pass) {
            let totals = self.sums(Summed::Rule(kernel, before))?.totals()?;
            operands.push((Resource::Totals(before), totals.as_entire_buffer_binding()));
        }
        let page = Bound::Page(pages.first_page(kernel) + dispatch.page);
        let exchange = match pass {
            Pass::Update => update_exchange(&formats, exchange),
            _ => exchange,
        };
        let threads = match (sums, dispatch.narrow) {
            (Some(_), _) => exchange.threads_to_sum(),
            (None, true) => NARROW_THREADS,
            (None, false) => THREADS_PER_BLOCK,
        };
        let grid = dispatch.grid(threads, &self.compiler.limits);
        self.compiler.ready(key, &operands, page, grid)
    }

    /// The tables of a dispatch's blocks.
    fn block_operands(&self, index: usize) -> Operands<'_> {
        let mut operands = Vec::with_capacity(MOST_OPERANDS);
        operands.push((Resource::Table, self.blocks.rows(index)));
        operands.extend(self.blocks.tensors(index).map(|tensors| (Resource::Tensors, tensors)));
        operands.extend(self.blocks.origins(index).map(|origins| (Resource::Origins, origins)));
        operands
    }

    /// The tables of a dispatch's blocks, and its parameters, gradients and states.
    fn array_operands(&self, index: usize) -> Result<Operands<'_>, Error> {
        let dispatch = &self.inputs.dispatches[index];
        let [params, grads, states] = dispatch.windows;
        let mut operands = self.block_operands(index);
        let Formats { param, grad, states: codecs, .. } = dispatch.formats;
        operands.push((Resource::Params, self.window(params, StateOf::default(), param)?));
        operands.push((Resource::Grads, self.window(grads, StateOf::default(), grad)?));
        for (state, &codec) in codecs.as_slice().iter().enumerate() {
            let of = StateOf { class: dispatch.class, state };
            operands.push((Resource::State(state), self.window(states, of, codec)?));
        }
        Ok(operands)
    }

    fn window(
        &self,
        window: Window,
        of: StateOf,
        codec: Codec,
    ) -> Result<wgpu::BufferBinding<'_>, Error> {
        self.inputs.buffers.window(window, of, codec).ok_or_else(|| missing("a buffer"))
    }

    /// Room for partial sums of all blocks, and for what they add up to.
    fn make_sums(&mut self, summed: Summed) -> Result<(), Error> {
        if self.sums.contains_key(&summed) {
            return Ok(());
        }
        let (name, of) = match summed {
            Summed::Measures => ("measures".into(), SumOf::Measures),
            Summed::Rule(kernel, pass) => {
                let sums = self.inputs.rule(kernel).sums_of(pass).len();
                (format!("{pass:?} {kernel}"), SumOf::Sums(sums))
            }
            Summed::Changes => ("changes".into(), SumOf::Sums(CHANGED_SUMS)),
        };
        let reduction = &self.levels.as_ref().ok_or_else(|| missing("sums"))?.reduction;
        let limits = self.compiler.limits;
        let reason = format!("{name} take {} bytes for every 256 elements", of.bytes());
        let needed = reduction.partials * of.bytes();
        need("max_storage_buffer_binding_size", limits.bound_buffer(), needed, reason)?;
        let workgroups = reduction.levels.iter().map(|level| level.runs.len() as u64).max();
        let side = limits.max_compute_workgroups_per_dimension;
        let reason = "partial sums of so many tensors are added up".to_owned();
        let needed = workgroups.unwrap_or(0);
        need("max_compute_workgroups_per_dimension", side * side, needed, reason)?;

        let entries = reduction.levels.iter().map(|level| level.rows.len() as u64);
        let counts = std::iter::once(reduction.partials).chain(entries);
        // Where nothing takes part no kernel writes an entry: a buffer of its own stays 0.
        let none = format!("no {name}");
        let buffer = |(level, count): (usize, u64)| {
            let name = if count == 0 { &none } else { &name };
            self.scratch.buffer(&self.compiler.device, name, level, count.max(1) * of.bytes())
        };
        let levels = counts.enumerate().map(buffer).collect();
        self.sums.insert(summed, Sums { of, levels });
        Ok(())
    }

    fn sums(&self, summed: Summed) -> Result<&Sums, Error> {
        self.sums.get(&summed).ok_or_else(|| missing("partial sums"))
    }

    fn partials(&self, summed: Summed) -> Result<wgpu::BufferBinding<'_>, Error> {
        Ok(self.sums(summed)?.levels[0].as_entire_buffer_binding())
    }

    /// The dispatch that adds up one level of partial sums, if there are any.
    fn add_up(&mut self, summed: Summed, level: usize) -> Result<Option<Recorded>, Error> {
        self.make_sums(summed)?;
        let of = self.sums(summed)?.of;
        let key = self.compiler.fixed(Fixed::AddUp(of))?;
        let levels = self.levels.as_ref().ok_or_else(|| missing("sums"))?;
        let workgroups = levels.reduction.levels[level].runs.len() as u64;
        if workgroups == 0 {
            return Ok(None);
        }
        let buffers = &self.sums(summed)?.levels;
        let operands = vec![
            (Resource::Rows, levels.rows.binding(level)),
            (Resource::Runs, levels.runs.binding(level)),
            (Resource::Parts, buffers[level].as_entire_buffer_binding()),
            (Resource::Sums, buffers[level + 1].as_entire_buffer_binding()),
        ];
        let grid = self.compiler.limits.grid(workgroups);
        self.compiler.ready(key, &operands, Bound::Nothing, grid).map(Some)
    }

    fn finish(self, first: Vec<Recorded>, recorded: Vec<Recorded>) -> Commands {
        let totals = |summed| self.sums.get(&summed)?.totals().ok().cloned();
        let statistics = match (totals(Summed::Measures), totals(Summed::Changes)) {
            (Some(measures), Some(changes)) => Some(Totals { measures, changes }),
            _ => None,
        };
        let decides = self.inputs.decision.is_some();
        let measured = self.levels.filter(|_| decides).map(|levels| levels.reduction);
        Commands { recorded, first, statistics, measured }
    }
}

impl Sums {
    /// The entries of the last level, a tensor each.
    fn totals(&self) -> Result<&wgpu::Buffer, Error> {
        self.levels.last().ok_or_else(|| missing("sums"))
    }
}

impl Extras {
    /// What an optimizer's update kernels do beside updating.
    pub(super) fn of(control: &Control, exchange: Exchange) -> Self {
        Self {
            clamp: control.clip_value.is_some(),
            skip: control.skips(),
            zero_grad: control.zero_grad,
            statistics: control.statistics.then_some(exchange),
        }
    }
}

fn whole(buffer: &wgpu::Buffer) -> wgpu::BufferBinding<'_> {
    buffer.as_entire_buffer_binding()
}

/// A phase needs what no phase before it made: a mistake of this crate's.
fn missing(what: &str) -> Error {
    Error::device("preparing a step", format!("{what} is missing; please report this"))
}
