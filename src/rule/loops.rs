//! The CPU's loops over runs of elements, which the compiler turns into vector code.

use crate::rule::around::{Around, Scaling};
use crate::rule::fields::Fields;
use crate::rule::formula::{MAX_STATES, MAX_SUMS, Rule, SumKind};
use crate::rule::real::Real;
use crate::rule::run::{Run, View};
use fearless_simd::{Level, Simd, dispatch};

/// Elements that a loop holds in registers and first-level cache at once.
const TILE: usize = 64;

/// What the inner loops need, rounded to their type.
struct Prepared<R: Rule, T: Real> {
    around: Around<T>,
    scaling: Scaling<T>,
    coeffs: R::Coeffs<T>,
    /// Slot k of a tile is state k of the rule; only the states in use have memory behind them.
    used: Vec<usize>,
}

impl<R: Rule, T: Real> Prepared<R, T> {
    fn new(rule: &R, coeffs: &[f64], scaling: &Scaling<f64>) -> Self {
        let (around, own) = coeffs.split_at(Around::<f64>::NAMES.len());
        let mut used = Vec::with_capacity(MAX_STATES);
        rule.initial_state().each(|k, value| used.extend(value.map(|_| k)));
        Self {
            around: Around::from_fn(|k| T::from_f64(around[k])),
            scaling: Scaling {
                factor: T::from_f64(scaling.factor),
                limit: T::from_f64(scaling.limit),
            },
            coeffs: R::Coeffs::<T>::from_fn(|k| T::from_f64(own[k])),
            used,
        }
    }
}

/// Updates a run of elements.
pub(crate) fn update_run<R: Rule, T: Real>(
    rule: &R,
    coeffs: &[f64],
    scaling: &Scaling<f64>,
    run: Run<'_, T>,
) {
    let prepared = Prepared::<R, T>::new(rule, coeffs, scaling);
    let Run { params, grads, states } = run;
    // The loops below count states from the rule's first.
    let in_order = prepared.used.iter().enumerate().all(|(index, &slot)| index == slot);
    match states {
        [] => straight::<R, T, 0>(rule, prepared, params, grads, [&mut [], &mut [], &mut []]),
        [a] if in_order => {
            straight::<R, T, 1>(rule, prepared, params, grads, [a, &mut [], &mut []]);
        }
        [a, b] if in_order => straight::<R, T, 2>(rule, prepared, params, grads, [a, b, &mut []]),
        [a, b, c] if in_order => straight::<R, T, 3>(rule, prepared, params, grads, [a, b, c]),
        states => tiled(rule, &prepared, Run { params, grads, states }),
    }
}

/// A run whose states in use are the rule's first, with the widest vectors that the CPU has.
fn straight<R: Rule, T: Real, const STATES: usize>(
    rule: &R,
    prepared: Prepared<R, T>,
    params: &mut [T],
    grads: &[T],
    [a, b, c]: [&mut [T]; 3],
) {
    // Copies within the closure: what is behind a reference might change with every store.
    let rule = rule.clone();
    dispatch!(Level::new(), simd => simd.vectorize(
        #[inline(always)]
        move || {
            let (rule, around, coeffs) = (rule, (prepared.around, prepared.scaling), prepared.coeffs);
            straight_loop::<R, T, STATES>(&rule, &around, &coeffs, params, grads, a, b, c);
        }
    ));
}

