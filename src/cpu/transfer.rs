//! Arrays as they are stored, for checkpoints.

use crate::control::Scale;
use crate::cpu::{Cpu, stored::Stored};
use crate::error::Error;
use crate::model::Model;
use crate::optimizer::Array;
use crate::optimizer::{ArrayRange, Fetched, Head, Transfer, Wait};
use crate::rule::Real;
use std::future::{Ready, ready};

impl Wait for Ready<Result<Fetched, Error>> {
    fn wait(self) -> Result<Fetched, Error> {
        self.into_inner()
    }
}

impl<T: Real> Cpu<T> {
    fn array(&self, param: usize, array: Array) -> &Stored<T> {
        let tensor = &self.tensors[param];
        match array {
            Array::Param => &tensor.param,
            Array::Grad => &tensor.grad,
            Array::State(state) => &tensor.states[state],
        }
    }

    fn array_mut(&mut self, param: usize, array: Array) -> &mut Stored<T> {
        let tensor = &mut self.tensors[param];
        match array {
            Array::Param => &mut tensor.param,
            Array::Grad => &mut tensor.grad,
            Array::State(state) => &mut tensor.states[state],
        }
    }
}

impl<T: Real> Transfer for Cpu<T> {
    type Fetch = Ready<Result<Fetched, Error>>;

    fn fetch(
        &self,
        model: &Model,
        ranges: &[ArrayRange],
        with_head: bool,
    ) -> Result<Self::Fetch, Error> {
        let size = |range: &ArrayRange| range.bytes::<Self>(model);
        let mut bytes = Vec::with_capacity(ranges.iter().map(size).sum::<u64>() as usize);
        for ArrayRange { param, array, elements } in ranges {
            self.array(*param, *array).get(elements, &mut bytes);
        }
        let count = |param: usize| {
            let count = &model.counts[model.params[param].count];
            (count.steps, count.scalars.clone())
        };
        let head = with_head.then(|| Head {
            counts: (0..model.params.len()).map(count).collect(),
            scale: self.scale,
        });
        Ok(ready(Ok(Fetched { bytes, head, is_behind: false })))
    }

    fn check_put(&self, _: &Model, _: usize, _: Array) -> Result<(), Error> {
        Ok(())
    }

    fn put(&mut self, _: &Model, range: &ArrayRange, bytes: &[u8]) -> Result<(), Error> {
        self.array_mut(range.param, range.array).put(&range.elements, bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn set_scale(&mut self, scale: Scale) -> Result<(), Error> {
        self.scale = scale;
        Ok(())
    }
}
