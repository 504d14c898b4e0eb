//! An optimizer on the GPU with its twins, and everything that can be done with it.

use super::pool::{At, MOST_ELEMENTS, Pool};
use super::twins::{Control, Twins, both, told};
use crate::common::gpu::Gpu;
use crate::common::random::Random;
use crate::formats::bounds::{self, Stored};
use crate::formats::storages;
use wgpu_optim::internals::{Codec, Formats};
use wgpu_optim::optimizer::{Builder, Engine};
use wgpu_optim::{
    Cpu, DynRule, Error, GradScaler, Optimizer, Param, Place, Real, Storage, rules, wgpu,
};

/// The most parameters of a subject: each is read after each step.
const MOST_PARAMS: usize = 10;

/// What is asked for around the steps.
#[derive(Debug, Clone, Copy)]
pub enum Around {
    Nothing,
    Zeroing,
    Value,
    Norm,
    Skipping,
    Scaling,
}

const AROUND: [Around; 6] = [
    Around::Nothing,
    Around::Zeroing,
    Around::Value,
    Around::Norm,
    Around::Skipping,
    Around::Scaling,
];

impl Around {
    fn apply<E: Engine>(self, builder: Builder<E>) -> Builder<E> {
        let scaler = GradScaler { init_scale: 8.0, growth_interval: 3, ..Default::default() };
        match self {
            Self::Nothing => builder,
            Self::Zeroing => builder.zero_grad(),
            Self::Value => builder.clip_grad_value(2.0),
            Self::Norm => builder.clip_grad_norm(5.0),
            Self::Skipping => builder.skip_non_finite().statistics(),
            Self::Scaling => {
                builder.grad_scaler(scaler).clip_grad_norm(5.0).statistics().zero_grad()
            }
        }
    }

    fn skips(self) -> bool {
        matches!(self, Self::Skipping | Self::Scaling)
    }

    fn zeroes(self) -> bool {
        matches!(self, Self::Zeroing | Self::Scaling)
    }

    fn decides(self) -> bool {
        self.skips() || matches!(self, Self::Norm)
    }
}

impl Control for Around {
    fn control<T: Real>(&self, builder: Builder<Cpu<T>>) -> Builder<Cpu<T>> {
        self.apply(builder)
    }
}

/// Where a parameter and its gradient are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Arena,
    Caller([At; 2]),
    Nowhere,
}

/// What is known of a parameter, beside what the twins know.
struct Known {
    name: String,
    len: usize,
    formats: Formats,
    /// All states by name, with what is kept beside a 16-bit parameter as the last.
    states: Vec<&'static str>,
    place: Where,
    grad: Vec<f32>,
}

impl Known {
    fn codecs(&self) -> [Codec; 2] {
        [self.formats.param, self.formats.grad]
    }
}

pub struct Subject {
    gpu: &'static Gpu,
    random: Random,
    around: Around,
    optimizer: Optimizer,
    twins: Twins,
    pool: Pool,
    /// Two rules; groups have one or the other.
    rules: [Box<dyn DynRule>; 2],
    /// Which of them each group has.
    groups: Vec<usize>,
    params: Vec<Known>,
    steps: u32,
    /// What was done, to be told where something fails.
    pub log: Vec<String>,
}

/// Rates at which no step undoes what the bounds tell apart.
const RATE: f64 = 1e-3;

