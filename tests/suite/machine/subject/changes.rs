//! What may change between steps: who takes part, where, and how.

use super::known::Where;
use super::{RATE, Subject};
use crate::machine::twins::{both, told};
use wgpu_optim::Place;

impl Subject {
    pub(super) fn set_frozen(&mut self) {
        let frozen = self.below(2) == 0;
        let some: Vec<_> =
            (0..self.params.len()).filter(|_| self.random.next().is_multiple_of(3)).collect();
        let names: Vec<_> = some.iter().map(|&param| self.params[param].name.clone()).collect();
        self.note(format!("freeze {frozen} {names:?}"));
        let result = told(self.optimizer.set_frozen(&names, frozen));
        if !frozen && some.iter().any(|&param| !self.has_place(param)) {
            assert!(result.expect_err("one is nowhere").contains("set_buffers"));
            return;
        }
        result.expect("known");
        both!(self.twins, |twin| told(twin.set_frozen(&names, frozen))).expect("known");
    }

    pub(super) fn move_to_group(&mut self) {
        let (param, group) = (self.any(), self.below(self.groups.len()));
        let name = self.params[param].name.clone();
        let from = self.optimizer.param_info(name.as_str()).expect("known").group;
        self.note(format!("move {name} to {group}"));
        let found = told(self.optimizer.move_to_group([&name], group));
        let expected = both!(self.twins, |twin| told(twin.move_to_group([&name], group)));
        assert_eq!(found, expected);
        assert_eq!(found.is_ok(), self.groups[from] == self.groups[group]);
    }

    /// Moves some parameters at once; those without a place get one.
    pub(super) fn set_buffers(&mut self) {
        let some = (0..self.params.len()).filter(|&param| {
            self.params[param].place != Where::Arena && self.random.next().is_multiple_of(2)
        });
        let some: Vec<_> = some.collect();
        let places: Vec<_> = some
            .iter()
            .map(|&param| {
                let codecs = self.params[param].codecs();
                codecs.map(|codec| self.pool.take(&mut self.random, codec.bytes(1) as usize))
            })
            .collect();
        self.note(format!(
            "buffers {:?}",
            some.iter().map(|&p| &self.params[p].name).zip(&places).collect::<Vec<_>>()
        ));
        let moves = some.iter().zip(&places).map(|(&param, at)| {
            let [p, g] = at.map(|at| (&self.pool.buffers[at.buffer], at.byte as u64));
            (self.params[param].name.as_str(), Place::new(p, g))
        });
        self.optimizer.set_buffers(moves.collect::<Vec<_>>()).expect("moved");
        for (&param, &at) in some.iter().zip(&places) {
            self.give_up(self.params[param].place);
            self.params[param].place = Where::Caller(at);
            [0, 1].into_iter().for_each(|array| self.write_back(param, array));
        }
    }

    pub(super) fn remove_buffers(&mut self) {
        let param = self.any();
        let name = self.params[param].name.clone();
        self.note(format!("remove {name}"));
        let result = told(self.optimizer.remove_buffers([&name]));
        let in_arena = self.params[param].place == Where::Arena;
        if in_arena && self.params[param].len > 0 {
            assert!(result.expect_err("in the arena").contains("in buffers of yours"));
            return;
        }
        result.expect("removed");
        both!(self.twins, |twin| told(twin.set_frozen([&name], true))).expect("known");
        self.give_up(self.params[param].place);
        self.params[param].place = Where::Nowhere;
    }

    pub(super) fn set_rates(&mut self) {
        let group = self.below(self.groups.len());
        let rate = RATE * [0.5, 1.0, 2.0][self.below(3)];
        self.note(format!("rate {group} {rate}"));
        match self.below(3) {
            0 => {
                self.optimizer.set_lr(group, rate).expect("in range");
                both!(self.twins, |twin| told(twin.set_lr(group, rate))).expect("in range");
            }
            1 => {
                self.optimizer.set_base_lr(rate).expect("in range");
                both!(self.twins, |twin| told(twin.set_base_lr(rate))).expect("in range");
            }
            _ => {
                let mut rule = self.rules[self.groups[group]].boxed();
                rule.set_lr(rate);
                self.optimizer.set_rule(group, rule.boxed()).expect("in range");
                both!(self.twins, |twin| told(twin.set_rule(group, rule.boxed())))
                    .expect("in range");
            }
        }
    }

    pub(super) fn set_around(&mut self) {
        let count = 1 + self.below(3) as u32;
        self.note(format!("micro batches {count}"));
        self.optimizer.set_micro_batches(count).expect("in range");
        both!(self.twins, |twin| told(twin.set_micro_batches(count))).expect("in range");
        let norm = 1.0 + self.below(9) as f64;
        let found = told(self.optimizer.set_clip_grad_norm(norm));
        assert_eq!(found, both!(self.twins, |twin| told(twin.set_clip_grad_norm(norm))));
    }
}
