//! What must be equal between steps.

use super::Subject;
use super::known::Where;
use crate::formats::bounds::Stored;

impl Subject {
    /// What the GPU has of a parameter that has a place.
    pub(super) fn stored(&self, param: usize) -> Stored {
        let known = &self.params[param];
        let name = known.name.as_str();
        let read = self.optimizer.read_param(name).expect("read");
        let states = known.states.iter();
        let states: Vec<_> = states
            .map(|state| self.optimizer.read_state_bytes(name, state).expect("read"))
            .collect();
        let param = read.wait().expect("read");
        Stored {
            param,
            states: states.into_iter().map(|read| read.wait().expect("read")).collect(),
        }
    }

    pub(super) fn has_place(&self, param: usize) -> bool {
        self.params[param].place != Where::Nowhere || self.params[param].len == 0
    }

    /// Panics unless the GPU has what the twin has, bit for bit: nothing but a step changes it.
    pub(super) fn check(&self, param: usize) {
        let known = &self.params[param];
        let name = known.name.as_str();
        let expected = Stored::of(&self.twins.single, name, &known.states);
        if !self.has_place(param) {
            assert!(self.optimizer.read_param(name).is_err(), "{name} is nowhere");
            for (state, expected) in known.states.iter().zip(&expected.states) {
                let read = self.optimizer.read_state_bytes(name, state).expect("read");
                assert!(read.wait().expect("read") == *expected, "{name} {state}");
            }
            return;
        }
        let found = self.stored(param);
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(
            bits(&found.param) == bits(&expected.param),
            "{name}: {:?}",
            self.different(&found, &expected)
        );
        for (state, (found, expected)) in
            known.states.iter().zip(found.states.iter().zip(&expected.states))
        {
            assert!(found == expected, "{name} {state}");
        }
        let grad = self.optimizer.read_grad(name).and_then(|read| read.wait()).expect("read");
        assert!(bits(&grad) == bits(&known.grad), "the gradient of {name}");
    }

    /// The first element that is different.
    pub(super) fn different(&self, found: &Stored, expected: &Stored) -> Option<(usize, f32, f32)> {
        let pairs = found.param.iter().zip(&expected.param).enumerate();
        pairs.map(|(i, (&a, &b))| (i, a, b)).find(|(_, a, b)| a.to_bits() != b.to_bits())
    }

    pub(super) fn check_all(&mut self) {
        self.note("check".into());
        (0..self.params.len()).for_each(|param| self.check(param));
        self.check_steps();
        let places =
            self.params.iter().filter_map(|known| match known.place {
                Where::Caller(at) => Some([0, 1].map(|array| {
                    (at[array], known.codecs()[array].bytes(known.len as u64) as usize)
                })),
                _ => None,
            });
        self.pool.check(&places.flatten().collect::<Vec<_>>());
    }

    pub(super) fn check_steps(&self) {
        let found = self.optimizer.read_steps().and_then(|read| read.wait()).expect("read");
        for (known, found) in self.params.iter().zip(found) {
            let name = known.name.as_str();
            assert_eq!(found, self.twins.single.steps(name).expect("known"), "steps of {name}");
            let frozen = self.twins.single.is_frozen(name).expect("known");
            assert_eq!(self.optimizer.is_frozen(name).expect("known"), frozen, "{name}");
        }
    }

    pub(super) fn statistics(&mut self) {
        let read = self.optimizer.read_statistics();
        assert_eq!(read.is_ok(), self.around.decides());
        let Ok(read) = read else { return };
        self.note("statistics".into());
        let found = read.wait().expect("read");
        let twin = &self.twins.double;
        assert_eq!(u64::from(found.skipped), twin.skipped());
        assert_eq!(u64::from(found.skipped_in_row), twin.skipped_in_row());
        assert_eq!(found.steps, self.steps, "steps decided on");
        let (norm, expected) = (f64::from(found.grad_norm), twin.grad_norm());
        let close = (norm - expected).abs() <= 1e-6 * expected;
        assert!(close || !expected.is_finite() && !norm.is_finite(), "{norm}, {expected}");
        if let Ok(scale) = twin.loss_scale() {
            assert_eq!(found.next_loss_scale, scale);
        }
        for (known, found) in self.params.iter().zip(&found.parameters) {
            let steps = twin.steps(known.name.as_str()).expect("known");
            assert_eq!((&found.name, u64::from(found.steps)), (&known.name, steps));
        }
    }
}
