//! Arrays as they are stored, for checkpoints.

use crate::control::{Report, Scale, StepSource};
use crate::error::Error;
use crate::gpu::buffers::Part;
use crate::gpu::engine::Gpu;
use crate::gpu::guard::{check_usage, failed, guarded};
use crate::gpu::readback::{Readback, words_of};
use crate::gpu::write::{check_write, write};
use crate::layout::formats::WORD_BYTES;
use crate::layout::placement::Span;
use crate::layout::words::Words;
use crate::model::{Model, Origin};
use crate::optimizer::Array;
use crate::optimizer::{ArrayRange, Fetched, Head, Transfer};
use std::borrow::Cow;
use std::sync::Arc;

const DURING: &str = "moving a checkpoint";

#[cfg(not(target_arch = "wasm32"))]
impl crate::optimizer::Wait for Readback<Fetched> {
    fn wait(self) -> Result<Fetched, Error> {
        Self::wait(self)
    }
}

impl Gpu {
    /// The parts of a range, each cut to it.
    fn parts_of(&self, model: &Model, range: &ArrayRange) -> Result<Vec<Part<'_>>, Error> {
        let parts = self.parts(model, range.param, range.array)?.into_iter();
        Ok(parts.filter_map(|part| part.cut(&range.elements)).collect())
    }
}

impl Transfer for Gpu {
    type Fetch = Readback<Fetched>;

    fn fetch(
        &self,
        model: &Model,
        ranges: &[ArrayRange],
        with_head: bool,
    ) -> Result<Self::Fetch, Error> {
        let decision = self.decision.iter().filter(|_| with_head);
        let mut kept: Vec<_> = decision
            .flat_map(|decision| std::iter::once(&decision.report).chain(decision.counted()))
            .collect();
        let nothing;
        if with_head && kept.is_empty() {
            // Something must be waited for, to know whether all recorded steps have run.
            nothing = guarded(&self.device, DURING, || small_buffer(&self.device))?;
            kept.push(&nothing);
        }
        let kept: Vec<_> = kept.into_iter().map(|buffer| (buffer, 0, buffer.size())).collect();
        let mut parts = Vec::new();
        for range in ranges {
            let of_range = self.parts_of(model, range)?;
            let name = model.name(range.param);
            for part in &of_range {
                check_usage(name, part.buffer, wgpu::BufferUsages::COPY_SRC)?;
            }
            parts.extend(of_range);
        }
        let first = kept.len();
        let sources: Vec<_> = kept.into_iter().chain(parts.iter().map(Part::source)).collect();
        let stored: Vec<_> = parts.iter().map(Part::stored).collect();
        let head = with_head.then(|| self.head(model));
        let unfinished = Arc::downgrade(&self.unfinished);
        Readback::start(&self.device, &self.queue, &sources, move |read| {
            let (kept, arrays) = read.split_at(first);
            let mut bytes = Vec::with_capacity(arrays.iter().map(|bytes| bytes.len()).sum());
            for (stored, words) in stored.iter().zip(arrays) {
                bytes.extend_from_slice(stored.bytes(words));
            }
            // One is the engine's own.
            let is_behind = unfinished.strong_count() > 1;
            Fetched { bytes, head: head.as_ref().map(|head| head(kept)), is_behind }
        })
    }

    fn check_put(&self, model: &Model, param: usize, array: Array) -> Result<(), Error> {
        let parts = self.parts(model, param, array)?;
        parts.iter().try_for_each(|part| check_write(model.name(param), part))
    }

    fn put(&mut self, model: &Model, range: &ArrayRange, bytes: &[u8]) -> Result<(), Error> {
        let parts = self.parts_of(model, range)?;
        let name = model.name(range.param);
        let of_part = |part: &Part<'_>| {
            let Span { first, len, .. } = part.span;
            let [from, to] = [first, first + len]
                .map(|at| part.codec.bytes(at) - part.codec.bytes(range.elements.start));
            let own = &bytes[from as usize..to as usize];
            if own.len().is_multiple_of(WORD_BYTES as usize) {
                return Cow::Borrowed(own);
            }
            let mut words = own.to_vec();
            words.resize(words.len().next_multiple_of(WORD_BYTES as usize), 0);
            Cow::Owned(words)
        };
        let bytes: Vec<_> = parts.iter().map(of_part).collect();
        write(&self.device, &self.queue, name, &parts, &bytes)
    }

    fn flush(&mut self) -> Result<(), Error> {
        // A browser takes what is written at once, and nothing can wait there.
        if cfg!(target_arch = "wasm32") {
            return Ok(());
        }
        let latest = self.queue.submit([]);
        let Some(before) = self.handed_over.replace(latest) else { return Ok(()) };
        let wait = wgpu::PollType::Wait { submission_index: Some(before), timeout: None };
        self.device.poll(wait).map_err(|error| failed(&self.device, DURING, error))?;
        Ok(())
    }

    fn set_scale(&mut self, scale: Scale) -> Result<(), Error> {
        if let Some(decision) = &self.decision {
            decision.set_scale(&self.queue, &scale);
        }
        Ok(())
    }
}

fn small_buffer(device: &wgpu::Device) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("wgpu-optim: have all steps run?"),
        size: wgpu::COPY_BUFFER_ALIGNMENT,
        usage: wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

/// Makes the head of the report and of the buffers that have or had the step counts.
type MakeHead = Box<dyn Fn(&[&[u8]]) -> Head + Send + Sync>;

impl Gpu {
    fn head(&self, model: &Model) -> MakeHead {
        let known = |param: usize| {
            let source = match model.steps(param) {
                Some(steps) => StepSource::Host(steps),
                None => step_source(model, param),
            };
            (source, model.counts[model.params[param].count].scalars.clone())
        };
        let known: Vec<_> = (0..model.params.len()).map(known).collect();
        let (pending, decides) = (self.request.pending(), self.decision.is_some());
        Box::new(move |kept| {
            let words: Vec<_> = kept.iter().map(|bytes| words_of(bytes)).collect();
            let (report, counts) = match words.split_first() {
                Some((report, counts)) if decides => (Report::read(report).scale(), counts),
                _ => (Scale::default(), &[][..]),
            };
            let counts = pending.applied(counts);
            let count = |(source, host): &(StepSource, Vec<f64>)| {
                let scalar =
                    |(k, &known): (usize, &f64)| source.scalar(&counts, k).unwrap_or(known);
                (source.steps(&counts), host.iter().enumerate().map(scalar).collect())
            };
            Head { counts: known.iter().map(count).collect(), scale: report }
        })
    }
}

/// Where a parameter's step count is found: on the device, unless it was set since the latest step.
pub(super) fn step_source(model: &Model, param: usize) -> StepSource {
    let index = model.params[param].count;
    let count = &model.counts[index];
    match count.origin {
        Origin::Itself => StepSource::Device(index),
        Origin::Other(index) => StepSource::Device(index),
        Origin::Host => StepSource::Host(count.steps),
    }
}
