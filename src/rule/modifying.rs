//! What modifiers do to one element, and the numbers of a step that they need.
//! `shaders/passes/modify.wgsl` is the twin.

use crate::rule::around::Around;
use crate::rule::fields::Fields;
use crate::rule::modifiers::{Average, AverageKind, Lookahead, Modifiers};
use crate::rule::number::{Number, Step};
use crate::rule::real::Real;

crate::fields! {
    /// A step's numbers. A slot holds those that some modifier of the group asks for.
    pub(crate) struct Numbers {
        /// not 0 at the parameter's first step, where copies of it start
        is_first,
        /// how far the average moves to the parameter
        average_rate,
        /// how far the slow copy moves to the parameter; 0 if it does not
        lookahead_rate,
        /// the smallest number that an element may be
        low,
        /// the largest
        high,
        /// the gradient's largest norm; of a tensor, by its sums, what that is multiplied by
        grad_scale,
        /// the update's largest root mean square; of a tensor, what its update is multiplied by
        update_scale,
    }
}

/// f64's distance of neighbours is 1 from here to twice as much, so that adding and subtracting it
/// rounds a smaller number to a whole one.
const WHOLE: f64 = 4_503_599_627_370_496.0;

/// `yes` where a whole number is a multiple, otherwise `no`.
fn if_multiple<N: Number>(number: N, of: u64, yes: N, no: N) -> N {
    if of == 1 {
        return yes;
    }
    let of = N::from(of as f64);
    let nearest = number / of + WHOLE.into() - WHOLE.into();
    let off = number - nearest * of;
    (off * off).if_above(0.0.into(), no, yes)
}

/// How far an average moves to the parameter after step `t`.
fn average_rate<N: Number>(average: &Average, t: N) -> N {
    let Average { kind, start, every } = *average;
    let since = if start == 0 { t } else { t - (start as f64).into() };
    let n = if every == 1 { since } else { since / (every as f64).into() };
    let one = N::from(1.0);
    let rate = match kind {
        AverageKind::Ema { decay } => (1.0 - decay).into(),
        AverageKind::EmaWarmUp { decay } => {
            let warm = (one + n) / (N::from(10.0) + n);
            one - N::from(decay).if_above(warm, warm, decay.into())
        }
        AverageKind::EmaOfCopy { decay } => n.if_above(one, (1.0 - decay).into(), one),
        AverageKind::Uniform => one / n,
    };
    let rate = if_multiple(since, every, rate, 0.0.into());
    if start == 0 { rate } else { since.if_above(0.0.into(), rate, one) }
}

impl Modifiers {
    /// The numbers of a step.
    pub(crate) fn numbers<N: Number>(&self, step: Step<N>, lr: f64) -> Numbers<N> {
        let (t, zero, one) = (step.number(), N::from(0.0), N::from(1.0));
        let held = |x: f64| x.clamp(f64::from(f32::MIN), f64::from(f32::MAX));
        let (low, high) = self.bounds.unwrap_or_default();
        let lookahead = |Lookahead { k, alpha }: Lookahead| if_multiple(t, k, alpha.into(), zero);
        Numbers {
            is_first: t.if_above(one, zero, one),
            average_rate: self.average.as_ref().map_or(zero, |average| average_rate(average, t)),
            lookahead_rate: self.lookahead.map_or(zero, lookahead),
            low: held(low).into(),
            high: held(high).into(),
            grad_scale: self.clip_grad_tensor.unwrap_or_default().into(),
            update_scale: self.clip_update.map_or(0.0, |d| held(lr * d)).into(),
        }
    }

    /// The indices of the numbers that are asked for.
    pub(crate) fn used(&self) -> impl Iterator<Item = usize> {
        let (average, lookahead) = (self.average.is_some(), self.lookahead.is_some());
        let bounds = self.bounds.is_some();
        let used = Numbers {
            is_first: average || lookahead,
            average_rate: average,
            lookahead_rate: lookahead,
            low: bounds,
            high: bounds,
            grad_scale: self.clip_grad_tensor.is_some(),
            update_scale: self.cautious || self.clip_update.is_some(),
        };
        let mut indices = Vec::new();
        used.each(|index, used| indices.extend(used.then_some(index)));
        indices.into_iter()
    }

    /// The names of the numbers that are asked for.
    pub(crate) fn number_names(&self) -> Vec<&'static str> {
        self.used().map(|index| <Numbers<f64> as Fields<f64>>::NAMES[index]).collect()
    }

    /// The numbers of these coefficients, which are those that are asked for.
    pub(crate) fn numbers_of<T: Real>(&self, coeffs: &[f64]) -> Numbers<T> {
        let mut all = [T::default(); <Numbers<f64> as Fields<f64>>::NAMES.len()];
        self.used().zip(coeffs).for_each(|(index, &x)| all[index] = T::from_f64(x));
        Numbers::from_fn(|index| all[index])
    }
}

/// A number, a part of the way to another.
#[inline(always)]
fn moved<T: Real>(from: T, to: T, rate: T) -> T {
    let one = T::from_f64(1.0);
    let between = from + rate * (to - from);
    if rate == T::default() {
        from
    } else if rate == one {
        to
    } else {
        between
    }
}

/// Whether two numbers have opposite signs, or one is 0. Signs are compared as products of small
/// numbers would vanish; a NaN disagrees with nothing, so that it stays.
#[inline(always)]
pub(crate) fn disagree<T: Real>(a: T, b: T) -> bool {
    a.sign() * b.sign() <= T::default()
}

impl<T: Real> Numbers<T> {
    /// A rule's result, its update scaled and, where it disagrees with the gradient, masked.
    #[inline(always)]
    pub fn scaled(&self, cautious: bool, old: T, updated: T, g: T) -> T {
        let update = old - updated;
        if cautious && disagree(update, g) {
            old
        } else if self.update_scale == T::from_f64(1.0) {
            updated
        } else {
            old - self.update_scale * update
        }
    }

    /// The parameter after decay and within its bounds.
    #[inline(always)]
    pub fn finished(&self, of: &Modifiers, around: &Around<T>, old: T, updated: T) -> T {
        let update = old - updated;
        let cautious = of.decay.is_some_and(|decay| decay.cautious);
        let p = match cautious && update.sign() * old.sign() < T::default() {
            true => updated,
            false => around.finished(old, updated),
        };
        match of.bounds {
            None => p,
            // Written so that a NaN stays one.
            Some(_) if p < self.low => self.low,
            Some(_) if p > self.high => self.high,
            Some(_) => p,
        }
    }

    /// Takes the parameter and its slow copy to the step's end.
    #[inline(always)]
    pub fn look_ahead(&self, old: T, p: &mut T, slow: &mut T) {
        let from = if self.is_first == T::default() { *slow } else { old };
        *slow = moved(from, *p, self.lookahead_rate);
        if self.lookahead_rate != T::default() {
            *p = *slow;
        }
    }

    /// Takes the average to the step's end.
    #[inline(always)]
    pub fn averaged(&self, old: T, p: T, average: T) -> T {
        let from = if self.is_first == T::default() { average } else { old };
        moved(from, p, self.average_rate)
    }
}