impl Subject {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let gpu = match random.next() % 4 {
            0 => Gpu::small_bindings(),
            1 => Gpu::adapter_limits(),
            _ => Gpu::default(),
        };
        let around = AROUND[random.next() as usize % AROUND.len()];
        let all = rules::all();
        let first = random.next() as usize % all.len();
        let second = (first + 1 + random.next() as usize % (all.len() - 1)) % all.len();
        let rules = [&all[first], &all[second]].map(|rule| {
            let mut rule = rule.boxed();
            rule.set_lr(RATE);
            rule
        });
        let builder = around.apply(Optimizer::builder());
        let optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
        let twins = Twins::new(&around);
        let (pool, names) = (Pool::new(gpu), rules.each_ref().map(|rule| rule.name()));
        let log = vec![format!("{around:?} {names:?}")];
        let (groups, params) = Default::default();
        let mut subject = Self {
            gpu,
            random,
            around,
            optimizer,
            twins,
            pool,
            rules,
            groups,
            params,
            steps: 0,
            log,
        };
        while subject.params.is_empty() {
            subject.add_group();
        }
        subject
    }

    /// Does one thing, chosen by chance.
    pub fn act(&mut self) {
        match self.random.next() % 32 {
            0..9 => self.step(),
            9..11 => self.drop_step(),
            11..13 => self.add_group(),
            13..16 => self.set_frozen(),
            16 | 17 => self.move_to_group(),
            18..21 => self.set_buffers(),
            21 => self.remove_buffers(),
            22 => self.set_values(),
            23 => self.set_states(),
            24 => self.set_steps(),
            25 => self.set_rates(),
            26 => self.set_around(),
            27 => self.statistics(),
            28 => self.zero_grad(),
            29 => self.check_all(),
            _ => self.be_refused(),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.next() as usize % bound.max(1)
    }

    fn note(&mut self, what: String) {
        self.log.push(what);
    }

    /// A parameter, if there is one.
    fn any(&mut self) -> usize {
        self.below(self.params.len())
    }

    fn values(&mut self, len: usize) -> Vec<f32> {
        self.random.wide_vec(len, 1e-3, 2.0)
    }

    fn add_group(&mut self) {
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

    fn take(&mut self, known: &Known) -> [At; 2] {
        known.codecs().map(|codec| self.pool.take(&mut self.random, codec.bytes(1) as usize))
    }

    /// Takes over the states of a new parameter, which are the twins' number by number. (In a block
    /// of 8 bits there is more than one 0.)
    fn follow_new(&mut self, param: usize) {
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

    fn give_up(&mut self, place: Where) {
        if let Where::Caller(at) = place {
            at.into_iter().for_each(|at| self.pool.free(at));
        }
    }

    /// Gives a parameter new values and a new gradient.
    fn fill(&mut self, param: usize) {
        let values = self.values(self.params[param].len);
        self.set_param(param, &values);
        self.set_grad(param);
    }

    fn set_param(&mut self, param: usize, values: &[f32]) {
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
    fn write_back(&self, param: usize, array: usize) {
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
    fn write_kept(&mut self, param: usize) {
        let Known { name, formats, .. } = &self.params[param];
        let Some(state) = formats.keeping.state() else { return };
        let bytes = self.twins.single.state_bytes(name.as_str(), state).expect("known");
        self.optimizer.set_state_bytes(name.as_str(), state, &bytes).expect("set");
    }

    fn set_grad(&mut self, param: usize) {
        let values = self.values(self.params[param].len);
        self.set_grad_to(param, &values);
    }

    fn set_grad_to(&mut self, param: usize, values: &[f32]) {
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

    /// What the GPU has of a parameter that has a place.
    fn stored(&self, param: usize) -> Stored {
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

    fn has_place(&self, param: usize) -> bool {
        self.params[param].place != Where::Nowhere || self.params[param].len == 0
    }

    /// Panics unless the GPU has what the twin has, bit for bit: nothing but a step changes it.
    fn check(&self, param: usize) {
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
    fn different(&self, found: &Stored, expected: &Stored) -> Option<(usize, f32, f32)> {
        let pairs = found.param.iter().zip(&expected.param).enumerate();
        pairs.map(|(i, (&a, &b))| (i, a, b)).find(|(_, a, b)| a.to_bits() != b.to_bits())
    }

    fn check_all(&mut self) {
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

    fn check_steps(&self) {
        let found = self.optimizer.read_steps().and_then(|read| read.wait()).expect("read");
        for (known, found) in self.params.iter().zip(found) {
            let name = known.name.as_str();
            assert_eq!(found, self.twins.single.steps(name).expect("known"), "steps of {name}");
            let frozen = self.twins.single.is_frozen(name).expect("known");
            assert_eq!(self.optimizer.is_frozen(name).expect("known"), frozen, "{name}");
        }
    }

    fn step(&mut self) {
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

    /// The gradients are zero now.
    fn forget_grads(&mut self) {
        self.params.iter_mut().for_each(|known| known.grad.fill(0.0));
    }

    /// Puts something that is not finite into a gradient.
    fn spoil(&mut self) {
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

    /// Compares a step's result with the twins', which take it over.
    fn compare(&mut self, param: usize, before: &Stored) {
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
        for (precision, twin) in [("f32", &in_f32), ("f64", &in_f64)] {
            let label = format!("{name} in {precision}");
            bounds::check_signed(&label, formats, before, [&found, twin], opposite);
        }
        self.twins.follow(name, states, &found);
    }

    /// A step whose commands are dropped. Where the GPU skips steps it never was; elsewhere the
    /// host has counted it.
    fn drop_step(&mut self) {
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

    fn set_steps_to(&mut self, name: &str, steps: u64) {
        self.optimizer.set_steps(name, steps).expect("known");
        both!(self.twins, |twin| told(twin.set_steps(name, steps))).expect("known");
    }

    fn set_steps(&mut self) {
        let param = self.any();
        let name = self.params[param].name.clone();
        let steps = [0, 1, 2, 9, 1000][self.below(5)];
        self.note(format!("steps {name} {steps}"));
        self.set_steps_to(&name, steps);
    }

    fn set_frozen(&mut self) {
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

    fn move_to_group(&mut self) {
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
    fn set_buffers(&mut self) {
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

    fn remove_buffers(&mut self) {
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

    fn set_values(&mut self) {
        let param = self.any();
        self.note(format!("values {}", self.params[param].name));
        self.fill(param);
    }

    /// Sets a parameter's states to 0, or to the bytes that they have.
    fn set_states(&mut self) {
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

    fn set_rates(&mut self) {
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

    fn set_around(&mut self) {
        let count = 1 + self.below(3) as u32;
        self.note(format!("micro batches {count}"));
        self.optimizer.set_micro_batches(count).expect("in range");
        both!(self.twins, |twin| told(twin.set_micro_batches(count))).expect("in range");
        let norm = 1.0 + self.below(9) as f64;
        let found = told(self.optimizer.set_clip_grad_norm(norm));
        assert_eq!(found, both!(self.twins, |twin| told(twin.set_clip_grad_norm(norm))));
    }

    fn statistics(&mut self) {
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

    fn zero_grad(&mut self) {
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

    /// What makes no sense is refused, and changes nothing.
    fn be_refused(&mut self) {
        let param = self.any();
        let known = &self.params[param];
        let name = known.name.as_str();
        let optimizer = &mut self.optimizer;
        let rule = self.rules[0].boxed();
        let nobody = wgpu::BufferUsages::STORAGE;
        let short = self.gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("too short"),
            size: 4,
            usage: nobody,
            mapped_at_creation: false,
        });
        let choice = self.random.next() % 8;
        self.log.push(format!("refused {choice} {name}"));
        let refused: Result<(), Error> = match choice {
            0 => optimizer.add_group(rule, [("new", 700), (name, 3)]).map(|_| ()),
            1 => {
                let new = Param::new("new", 700).buffers(&short, &short);
                optimizer.add_group(rule, [Param::new("newer", 3), new]).map(|_| ())
            }
            2 => optimizer.set_steps(name, 1 << 32),
            3 => optimizer.set_lr(self.groups.len(), RATE),
            4 => optimizer.set_lr(0, f64::NAN),
            5 => optimizer.set_frozen([name, "nobody"], true),
            6 => optimizer.set_grad(name, &vec![0.0; known.len + 1]),
            _ => {
                // Two of the caller's parameters at one place.
                let nonempty =
                    self.params.iter().filter(|known| known.len > 1 && known.place != Where::Arena);
                let names: Vec<_> = nonempty.map(|known| known.name.as_str()).collect();
                let [first, second, ..] = names[..] else { return };
                let [a, b] = self.pool.buffers.each_ref();
                optimizer.set_buffers([
                    (first, Place::new((a, 0), (b, 0))),
                    (second, Place::new((a, 0), (b, 0))),
                ])
            }
        };
        refused.expect_err("it makes no sense");
    }
}

/// Whether the host can write such an array.
fn whole_words(codec: Codec, at: At, len: usize) -> bool {
    let end = at.byte as u64 + codec.bytes(len as u64);
    len == 0 || at.byte.is_multiple_of(4) && end.is_multiple_of(4)
}
