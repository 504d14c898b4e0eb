//! Adding groups.

use super::known::{Known, Where};
use super::{MOST_PARAMS, Subject};
use crate::formats::storages;
use crate::machine::pool::{At, MOST_ELEMENTS};
use wgpu_optim::internals::Formats;
use wgpu_optim::{Error, Param, Storage};

impl Subject {
    pub(super) fn add_group(&mut self) {
        if self.params.len() >= MOST_PARAMS {
            return;
        }
        let family = self.below(2);
        let rule = self.rules[family].boxed();
        let count = 1 + self.below(3);
        let mut new = Vec::new();
        let mut params = Vec::new();
        for index in 0..count {
            let name = format!("g{} p{index}", self.groups.len());
            let lens = [0, 1, 2, 3, 5, 255, 256, 257, 700, 1021, 2050];
            let len = lens[self.below(lens.len())];
            assert!(len <= MOST_ELEMENTS);
            let stored = storages();
            let choice = self.below(2 * stored.len());
            let storage = stored.get(choice).cloned().unwrap_or_else(Storage::f32);
            let formats = Formats::of(&storage, rule.as_ref());
            let own = rule.states().iter().map(|state| state.name).collect::<Vec<_>>();
            let states = own.into_iter().chain(formats.keeping.state()).collect();
            let param = Param::new(&name, len).storage(storage.clone());
            let grad = vec![0.0; len];
            let mut known = Known { name, len, formats, states, place: Where::Arena, grad };
            params.push(if self.below(2) == 0 {
                param
            } else {
                let at = self.take(&known);
                known.place = Where::Caller(at);
                let [p, g] = at.map(|at| (&self.pool.buffers[at.buffer], at.byte as u64));
                param.buffers(p, g)
            });
            new.push((known, storage));
        }
        self.note(format!(
            "add {:?}",
            new.iter().map(|(k, s)| (&k.name, k.len, k.place, s)).collect::<Vec<_>>()
        ));
        let group = match self.optimizer.add_group(rule.boxed(), params) {
            Ok(group) => group,
            // More states than the device binds.
            Err(Error::Limit { .. }) => {
                self.note("refused".into());
                new.iter().for_each(|(known, _)| self.give_up(known.place));
                return;
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(group, self.groups.len());
        let names: Vec<_> = new
            .iter()
            .map(|(known, storage)| (known.name.clone(), known.len, storage.clone()))
            .collect();
        self.twins.add_group(rule.as_ref(), &names);
        self.groups.push(family);
        for (known, _) in new {
            self.params.push(known);
            let param = self.params.len() - 1;
            self.follow_new(param);
            self.fill(param);
        }
    }

    pub(super) fn take(&mut self, known: &Known) -> [At; 2] {
        known.codecs().map(|codec| self.pool.take(&mut self.random, codec.bytes(1) as usize))
    }

    /// Takes over the states of a new parameter, which are the twins' number by number. (In a block
    /// of 8 bits there is more than one 0.)
    pub(super) fn follow_new(&mut self, param: usize) {
        let Known { name, len, formats, states, .. } = &self.params[param];
        for (state, &codec) in states.iter().zip(formats.states.as_slice()) {
            let read = self.optimizer.read_state_bytes(name.as_str(), state).expect("read");
            let found = read.wait().expect("read");
            let expected = self.twins.single.state_bytes(name.as_str(), state).expect("known");
            let [found_values, expected] = [&found, &expected].map(|bytes| {
                let mut values = Vec::new();
                codec.decode(bytes, *len, &mut values);
                values
            });
            assert!(found_values == expected, "{name} {state} before the first step");
            self.twins.follow_state(name, state, &found);
        }
    }

    pub(super) fn give_up(&mut self, place: Where) {
        if let Where::Caller(at) = place {
            at.into_iter().for_each(|at| self.pool.free(at));
        }
    }
}
