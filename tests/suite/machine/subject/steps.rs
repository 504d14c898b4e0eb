//! Steps, taken and dropped, and step counts.

use super::Subject;
use super::known::Known;
use crate::formats::bounds::{self, Stored};
use crate::machine::twins::{both, told};

impl Subject {
    pub(super) fn step(&mut self) {
        for param in 0..self.params.len() {
            if self.below(2) == 0 {
                self.set_grad(param);
            }
        }
        if self.around.skips() && self.below(4) == 0 {
            self.spoil();
        }
        (0..self.params.len()).for_each(|param| self.check(param));
        let before: Vec<_> = self
            .params
            .iter()
            .map(|known| Stored::of(&self.twins.single, &known.name, &known.states))
            .collect();
        self.note("step".into());
        let mut encoder = self.gpu.encoder();
        if self.below(2) == 0 {
            self.optimizer.step(&mut encoder).expect("recorded");
        } else {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            self.optimizer.step_in_pass(&mut pass).expect("recorded");
        }
        self.gpu.submit(encoder);
        both!(self.twins, |twin| told(twin.step())).expect("stepped");
        self.steps += 1;
        if self.around.zeroes() {
            self.forget_grads();
        }
        for (param, before) in before.iter().enumerate() {
            if self.has_place(param) {
                self.compare(param, before);
            }
        }
        self.check_steps();
    }

    /// Compares a step's result with the twins', which take it over.
    pub(super) fn compare(&mut self, param: usize, before: &Stored) {
        let found = self.stored(param);
        let Known { name, formats, states, .. } = &self.params[param];
        let in_f32 = Stored::of(&self.twins.single, name, states);
        let in_f64 = Stored::of(&self.twins.double, name, states);
        if self.twins.single.is_frozen(name.as_str()).expect("known") {
            assert!(found == in_f32, "{name} is frozen");
        }
        let group = self.optimizer.param_info(name.as_str()).expect("known").group;
        let rule = self.optimizer.rule(group).expect("known");
        let opposite = if rule.name() == "lion" { 2.0 * rule.lr() } else { 0.0 };
        let mut twins = vec![("f32", &in_f32), ("f64", &in_f64)];
        if rule.name() == "adan" {
            // Gradients that were equal differ by what the older was rounded by, for f64 alone.
            twins.pop();
        }
        for (precision, twin) in twins {
            let label = format!("{name} in {precision}");
            bounds::check_signed(&label, formats, before, [&found, twin], opposite);
        }
        self.twins.follow(name, states, &found);
    }

    /// A step whose commands are dropped. Where the GPU skips steps it never was; elsewhere the
    /// host has counted it.
    pub(super) fn drop_step(&mut self) {
        self.note("drop".into());
        self.optimizer.step(&mut self.gpu.encoder()).expect("recorded");
        if self.around.skips() {
            return;
        }
        for param in 0..self.params.len() {
            let name = self.params[param].name.clone();
            let steps = self.twins.single.steps(name.as_str()).expect("known");
            self.set_steps_to(&name, steps);
        }
    }

    pub(super) fn set_steps_to(&mut self, name: &str, steps: u64) {
        self.optimizer.set_steps(name, steps).expect("known");
        both!(self.twins, |twin| told(twin.set_steps(name, steps))).expect("known");
    }

    pub(super) fn set_steps(&mut self) {
        let param = self.any();
        let name = self.params[param].name.clone();
        let steps = [0, 1, 2, 9, 1000][self.below(5)];
        self.note(format!("steps {name} {steps}"));
        self.set_steps_to(&name, steps);
    }
}
