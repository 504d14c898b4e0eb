//! Values, gradients and states from the host.

use super::Subject;
use super::known::{Known, Where, whole_words};
use crate::machine::twins::{both, told};

impl Subject {
    /// Gives a parameter new values and a new gradient.
    pub(super) fn fill(&mut self, param: usize) {
        let values = self.values(self.params[param].len);
        self.set_param(param, &values);
        self.set_grad(param);
    }

    pub(super) fn set_values(&mut self) {
        let param = self.any();
        self.note(format!("values {}", self.params[param].name));
        self.fill(param);
    }

    pub(super) fn set_param(&mut self, param: usize, values: &[f32]) {
        let known = &self.params[param];
        let name = known.name.as_str();
        let result = told(self.optimizer.set_param(name, values));
        match known.place {
            Where::Nowhere if known.len > 0 => {
                assert!(result.expect_err("it is nowhere").contains("set_buffers"));
                return;
            }
            // The host writes whole words.
            Where::Caller([at, _]) if !whole_words(known.formats.param, at, known.len) => {
                assert!(result.expect_err("half a word").contains("multiple of 4 bytes"));
                self.twins.set_param(name, values);
                self.write_back(param, 0);
                self.write_kept(param);
                return;
            }
            _ => result.expect("set"),
        }
        self.twins.set_param(name, values);
    }

    /// Copies what the twins have of a parameter (0) or its gradient (1) to the caller's memory.
    pub(super) fn write_back(&self, param: usize, array: usize) {
        let known = &self.params[param];
        let Where::Caller(at) = known.place else { return };
        let values = match array {
            0 => self.twins.single.param(known.name.as_str()).expect("known").to_vec(),
            _ => known.grad.clone(),
        };
        let mut bytes = Vec::new();
        known.codecs()[array].encode(&values, &mut bytes);
        self.pool.write(at[array], &bytes);
    }

    /// Copies what is kept beside a parameter from the twins to the GPU.
    pub(super) fn write_kept(&mut self, param: usize) {
        let Known { name, formats, .. } = &self.params[param];
        let Some(state) = formats.keeping.state() else { return };
        let bytes = self.twins.single.state_bytes(name.as_str(), state).expect("known");
        self.optimizer.set_state_bytes(name.as_str(), state, &bytes).expect("set");
    }

    pub(super) fn set_grad(&mut self, param: usize) {
        let values = self.values(self.params[param].len);
        self.set_grad_to(param, &values);
    }

    pub(super) fn set_grad_to(&mut self, param: usize, values: &[f32]) {
        let known = &self.params[param];
        let result = told(self.optimizer.set_grad(known.name.as_str(), values));
        let codec = known.formats.grad;
        let by_hand = match known.place {
            Where::Nowhere if known.len > 0 => {
                assert!(result.expect_err("it is nowhere").contains("set_buffers"));
                return;
            }
            Where::Caller([_, at]) if !whole_words(codec, at, known.len) => {
                assert!(result.expect_err("half a word").contains("multiple of 4 bytes"));
                true
            }
            _ => {
                result.expect("set");
                false
            }
        };
        self.twins.set_grad(known.name.as_str(), values);
        self.params[param].grad = values.iter().map(|&x| codec.rounded(x)).collect();
        if by_hand {
            self.write_back(param, 1);
        }
    }

    /// Puts something that is not finite into a gradient.
    pub(super) fn spoil(&mut self) {
        let param = self.any();
        let mut grad = self.params[param].grad.clone();
        if grad.is_empty() {
            return;
        }
        let at = self.below(grad.len());
        grad[at] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][self.below(3)];
        self.note(format!("spoil {} {at}", self.params[param].name));
        self.set_grad_to(param, &grad);
    }

    /// The gradients are zero now.
    pub(super) fn forget_grads(&mut self) {
        self.params.iter_mut().for_each(|known| known.grad.fill(0.0));
    }

    pub(super) fn zero_grad(&mut self) {
        self.note("zero".into());
        let mut encoder = self.gpu.encoder();
        let odd = |known: &Known| match known.place {
            Where::Caller([_, at]) => !whole_words(known.formats.grad, at, known.len),
            _ => false,
        };
        let result = told(self.optimizer.zero_grad(&mut encoder));
        if self.params.iter().any(odd) {
            assert!(result.expect_err("half a word").contains("multiple of 4 bytes"));
            return;
        }
        result.expect("recorded");
        self.gpu.submit(encoder);
        both!(self.twins, |twin| twin.zero_grad());
        self.forget_grads();
    }

    /// Sets a parameter's states to 0, or to the bytes that they have.
    pub(super) fn set_states(&mut self) {
        let param = self.any();
        let Known { name, len, formats, states, .. } = &self.params[param];
        let (name, len) = (name.clone(), *len);
        let kept = formats.keeping.state();
        let (states, zero) = (states.clone(), self.below(2) == 0);
        self.note(format!("states {name} {zero}"));
        for state in states.into_iter().filter(|state| Some(*state) != kept) {
            if zero {
                self.optimizer.set_state(name.as_str(), state, &vec![0.0; len]).expect("set");
                self.twins.set_state(&name, state, &vec![0.0; len]);
            } else {
                let bytes = self.twins.single.state_bytes(name.as_str(), state).expect("known");
                self.optimizer.set_state_bytes(name.as_str(), state, &bytes).expect("set");
            }
        }
    }
}
