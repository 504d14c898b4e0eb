//! Changes an optimizer to what a plan says.

use crate::checkpoint::contents::SCALE_BYTES;
use crate::checkpoint::draft::{From, NewGroup, NewScale, Plan, Values, Write};
use crate::checkpoint::header::{Header, Tensor};
use crate::checkpoint::input::{Input, PIECE_BYTES};
use crate::checkpoint::numbers::{decode, decode_blocks, join_blocks, transpose};
use crate::error::Error;
use crate::layout::geometry::BLOCK;
use crate::model::Code;
use crate::optimizer::{ArrayRange, Engine, Optimizer};
use crate::rule::Real;

/// Reads and writes all arrays, then sets everything else. Should it fail on the way, the optimizer
/// refuses to step until something is loaded whole.
pub(super) fn apply<E: Engine>(
    optimizer: &mut Optimizer<E>,
    plan: Plan,
    header: &Header,
    input: &mut Input<'_>,
    progress: impl FnMut(u64),
) -> Result<(), Error> {
    let Plan { groups, writes, counts, frozen, control, scale, .. } = plan;
    optimizer.model.is_torn = true;
    let mut writer = Writer { optimizer, header, input, written: 0, done: header.start, progress };
    writes.iter().try_for_each(|write| writer.write(write))?;
    optimizer.engine.flush()?;
    let model = &mut optimizer.model;
    for NewGroup { group, rule, lr_multiplier } in groups {
        model.replace_rule(group, rule);
        let own = &mut model.groups[group].lr_multiplier;
        *own = lr_multiplier.unwrap_or(*own);
    }
    for (param, steps, scalars) in counts {
        match scalars {
            Some(scalars) => model.set_count(param, steps, scalars),
            None => model.set_steps(param, steps)?,
        }
    }
    for (param, is_frozen) in frozen {
        model.freeze(param, is_frozen);
    }
    optimizer.control = control.unwrap_or_else(|| optimizer.control.clone());
    if let Some(NewScale { scaler, scale }) = scale {
        optimizer.control.scaler = scaler.or(optimizer.control.scaler);
        optimizer.engine.set_scale(scale)?;
    }
    optimizer.engine.changed();
    optimizer.model.is_torn = false;
    Ok(())
}

/// Bytes after which an engine hands over what it was given; twice as many are in memory.
const HANDED_OVER_BYTES: u64 = 16 << 20;

/// Writes arrays one after another.
struct Writer<'a, 'i, E: Engine, P> {
    optimizer: &'a mut Optimizer<E>,
    header: &'a Header,
    input: &'a mut Input<'i>,
    /// Bytes that were handed to the engine since it last passed them on.
    written: u64,
    done: u64,
    progress: P,
}

impl<E: Engine, P: FnMut(u64)> Writer<'_, '_, E, P> {
    fn write(&mut self, write: &Write) -> Result<(), Error> {
        match &write.from {
            From::Raw(found) => match found.absmax {
                Some(absmax) => self.blocks(write, found.tensor, absmax),
                None => self.raw(write, found.tensor),
            },
            From::Values(values) => self.values(write, values),
            From::Number(number) => self.number(write, *number),
        }
    }

    /// Reads some bytes of an array.
    fn read(
        &mut self,
        tensor: &Tensor,
        first: u64,
        into: &mut Vec<u8>,
        bytes: u64,
    ) -> Result<(), Error> {
        into.resize(bytes as usize, 0);
        self.input.read_at(self.header.range(tensor).start + first, into)?;
        self.done += bytes;
        (self.progress)(self.done);
        Ok(())
    }

    /// The ranges of an array that are written at once.
    fn ranges(&self, write: &Write) -> impl Iterator<Item = ArrayRange> + use<E, P> {
        let of = (write.param, write.array);
        let ranges = ArrayRange::all::<E>(&self.optimizer.model, of, PIECE_BYTES);
        ranges.filter(|range| !range.elements.is_empty())
    }

