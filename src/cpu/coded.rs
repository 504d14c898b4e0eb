//! A rule's passes over elements that are not all stored in the engine's own type: a tile is
//! decoded, handed to the rule, and encoded.

use crate::cpu::stored::{View, ViewMut};
use crate::layout::formats::noise::noise;
use crate::layout::geometry::BLOCK;
use crate::model::{Formats, Keeping};
use crate::rule::{Around, DynRule, Fields, MAX_SUMS, Real, Run};

/// Elements decoded at once, whole blocks: few enough to stay in the first caches.
const TILE: usize = 4 * BLOCK as usize;

/// How a parameter is stored, and what its chances depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storing {
    pub formats: Formats,
    pub noise_key: u32,
}

/// Consecutive elements of a tensor, from the start of a block on.
pub(super) struct Coded<'a, T> {
    pub storing: Storing,
    /// The index of the first within the parameter.
    pub first: usize,
    pub len: usize,
    pub param: ViewMut<'a, T>,
    pub grad: View<'a, T>,
    /// A rule's states in use, and what is kept beside the parameter.
    pub states: Vec<ViewMut<'a, T>>,
}

/// A tile's elements in the engine's own type.
struct Tile<T> {
    params: Vec<T>,
    grads: Vec<T>,
    states: Vec<Vec<T>>,
}

impl<T: Real> Coded<'_, T> {
    pub fn update(mut self, rule: &dyn DynRule, coeffs: &[f64], scaling: [f64; 2]) {
        for at in (0..self.len).step_by(TILE) {
            let mut tile = self.tile(at);
            let used = self.used();
            let mut states: Vec<&mut [T]> =
                tile.states[..used].iter_mut().map(Vec::as_mut_slice).collect();
            let (params, grads) = (&mut tile.params[..], &tile.grads[..]);
            rule.update_run(
                coeffs,
                scaling,
                T::any_run(Run { params, grads, states: &mut states }),
            );
            self.store(at, tile, coeffs);
        }
    }

    pub fn sums(&self, rule: &dyn DynRule, coeffs: &[f64], scaling: [f64; 2]) -> [f64; MAX_SUMS] {
        let mut sums = [0.0; MAX_SUMS];
        for at in (0..self.len).step_by(TILE) {
            let tile = self.tile(at);
            let used = tile.states[..self.used()].iter();
            let states: Vec<&[T]> = used.map(Vec::as_slice).collect();
            let (params, grads) = (&tile.params[..], &tile.grads[..]);
            let view = crate::rule::View { params, grads, states: &states };
            let more = rule.sum_run(coeffs, scaling, T::any_view(view));
            sums = std::array::from_fn(|k| sums[k] + more[k]);
        }
        sums
    }

    /// How many of the states are the rule's.
    fn used(&self) -> usize {
        self.storing.formats.kept().unwrap_or(self.states.len())
    }

    fn tile(&self, at: usize) -> Tile<T> {
        let len = TILE.min(self.len - at);
        let read = |view: View<'_, T>| {
            let mut values = vec![T::default(); len];
            view.read(at, &mut values);
            values
        };
        let states: Vec<_> = self.states.iter().map(|state| read(state.view())).collect();
        let (mut params, grads) = (read(self.param.view()), read(self.grad));
        let formats = &self.storing.formats;
        if let Some(kept) = formats.kept() {
            for (p, &kept) in params.iter_mut().zip(&states[kept]) {
                *p = joined(formats, *p, kept);
            }
        }
        Tile { params, grads, states }
    }

    fn store(&mut self, at: usize, mut tile: Tile<T>, coeffs: &[f64]) {
        // To the nearest it is rounded as it is written.
        if self.storing.formats.keeping != Keeping::Nothing {
            self.split(at, &mut tile, coeffs);
        }
        self.param.write(at, &tile.params);
        for (state, values) in self.states.iter_mut().zip(&tile.states) {
            state.write(at, values);
        }
    }
}

impl<T: Real> Coded<'_, T> {
    /// Parts the new parameters of a tile into what is stored and what is kept.
    fn split(&self, at: usize, tile: &mut Tile<T>, coeffs: &[f64]) {
        let Storing { formats, noise_key } = self.storing;
        let step = Around::from_fn(|k| coeffs[k]).step as f32;
        for (i, p) in tile.params.iter_mut().enumerate() {
            let random = match formats.by_chance() {
                true => noise((self.first + at + i) as u64, step, noise_key),
                false => 0,
            };
            let (param, rest) = apart(&formats, *p, random);
            *p = param;
            if let Some(kept) = formats.kept() {
                tile.states[kept][i] = rest;
            }
        }
    }
}

/// What a parameter stands for, with what is kept beside it.
fn joined<T: Real>(formats: &Formats, param: T, kept: T) -> T {
    let exact = formats.join(param.to_f64() as f32, kept.to_f64() as f32);
    // A master of the engine's own type may have more bits than an f32.
    let is_master = formats.keeping == Keeping::Master && exact == kept.to_f64() as f32;
    if is_master { kept } else { T::from_f64(exact.into()) }
}

/// A parameter as it is stored, and what is kept beside it.
pub(super) fn apart<T: Real>(formats: &Formats, exact: T, random: u32) -> (T, T) {
    let (param, kept) = formats.split(exact.to_f64() as f32, random);
    let [param, kept] = [param, kept].map(|x| T::from_f64(x.into()));
    (param, if formats.keeping == Keeping::Master { exact } else { kept })
}
