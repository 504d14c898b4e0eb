//! The commands of a step, in order: norms where a rule takes them, then updates.

use super::kernel::{Compiler, Recorded};
use super::tables::Tables;
use crate::dyn_rule::DynRule;
use crate::error::Error;
use crate::plan::{Dispatch, Limits, need};
use crate::reduction::Reduction;
use crate::shader::{NORMS_BYTES, Stage};

/// Creates tables, pipelines and bind groups of all dispatches, which come kernel by kernel. `kernel` gives
/// a kernel's rule and its number of groups. To be called within an error scope.
pub(super) fn record_all<'a>(
    mut compiler: Compiler<'_>,
    limits: &Limits,
    dispatches: &[Dispatch],
    kernel: impl Fn(usize) -> (&'a dyn DynRule, usize),
) -> Result<Vec<Recorded>, Error> {
    let mut recorded = Vec::new();
    for dispatches in dispatches.chunk_by(|a, b| a.kernel == b.kernel) {
        let (rule, groups) = kernel(dispatches[0].kernel);
        let blocks = Tables::new(compiler.device, dispatches.iter().map(Dispatch::table));
        let trust = match rule.trust_ratio() {
            Some(_) => Some(Trust::new(compiler.device, limits, rule, dispatches)?),
            None => None,
        };
        let stages: &[Stage] =
            if trust.is_some() { &[Stage::Norm, Stage::Step] } else { &[Stage::Step] };
        for &stage in stages {
            for (index, dispatch) in dispatches.iter().enumerate() {
                let table = blocks.binding(index);
                let extra = trust.as_ref().map(|trust| trust.bindings(index, stage));
                recorded.push(compiler.ready(dispatch, stage, rule, groups, table, extra)?);
            }
            if let (Stage::Norm, Some(trust)) = (stage, &trust) {
                recorded.extend(trust.sums(&mut compiler, limits)?);
            }
        }
    }
    Ok(recorded)
}

/// What a kernel with trust ratios has beside its arrays.
struct Trust {
    reduction: Reduction,
    /// Of each dispatch the places of its blocks, then of each level its rows.
    tables: Tables,
    /// Partial norms, then each level's.
    norms: Vec<wgpu::Buffer>,
}

impl Trust {
    fn new(
        device: &wgpu::Device,
        limits: &Limits,
        rule: &dyn DynRule,
        dispatches: &[Dispatch],
    ) -> Result<Self, Error> {
        let reduction = Reduction::new(dispatches);
        let bytes = reduction.partials * NORMS_BYTES;
        let reason = || format!("{} keeps {NORMS_BYTES} bytes for every 256 elements", rule.name());
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        need("max_storage_buffer_binding_size", most, bytes, reason())?;
        let rows = reduction.levels.iter().map(Vec::len).max().unwrap_or(0) as u64;
        let side = limits.max_compute_workgroups_per_dimension;
        let reason = format!("{} adds up the norms of so many tensors", rule.name());
        need("max_compute_workgroups_per_dimension", side * side, rows, reason)?;

        let tables = reduction.tensors.iter().chain(&reduction.levels).cloned();
        let entries = reduction.levels.iter().map(|rows| rows.len() as u64);
        let norms = [reduction.partials].into_iter().chain(entries).map(|count| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("wgpu-optim norms"),
                size: count * NORMS_BYTES,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        });
        Ok(Self { tables: Tables::new(device, tables), norms: norms.collect(), reduction })
    }

    /// What a dispatch binds after its states: its blocks' places, and the norms it writes or reads.
    fn bindings(&self, dispatch: usize, stage: Stage) -> [wgpu::BufferBinding<'_>; 2] {
        let norms = match stage {
            Stage::Norm => &self.norms[0],
            Stage::Step => &self.norms[self.norms.len() - 1],
        };
        [self.tables.binding(dispatch), norms.as_entire_buffer_binding()]
    }

    /// The dispatches that add up the partial norms, a level each.
    fn sums(&self, compiler: &mut Compiler<'_>, limits: &Limits) -> Result<Vec<Recorded>, Error> {
        let first = self.reduction.tensors.len();
        let sum = |(level, rows): (usize, &Vec<[u32; 2]>)| {
            let buffers = [
                self.tables.binding(first + level),
                self.norms[level].as_entire_buffer_binding(),
                self.norms[level + 1].as_entire_buffer_binding(),
            ];
            compiler.sum(buffers, limits.grid(rows.len() as u64))
        };
        self.reduction.levels.iter().enumerate().map(sum).collect()
    }
}
