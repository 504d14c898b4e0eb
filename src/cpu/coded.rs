//! A rule's passes over elements that are not all stored in the engine's own type: a tile is
//! decoded, handed to the rule, and encoded.

use crate::cpu::stored::{Memory, View, ViewMut};
use crate::layout::formats::noise::noise;
use crate::layout::geometry::BLOCK;
use crate::model::{Formats, Keeping};
use crate::rule::{Around, DynRule, Fields, MAX_SUMS, Pass, Real, Run};

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

/// A tile's elements in the engine's own type, in memory that the next tile uses again.
struct Tile<T> {
    params: Vec<T>,
    grads: Vec<T>,
    states: Vec<Vec<T>>,
    memory: Memory,
}

impl<T: Real> Tile<T> {
    /// Of at most so many elements.
    fn new(len: usize, states: usize) -> Self {
        let values = || vec![T::default(); len.min(TILE)];
        let states = (0..states).map(|_| values()).collect();
        Self { params: values(), grads: values(), states, memory: Memory::default() }
    }

    /// Makes it one of so many elements: the last of a chunk may be shorter than the others.
    fn resize(&mut self, len: usize) {
        let Self { params, grads, states, .. } = self;
        let arrays = [params, grads].into_iter().chain(states);
        arrays.for_each(|array| array.resize(len, T::default()));
    }
}

impl<T: Real> Coded<'_, T> {
    pub fn update(mut self, rule: &dyn DynRule, coeffs: &[f64], scaling: [f64; 2]) {
        let mut tile = Tile::new(self.len, self.states.len());
        let used = self.used();
        for at in (0..self.len).step_by(TILE) {
            self.load(at, &mut tile);
            let Tile { params, grads, states, .. } = &mut tile;
            let mut states: Vec<&mut [T]> =
                states[..used].iter_mut().map(Vec::as_mut_slice).collect();
            let run = Run { params, grads, states: &mut states };
            rule.update_run(coeffs, scaling, T::any_run(run));
            self.store(at, &mut tile, coeffs);
        }
    }

    pub fn sums(
        &self,
        (rule, pass): (&dyn DynRule, Pass),
        coeffs: &[f64],
        scaling: [f64; 2],
    ) -> [f64; MAX_SUMS] {
        let mut tile = Tile::new(self.len, self.states.len());
        let mut sums = [0.0; MAX_SUMS];
        for at in (0..self.len).step_by(TILE) {
            self.load(at, &mut tile);
            let used = tile.states[..self.used()].iter();
            let states: Vec<&[T]> = used.map(Vec::as_slice).collect();
            let (params, grads) = (&tile.params[..], &tile.grads[..]);
            let view = crate::rule::View { params, grads, states: &states };
            let more = rule.sum_run_of(pass, coeffs, scaling, T::any_view(view));
            sums = std::array::from_fn(|k| sums[k] + more[k]);
        }
        sums
    }

    /// How many of the states are the rule's, with what modifiers keep.
    fn used(&self) -> usize {
        self.storing.formats.kept().unwrap_or(self.states.len())
    }

    /// Decodes the tile that starts at this element.
    fn load(&self, at: usize, tile: &mut Tile<T>) {
        tile.resize(TILE.min(self.len - at));
        let Tile { params, grads, states, memory } = tile;
        self.param.view().read(at, params, memory);
        self.grad.read(at, grads, memory);
        for (state, values) in self.states.iter().zip(&mut *states) {
            state.view().read(at, values, memory);
        }
        let formats = &self.storing.formats;
        if let Some(kept) = formats.kept() {
            for (p, &kept) in params.iter_mut().zip(&states[kept]) {
                *p = joined(formats, *p, kept);
            }
        }
    }

    /// Encodes it.
    fn store(&mut self, at: usize, tile: &mut Tile<T>, coeffs: &[f64]) {
        // To the nearest it is rounded as it is written.
        if self.storing.formats.keeping != Keeping::Nothing {
            self.split(at, tile, coeffs);
        }
        let Tile { params, states, memory, .. } = tile;
        self.param.write(at, params, memory);
        for (state, values) in self.states.iter_mut().zip(states) {
            state.write(at, values, memory);
        }
    }

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
pub(super) fn joined<T: Real>(formats: &Formats, param: T, kept: T) -> T {
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