    fn put(&mut self, range: &ArrayRange, bytes: &[u8]) -> Result<(), Error> {
        let Optimizer { model, engine, .. } = &mut *self.optimizer;
        engine.put(model, range, bytes)?;
        self.counted(bytes.len() as u64)
    }

    /// Has the engine pass on what it was given, from time to time.
    fn counted(&mut self, bytes: u64) -> Result<(), Error> {
        self.written += bytes;
        if self.written >= HANDED_OVER_BYTES {
            self.written = 0;
            self.optimizer.engine.flush()?;
        }
        Ok(())
    }

    fn raw(&mut self, write: &Write, tensor: usize) -> Result<(), Error> {
        let tensor = &self.header.tensors[tensor];
        let (mut piece, mut at) = (Vec::new(), 0);
        for range in self.ranges(write) {
            let bytes = range.bytes::<E>(&self.optimizer.model);
            self.read(tensor, at, &mut piece, bytes)?;
            at += bytes;
            self.put(&range, &piece)?;
        }
        Ok(())
    }

    fn blocks(&mut self, write: &Write, codes: usize, absmax: usize) -> Result<(), Error> {
        let [codes, absmax] = [codes, absmax].map(|tensor| &self.header.tensors[tensor]);
        let (mut own_codes, mut own_scales) = (Vec::new(), Vec::new());
        for range in self.ranges(write) {
            let [first, end] = [range.elements.start, range.elements.end];
            let (block, blocks) = (first / BLOCK, (end - first).div_ceil(BLOCK));
            let scale = SCALE_BYTES as u64;
            self.read(codes, first, &mut own_codes, end - first)?;
            self.read(absmax, block * scale, &mut own_scales, blocks * scale)?;
            let bytes = range.bytes::<E>(&self.optimizer.model) as usize;
            self.put(&range, &join_blocks(&own_codes, &own_scales, bytes))?;
        }
        Ok(())
    }

    /// All of an array's numbers, as the file has them.
    fn decoded(
        &mut self,
        tensor: usize,
        absmax: Option<usize>,
        code: Code,
    ) -> Result<Vec<f64>, Error> {
        let whole = |writer: &mut Self, tensor: usize| {
            let tensor = &writer.header.tensors[tensor];
            let mut bytes = Vec::new();
            writer.read(tensor, 0, &mut bytes, tensor.bytes.end - tensor.bytes.start)?;
            Ok(bytes)
        };
        let dtype = self.header.tensors[tensor].dtype;
        let own = whole(self, tensor)?;
        match absmax {
            None => Ok(decode(dtype, &own)),
            Some(absmax) => Ok(decode_blocks(code, &own, &whole(self, absmax)?)),
        }
    }

    fn values(&mut self, write: &Write, values: &Values) -> Result<(), Error> {
        let Values { main, code, kept, transposed } = values;
        let mut numbers = self.decoded(main.tensor, main.absmax, *code)?;
        if let Some((kept, formats)) = kept {
            let kept = self.decoded(kept.tensor, None, *code)?;
            for (number, kept) in numbers.iter_mut().zip(kept) {
                *number = f64::from(formats.join(*number as f32, kept as f32));
            }
        }
        if let Some(sizes) = transposed {
            numbers = transpose(&numbers, *sizes);
        }
        let numbers: Vec<_> = numbers.into_iter().map(E::Element::from_f64).collect();
        self.set(write, &numbers)
    }

    fn number(&mut self, write: &Write, number: f64) -> Result<(), Error> {
        let len = self.optimizer.model.params[write.param].len;
        self.set(write, &vec![E::Element::from_f64(number); len])
    }

    fn set(&mut self, write: &Write, numbers: &[E::Element]) -> Result<(), Error> {
        let Optimizer { model, engine, .. } = &mut *self.optimizer;
        engine.write(model, write.param, write.array, numbers)?;
        self.counted(size_of_val(numbers) as u64)
    }
}
