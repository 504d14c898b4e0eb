//! Where an optimizer's arrays are, reading them back, and zeroing gradients.

use crate::control::{Source, Statistics, decode};
use crate::error::Error;
use crate::gpu::buffers::{Part, StateOf, Stored};
use crate::gpu::engine::Gpu;
use crate::gpu::guard::check_usage;
use crate::gpu::readback::{Readback, words_of};
use crate::gpu::transfer::step_source;
use crate::gpu::write::check_write;
use crate::model::ParamKey;
use crate::optimizer::{Array, Optimizer};

impl Optimizer<Gpu> {
    /// Where a parameter is: one slice, or more for a parameter of the arena that no single buffer
    /// can hold.
    ///
    /// # Errors
    /// The parameter is unknown, or its buffers were removed.
    pub fn param(&self, param: impl ParamKey) -> Result<Vec<wgpu::BufferSlice<'_>>, Error> {
        let param = self.model.find(param)?;
        let parts = self.engine.parts(&self.model, param, Array::Param)?;
        Ok(parts.iter().map(Part::slice).collect())
    }

    /// Where a parameter's gradient is; as [`Self::param`].
    ///
    /// # Errors
    /// As [`Self::param`].
    pub fn grad(&self, param: impl ParamKey) -> Result<Vec<wgpu::BufferSlice<'_>>, Error> {
        let param = self.model.find(param)?;
        let parts = self.engine.parts(&self.model, param, Array::Grad)?;
        Ok(parts.iter().map(Part::slice).collect())
    }

    /// Reads a parameter back: copies it, in a submission of its own, after all submissions so far.
    ///
    /// # Errors
    /// The parameter is unknown, your buffer lacks `COPY_SRC` or was removed, or there is no memory
    /// for the copy.
    pub fn read_param(&self, param: impl ParamKey) -> Result<Readback, Error> {
        let param = self.model.find(param)?;
        self.read(param, &self.engine.parts(&self.model, param, Array::Param)?)
    }

    /// Reads a gradient back; as [`Self::read_param`].
    ///
    /// # Errors
    /// As [`Self::read_param`].
    pub fn read_grad(&self, param: impl ParamKey) -> Result<Readback, Error> {
        let param = self.model.find(param)?;
        self.read(param, &self.engine.parts(&self.model, param, Array::Grad)?)
    }

    /// Reads a state back, by PyTorch's name for it; as [`Self::read_param`].
    ///
    /// # Errors
    /// As [`Self::read_param`]; or the rule's options leave the state unused.
    pub fn read_state(&self, param: impl ParamKey, state: &str) -> Result<Readback, Error> {
        let param = self.model.find(param)?;
        let state = self.model.find_state(param, state)?;
        self.read(param, &self.engine.parts(&self.model, param, Array::State(state))?)
    }

    /// Reads the f32 that a 16-bit parameter stands for, with what is kept beside it; of a
    /// parameter without a master the same as [`Self::read_param`].
    ///
    /// # Errors
    /// As [`Self::read_param`].
    pub fn read_exact(&self, param: impl ParamKey) -> Result<Readback, Error> {
        let param = self.model.find(param)?;
        let formats = self.model.params[param].formats;
        let mut parts = self.engine.parts(&self.model, param, Array::Param)?;
        let own = parts.len();
        if let Some(kept) = formats.kept() {
            parts.extend(self.engine.parts(&self.model, param, Array::State(kept))?);
        }
        self.check_usage(param, &parts, wgpu::BufferUsages::COPY_SRC)?;
        let sources: Vec<_> = parts.iter().map(Part::source).collect();
        let stored: Vec<_> = parts.iter().map(Part::stored).collect();
        let join = move |bytes: &[&[u8]]| {
            let (param, kept) = bytes.split_at(own);
            let params = Stored::decode(&stored[..own], param);
            let kept = Stored::decode(&stored[own..], kept);
            if kept.is_empty() {
                return params;
            }
            params.iter().zip(&kept).map(|(&p, &kept)| formats.join(p, kept)).collect()
        };
        Readback::start(&self.engine.device, &self.engine.queue, &sources, join)
    }

    /// Reads a state as it is stored; as [`Optimizer::set_state_bytes`] takes it.
    ///
    /// # Errors
    /// As [`Self::read_state`].
    pub fn read_state_bytes(
        &self,
        param: impl ParamKey,
        state: &str,
    ) -> Result<Readback<Vec<u8>>, Error> {
        let param = self.model.find(param)?;
        let state = self.model.find_state(param, state)?;
        let parts = self.engine.parts(&self.model, param, Array::State(state))?;
        let sources: Vec<_> = parts.iter().map(Part::source).collect();
        let stored: Vec<_> = parts.iter().map(Part::stored).collect();
        let bytes = move |bytes: &[&[u8]]| {
            let own = |(stored, bytes): (&Stored, &&[u8])| stored.bytes(bytes).to_vec();
            stored.iter().zip(bytes).flat_map(own).collect::<Vec<u8>>()
        };
        Readback::start(&self.engine.device, &self.engine.queue, &sources, bytes)
    }

    fn read(&self, param: usize, parts: &[Part<'_>]) -> Result<Readback, Error> {
        self.check_usage(param, parts, wgpu::BufferUsages::COPY_SRC)?;
        let sources: Vec<_> = parts.iter().map(Part::source).collect();
        let stored: Vec<_> = parts.iter().map(Part::stored).collect();
        let floats = move |bytes: &[&[u8]]| Stored::decode(&stored, bytes);
        Readback::start(&self.engine.device, &self.engine.queue, &sources, floats)
    }

    /// Refuses a caller's buffer that was made without a usage that is needed.
    pub(super) fn check_usage(
        &self,
        param: usize,
        parts: &[Part<'_>],
        needed: wgpu::BufferUsages,
    ) -> Result<(), Error> {
        let name = self.model.name(param);
        parts.iter().try_for_each(|part| check_usage(name, part.buffer, needed))
    }

    /// Reads what is known of the latest step: copies it, in a submission of its own, after all
    /// submissions so far. Norms of each parameter need
    /// [`statistics`](crate::Builder::statistics), and are gone once parameters were frozen, added
    /// or moved, until the next step.
    ///
    /// # Errors
    /// The optimizer was built without anything that the GPU decides on: a norm to clip by, skipped
    /// steps, a scaler or statistics; or there is no memory for the copy.
    pub fn read_statistics(&self) -> Result<Readback<Statistics>, Error> {
        let Gpu { device, queue, decision, ready, request, .. } = &self.engine;
        let Some(decision) = decision else {
            return Err(Error::Setting {
                expected: "an optimizer that was built with `statistics`, `clip_grad_norm`, \
                           `skip_non_finite` or `grad_scaler`"
                    .into(),
                remedy: "Ask for one of them when the optimizer is built".into(),
            });
        };
        let commands = ready.as_ref().map(|ready| &ready.commands);
        let measured = commands.and_then(|commands| commands.measured.as_ref());
        let source = |param: usize| {
            let of = measured.and_then(|measured| measured.of(param));
            Source {
                name: self.model.name(param).to_owned(),
                steps: step_source(&self.model, param),
                tensor: of.map(|(tensor, ..)| tensor),
                blocks: of.map(|(_, first, count)| (first, count)),
            }
        };
        let sources: Vec<_> = (0..self.model.params.len()).map(source).collect();
        let totals = commands.and_then(|commands| commands.statistics.as_ref());
        let mut buffers = vec![&decision.report];
        buffers.extend(totals.iter().flat_map(|totals| [&totals.measures, &totals.changes]));
        let first_count = buffers.len();
        buffers.extend(decision.counted());
        let pending = request.pending();
        let parts: Vec<_> = buffers.iter().map(|buffer| (*buffer, 0, buffer.size())).collect();
        Readback::start(device, queue, &parts, move |bytes| {
            let words: Vec<_> = bytes.iter().map(|bytes| words_of(bytes)).collect();
            let (words, counts) = words.split_at(first_count);
            let sums = match &words[1..] {
                [measures, changes] => Some([measures.as_slice(), changes]),
                _ => None,
            };
            decode(&words[0], &pending.applied(counts), sums, &sources)
        })
    }

    /// Records that all gradients are zeroed, those of frozen parameters too.
    /// [`Builder::zero_grad`](crate::Builder::zero_grad) does it within the step, for less.
    ///
    /// # Errors
    /// Your gradient buffers lack `COPY_DST`, or were destroyed. Nothing is recorded then. Buffers
    /// must not be mapped when the commands are submitted; as with [`Self::step`] wgpu tells then.
    pub fn zero_grad(&self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        let Gpu { layout, buffers, .. } = &self.engine;
        let grads = |param: usize| {
            let codec = layout.class(param).formats.grad;
            buffers.parts(&layout.params[param].grads, StateOf::default(), codec)
        };
        let parts: Vec<_> = (0..layout.params.len()).map(grads).collect();
        let mut checked = None;
        for (param, parts) in parts.iter().enumerate() {
            let name = self.model.name(param);
            for part in parts {
                check_write(name, part)?;
                if checked.replace(part.buffer) != Some(part.buffer) {
                    self.engine.probe.check(name, part.buffer)?;
                }
            }
        }
        let mut last: Option<(&wgpu::Buffer, u64, u64)> = None;
        let mut clear = |(buffer, start, end): (&wgpu::Buffer, u64, u64)| {
            encoder.clear_buffer(buffer, start, Some(end - start));
        };
        for part in parts.into_iter().flatten() {
            let (buffer, offset, size) = part.source();
            let end = offset + size;
            let is_owned = part.span.buffer.is_owned();
            last = match last {
                // Neighbours are cleared together; between those of the arena is only padding.
                Some((same, start, before))
                    if same == buffer && (before == offset || (is_owned && before < offset)) =>
                {
                    Some((buffer, start, end))
                }
                other => {
                    other.into_iter().for_each(&mut clear);
                    Some((buffer, offset, end))
                }
            };
        }
        last.into_iter().for_each(clear);
        Ok(())
    }

    /// The loss scale, an f32 at the start of a buffer of 16 bytes that can be bound as a uniform
    /// or as storage: multiply the loss by it. Steps change it when they run.
    ///
    /// # Errors
    /// The optimizer was built without [`grad_scaler`](crate::Builder::grad_scaler).
    pub fn loss_scale(&self) -> Result<&wgpu::Buffer, Error> {
        self.control.scaler()?;
        match &self.engine.decision {
            Some(decision) => Ok(&decision.scale),
            None => Err(Error::device("finding the loss scale", "it has no buffer")),
        }
    }
}