/// Each array is an argument of its own, which is how the compiler learns that none overlaps
/// another.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "as said")]
fn straight_loop<R: Rule, T: Real, const STATES: usize>(
    rule: &R,
    (around, scaling): &(Around<T>, Scaling<T>),
    coeffs: &R::Coeffs<T>,
    params: &mut [T],
    grads: &[T],
    a: &mut [T],
    b: &mut [T],
    c: &mut [T],
) {
    // Slices of one length need no checks of bounds in the loop.
    let count = params.len();
    let len = |state: usize| if state < STATES { count } else { 0 };
    let (params, grads) = (&mut params[..count], &grads[..count]);
    let (a, b, c) = (&mut a[..len(0)], &mut b[..len(1)], &mut c[..len(2)]);
    for i in 0..count {
        let p = params[i];
        let g = around.gradient(scaling, p, grads[i]);
        let mut state = R::State::<T>::from_fn(|k| match k {
            0 if STATES > 0 => a[i],
            1 if STATES > 1 => b[i],
            2 if STATES > 2 => c[i],
            _ => T::default(),
        });
        params[i] = around.finished(p, rule.update(coeffs, p, g, &mut state));
        state.each(|k, x| match k {
            0 if STATES > 0 => a[i] = x,
            1 if STATES > 1 => b[i] = x,
            2 if STATES > 2 => c[i] = x,
            _ => {}
        });
    }
}

/// A tile's states, in arrays of fixed size: the compiler then sees neither aliasing nor bounds in
/// the inner loops and turns them into vector code, whatever the number of states.
type Tile<T> = [[T; TILE]; MAX_STATES];

/// A run of any states, a tile at a time.
fn tiled<R: Rule, T: Real>(rule: &R, prepared: &Prepared<R, T>, run: Run<'_, T>) {
    let mut tile = [[T::default(); TILE]; MAX_STATES];
    let grads = run.grads.chunks(TILE);
    for (index, (params, grads)) in run.params.chunks_mut(TILE).zip(grads).enumerate() {
        let range = index * TILE..index * TILE + params.len();
        for (&slot, state) in prepared.used.iter().zip(run.states.iter()) {
            tile[slot][..params.len()].copy_from_slice(&state[range.clone()]);
        }
        update_tile(rule, prepared, params, grads, &mut tile);
        for (&slot, state) in prepared.used.iter().zip(run.states.iter_mut()) {
            state[range.clone()].copy_from_slice(&tile[slot][..params.len()]);
        }
    }
}

#[inline(always)]
fn update_tile<R: Rule, T: Real>(
    rule: &R,
    prepared: &Prepared<R, T>,
    params: &mut [T],
    grads: &[T],
    states: &mut Tile<T>,
) {
    let count = params.len().min(grads.len()).min(TILE);
    for i in 0..count {
        let p = params[i];
        let g = prepared.around.gradient(&prepared.scaling, p, grads[i]);
        let mut state = R::State::<T>::from_fn(|k| states[k][i]);
        let new = rule.update(&prepared.coeffs, p, g, &mut state);
        params[i] = prepared.around.finished(p, new);
        state.each(|k, x| states[k][i] = x);
    }
}

/// What a run of elements adds to each of the rule's sums, in order and in f64: their sum, or the
/// sum of their squares for a norm.
pub(crate) fn sum_run<R: Rule, T: Real>(
    rule: &R,
    coeffs: &[f64],
    scaling: &Scaling<f64>,
    view: &View<'_, T>,
) -> [f64; MAX_SUMS] {
    let prepared = Prepared::<R, T>::new(rule, coeffs, scaling);
    let mut kinds = [SumKind::Total; MAX_SUMS];
    R::sum_kinds().each(|k, kind| kinds[k] = kind);
    let mut sums = [0.0; MAX_SUMS];
    let mut values = [T::default(); MAX_STATES];
    for (i, (&p, &g)) in view.params.iter().zip(view.grads).enumerate() {
        for (&slot, state) in prepared.used.iter().zip(view.states) {
            values[slot] = state[i];
        }
        let g = prepared.around.gradient(&prepared.scaling, p, g);
        let mut state = R::State::<T>::from_fn(|k| values[k]);
        rule.summands(&prepared.coeffs, p, g, &mut state).each(|k, x| {
            let x = x.to_f64();
            sums[k] += match kinds[k] {
                SumKind::Total => x,
                SumKind::Norm => x * x,
            };
        });
    }
    sums
}
