//! Saved, loaded into a new optimizer and resumed: the same bits as the run that went on.

use super::run::{Order, PARAMS, STORIES, Story, start};
use crate::common::cases::{cases, label};
use crate::common::gpu::Gpu;
use crate::common::steps::Steps;
use wgpu_optim::checkpoint::Snapshot;
use wgpu_optim::optimizer::Optimizer as AnyOptimizer;
use wgpu_optim::{Adam, AdamW, Cpu, CpuOptimizer, DynRule, Format, NAdam, Rounding, SGD, Storage};

const SAVED_AT: u64 = 7;
const STEPS: u64 = 13;

/// Everything, by its bits.
fn bytes<E: Steps>(optimizer: &mut AnyOptimizer<E>) -> Vec<u8> {
    optimizer.save().grads().bytes().expect("saved")
}

/// A run that is saved on the way: the checkpoint, and the one of its end.
fn run<E: Steps>(rule: &dyn DynRule, story: Story) -> [Vec<u8>; 2] {
    let mut optimizer = story.build::<E>(rule, Order::One);
    start(&mut optimizer);
    story.go(&mut optimizer, 0..SAVED_AT);
    let saved = bytes(&mut optimizer);
    story.go(&mut optimizer, SAVED_AT..STEPS);
    [saved, bytes(&mut optimizer)]
}

/// A new optimizer that goes on from a checkpoint to the end.
fn resumed<E: Steps>(rule: &dyn DynRule, story: Story, saved: &[u8], order: Order) -> Vec<u8> {
    let mut optimizer = story.build::<E>(rule, order);
    optimizer.load().bytes(saved).unwrap_or_else(|error| panic!("{}: {error}", label(rule)));
    story.go(&mut optimizer, SAVED_AT..STEPS);
    bytes(&mut optimizer)
}

fn walk<E: Steps>() {
    for rule in cases() {
        for story in STORIES {
            let [saved, end] = run::<E>(rule.as_ref(), story);
            let found = resumed::<E>(rule.as_ref(), story, &saved, Order::One);
            assert!(found == end, "{story:?} {}", label(rule.as_ref()));
        }
    }
}

#[test]
fn a_resumed_run_has_the_bits_of_one_that_went_on_on_the_cpu() {
    walk::<Cpu<f32>>();
    walk::<Cpu<f64>>();
}

#[test]
fn a_resumed_run_has_the_bits_of_one_that_went_on_on_the_gpu() {
    walk::<wgpu_optim::Gpu>();
}

/// What an optimizer tells of each parameter, whatever its group and order.
fn by_name<E: Steps>(optimizer: &mut AnyOptimizer<E>, states: &[&str]) -> Vec<Vec<u8>> {
    let saved = bytes(optimizer);
    let file = safetensors::SafeTensors::deserialize(&saved).expect("a safetensors file");
    let of = |(name, _): &(&str, &[usize])| {
        let states = states.iter().map(move |state| format!("state.{name}.{state}"));
        [format!("param.{name}")].into_iter().chain(states).collect::<Vec<_>>()
    };
    let keys = PARAMS.iter().flat_map(of);
    keys.map(|key| file.tensor(&key).expect("there").data().to_vec()).collect()
}

#[test]
fn grouping_and_order_do_not_matter() {
    let rule = Adam { amsgrad: true, ..Default::default() };
    let states = ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"];
    let [saved, end] = run::<Cpu<f32>>(&rule, Story::All);
    let mut expected = Story::All.build::<Cpu<f32>>(&rule, Order::One);
    expected.load().bytes(&end).expect("loaded");
    let expected = by_name(&mut expected, &states);
    let mut optimizer = Story::All.build::<Cpu<f32>>(&rule, Order::Two);
    optimizer.load().bytes(&saved).expect("loaded");
    Story::All.go(&mut optimizer, SAVED_AT..STEPS);
    assert_eq!(by_name(&mut optimizer, &states), expected);
    let found = resumed::<wgpu_optim::Gpu>(&rule, Story::All, &saved, Order::Two);
    let again = resumed::<wgpu_optim::Gpu>(&rule, Story::All, &saved, Order::Two);
    assert_eq!(found, again);
}

/// From the GPU to the CPU and back: nothing is lost on the way.
#[test]
fn engines_read_each_others_files() {
    for rule in cases() {
        let [saved, end] = run::<wgpu_optim::Gpu>(rule.as_ref(), Story::All);
        let mut on_cpu = Story::All.build::<Cpu<f32>>(rule.as_ref(), Order::One);
        on_cpu.load().bytes(&saved).expect("loaded");
        let over_cpu = bytes(&mut on_cpu);
        assert!(over_cpu == saved, "{}", label(rule.as_ref()));
        let found = resumed::<wgpu_optim::Gpu>(rule.as_ref(), Story::All, &over_cpu, Order::One);
        assert!(found == end, "{}", label(rule.as_ref()));
    }
}

/// f32 is widened to f64 unasked; f64 becomes f32 only where that is asked for.
#[test]
fn f64_takes_f32() {
    let [saved, _] = run::<Cpu<f32>>(&Adam::default(), Story::Plain);
    let mut wide = Story::Plain.build::<Cpu<f64>>(&Adam::default(), Order::One);
    wide.load().bytes(&saved).expect("loaded");
    let wide = bytes(&mut wide);
    let mut narrow = Story::Plain.build::<Cpu<f32>>(&Adam::default(), Order::One);
    let refused = narrow.load().bytes(&wide).expect_err("f64 does not fit").to_string();
    assert!(refused.contains("F64") && refused.contains("`convert`"), "{refused}");
    narrow.load().convert().bytes(&wide).expect("converted");
    assert!(bytes(&mut narrow) == saved);
}

fn storages() -> Vec<Storage> {
    let masters = [Rounding::Nearest, Rounding::Master, Rounding::Kahan];
    let bf16 = [Rounding::Stochastic { seed: 5 }, Rounding::Remainder].into_iter().chain(masters);
    let bf16 = bf16.map(Storage::bf16);
    let all = bf16.chain(masters.map(Storage::f16)).chain([Storage::f32()]);
    all.flat_map(|storage| {
        [
            storage.clone(),
            storage.clone().states(Format::Block8).min_block8(0),
            storage.clone().states(Format::Companded8).min_block8(0),
            storage.grads(Format::F32).states(Format::Bf16),
        ]
    })
    .collect()
}

fn stored<E: Steps>(rule: &dyn DynRule, storage: &Storage) -> AnyOptimizer<E> {
    let params = PARAMS.map(|(name, shape)| wgpu_optim::optimizer::Param::new(name, shape));
    let builder = wgpu_optim::optimizer::Builder::<E>::default().group(rule.boxed(), params);
    E::build(builder.storage("*", storage.clone()))
}

/// Parameters, what is kept beside them and states are saved as they are stored, on both engines.
#[test]
fn sixteen_and_eight_bits_are_saved_as_they_are_stored() {
    let rules: [&dyn DynRule; 2] =
        [&AdamW::default(), &SGD { momentum: 0.9, ..Default::default() }];
    for storage in storages() {
        for rule in rules {
            let mut optimizer = stored::<wgpu_optim::Gpu>(rule, &storage);
            start(&mut optimizer);
            Story::Plain.go(&mut optimizer, 0..SAVED_AT);
            let saved = bytes(&mut optimizer);
            let mut on_cpu = stored::<Cpu<f32>>(rule, &storage);
            on_cpu.load().bytes(&saved).expect("loaded");
            let over_cpu = bytes(&mut on_cpu);
            assert!(over_cpu == saved, "{storage:?}");
            let mut resumed = stored::<wgpu_optim::Gpu>(rule, &storage);
            resumed.load().bytes(&over_cpu).expect("loaded");
            for optimizer in [&mut optimizer, &mut resumed] {
                Story::Plain.go(optimizer, SAVED_AT..STEPS);
            }
            assert!(bytes(&mut resumed) == bytes(&mut optimizer), "{storage:?}");
        }
    }
}

/// bf16 with a remainder stands for an f32, which an f32 parameter takes over, and back.
#[test]
fn formats_are_converted_on_demand() {
    let rule = AdamW::default();
    let storage = Storage::bf16(Rounding::Remainder).states(Format::Bf16);
    let mut optimizer = stored::<Cpu<f32>>(&rule, &storage);
    start(&mut optimizer);
    Story::Plain.go(&mut optimizer, 0..SAVED_AT);
    let saved = bytes(&mut optimizer);
    let mut plain = stored::<Cpu<f32>>(&rule, &Storage::f32());
    let refused = plain.load().bytes(&saved).expect_err("stored otherwise").to_string();
    assert!(refused.contains("bf16 with param_remainder"), "{refused}");
    plain.load().convert().bytes(&saved).expect("converted");
    for (name, _) in PARAMS {
        let param = optimizer.param(name).expect("there").to_vec();
        let exact = plain.param(name).expect("there").to_vec();
        let rounded = |x: &f32| f32::from_bits((x.to_bits() + 0x8000) & 0xffff_0000);
        assert_eq!(exact.iter().map(rounded).collect::<Vec<_>>(), param, "{name}");
        let [kept, own] =
            [&optimizer, &plain].map(|o| o.state(name, "exp_avg").expect("kept").to_vec());
        assert_eq!(kept, own, "{name}");
    }
    let there = plain.param("embed.weight").expect("there").to_vec();
    assert!(there.iter().any(|x| x.to_bits() & 0xffff != 0), "remainders were lost");
    let back = bytes(&mut plain);
    optimizer.load().convert().bytes(&back).expect("converted");
    assert!(bytes(&mut optimizer) == saved);
}

#[test]
fn counts_beyond_what_f32_holds_are_saved() {
    let mut optimizer = Story::Plain.build::<Cpu<f32>>(&Adam::default(), Order::One);
    let steps = [(1 << 24) - 1, 1 << 24, (1 << 24) + 1, u64::from(u32::MAX), 0];
    for ((name, _), steps) in PARAMS.iter().zip(steps) {
        optimizer.set_steps(*name, steps).expect("set");
    }
    let saved = bytes(&mut optimizer);
    let mut other = Story::Plain.build::<Cpu<f32>>(&Adam::default(), Order::One);
    other.load().bytes(&saved).expect("loaded");
    for ((name, _), steps) in PARAMS.iter().zip(steps) {
        assert_eq!(other.steps(*name), Ok(steps));
    }
}

/// Two parameters with as many steps but another `mu_product` go on as they were.
#[test]
fn scalars_are_kept_by_parameter() {
    let mut optimizer = Story::Plain.build::<Cpu<f64>>(&NAdam::default(), Order::One);
    start(&mut optimizer);
    optimizer.set_frozen(["layers.0.bias"], true).expect("known");
    Story::Plain.go(&mut optimizer, 0..3);
    let slower = NAdam { betas: (0.5, 0.999), ..Default::default() };
    optimizer.set_rule(0, slower).expect("set");
    optimizer.set_frozen(["layers.0.bias"], false).expect("known");
    optimizer.set_frozen(["layers.0.weight"], true).expect("known");
    Story::Plain.go(&mut optimizer, 3..6);
    let Snapshot { parameters, .. } = optimizer.snapshot().expect("told");
    let products: Vec<_> = parameters.iter().map(|p| (p.steps, p.scalars["mu_product"])).collect();
    assert_eq!((products[1].0, products[2].0), (3, 3));
    assert_ne!(products[1].1, products[2].1);
    let saved = bytes(&mut optimizer);
    let mut other = Story::Plain.build::<Cpu<f64>>(&NAdam::default(), Order::One);
    other.load().bytes(&saved).expect("loaded");
    for optimizer in [&mut optimizer, &mut other] {
        optimizer.set_frozen(["layers.0.weight"], false).expect("known");
        Story::Plain.go(optimizer, 6..9);
    }
    assert!(bytes(&mut optimizer) == bytes(&mut other));
}

#[test]
fn an_accumulation_is_saved_half_way() {
    let mut optimizer = Story::Plain.build::<Cpu<f32>>(&Adam::default(), Order::One);
    optimizer.set_micro_batches(4).expect("set");
    optimizer.set_grad("temperature", &[0.25]).expect("set");
    let saved = optimizer.save().grads().user("micro_batch", "2").bytes().expect("saved");
    let mut other = Story::Plain.build::<Cpu<f32>>(&Adam::default(), Order::One);
    let loaded = other.load().bytes(&saved).expect("loaded");
    assert_eq!(loaded.user["micro_batch"], "2");
    assert_eq!(other.grad_mut("temperature").expect("there").to_vec(), [0.25]);
    let mut expected = optimizer;
    for optimizer in [&mut expected, &mut other] {
        optimizer.step().expect("stepped");
    }
    assert_eq!(bytes(&mut expected), bytes(&mut other));
}

/// A step whose commands have not run would be half in the file: its count, not its numbers.
#[test]
fn a_recorded_step_that_has_not_run_is_refused() {
    let gpu = Gpu::default();
    let mut optimizer = Story::Plain.build::<wgpu_optim::Gpu>(&Adam::default(), Order::One);
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).expect("recorded");
    let refused = optimizer.save().bytes().expect_err("not run").to_string();
    assert!(refused.contains("every recorded step to have run"), "{refused}");
    gpu.submit(encoder);
    optimizer.save().bytes().expect("saved");
    let mut dropped = gpu.encoder();
    optimizer.step(&mut dropped).expect("recorded");
    drop(dropped);
    optimizer.save().bytes().expect("saved");
}

/// Small chunks, one after another: the same bytes, waited for or awaited.
#[test]
fn chunks_are_the_same_bytes() {
    let storage = Storage::f32().states(Format::Block8).min_block8(0);
    let mut optimizer = stored::<wgpu_optim::Gpu>(&Adam::default(), &storage);
    start(&mut optimizer);
    Story::Plain.go(&mut optimizer, 0..3);
    let whole = optimizer.save().bytes().expect("saved");
    let mut told = Vec::new();
    let chunked =
        optimizer.save().chunk_bytes(1).progress(|done, total| told.push((done, total))).bytes();
    assert_eq!(chunked.expect("saved"), whole);
    assert!(told.len() > 10, "{told:?}");
    assert_eq!(told.last(), Some(&(whole.len() as u64, whole.len() as u64)));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let awaited = std::thread::scope(|scope| {
        let polls = || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                Gpu::default().device.poll(wgpu_optim::wgpu::PollType::Poll).expect("polled");
            }
        };
        scope.spawn(polls);
        let mut awaited = Vec::new();
        let mut chunks = optimizer.save().chunk_bytes(1000).chunks();
        while let Some(chunk) = pollster::block_on(chunks.next_chunk()) {
            awaited.extend(chunk.expect("there"));
        }
        let at_once = optimizer.save().chunk_bytes(1000).bytes_async();
        let at_once = pollster::block_on(at_once);
        let snapshot = pollster::block_on(optimizer.snapshot_async());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (awaited, at_once, snapshot)
    });
    let (awaited, at_once, snapshot) = awaited;
    assert_eq!(awaited, whole);
    assert_eq!(at_once.expect("saved"), whole);
    assert_eq!(snapshot.expect("told"), optimizer.snapshot().expect("told"));
}

/// Parameters in buffers of the caller's, at odd offsets, larger than a binding.
#[test]
fn placements_do_not_matter() {
    use crate::common::model::{Model, PLACEMENTS, Placement};
    use crate::common::random::Random;
    let lens = [0, 1, 257, 65_537];
    let mut files = Vec::new();
    for gpu in [Gpu::default(), Gpu::small_bindings()] {
        for placement in PLACEMENTS {
            let lens = if placement == Placement::Aligned { [0, 4, 260, 65_540] } else { lens };
            let new = || Model::new(gpu, AdamW::default().into(), &lens, placement).expect("built");
            let mut model = new();
            let mut random = Random::new(3);
            model.randomize(&mut random, -2.0, 0.0);
            let grads: Vec<_> = lens.iter().map(|&len| random.wide_vec(len, -2.0, 0.0)).collect();
            model.set_grads(&grads);
            model.step();
            let saved = model.optimizer.save().chunk_bytes(100_000).bytes().expect("saved");
            let mut other = new();
            other.optimizer.load().bytes(&saved).expect("loaded");
            assert_eq!(other.bits(), model.bits(), "{placement:?}");
            other.check_canaries();
            if placement != Placement::Aligned {
                files.push(saved);
            }
        }
    }
    assert!(files.iter().all(|file| *file == files[0]));
}

/// Buffers that cannot be copied from or to, and buffers that are gone: an `Err`, and nothing has
/// changed.
#[test]
fn buffers_that_cannot_be_copied_are_refused() {
    use wgpu_optim::{Optimizer, Param, wgpu::BufferUsages};
    let gpu = Gpu::default();
    let buffer = |usage| {
        let usage = usage | BufferUsages::STORAGE;
        gpu.device.create_buffer(&wgpu_optim::wgpu::BufferDescriptor {
            label: None,
            size: 16,
            usage,
            mapped_at_creation: false,
        })
    };
    let build = |usage| {
        let (param, grad) = (buffer(usage), buffer(usage));
        let builder = Optimizer::builder().group(
            Adam::default(),
            [Param::new("own", 3), Param::new("mine", 4).buffers(&param, &grad)],
        );
        builder.build(&gpu.device, &gpu.queue).expect("built")
    };
    let mut whole = build(BufferUsages::COPY_SRC | BufferUsages::COPY_DST);
    whole.set_param("own", &[1.0, 2.0, 3.0]).expect("set");
    let saved = whole.save().bytes().expect("saved");
    let mut unread = build(BufferUsages::COPY_DST);
    let refused = unread.save().bytes().expect_err("no COPY_SRC").to_string();
    assert!(refused.contains("`mine`") && refused.contains("COPY_SRC"), "{refused}");
    unread.save().without_params().bytes().expect("states are the optimizer's own");
    let mut unwritten = build(BufferUsages::COPY_SRC);
    let before = unwritten.save().bytes().expect("saved");
    let refused = unwritten.load().bytes(&saved).expect_err("no COPY_DST").to_string();
    assert!(refused.contains("`mine`") && refused.contains("COPY_DST"), "{refused}");
    assert!(unwritten.save().bytes().expect("saved") == before);
    unwritten.load().without_params().bytes(&saved).expect("loaded");
    whole.remove_buffers(["mine"]).expect("removed");
    for refused in [whole.save().bytes().err(), whole.load().bytes(&saved).err()] {
        let refused = refused.expect("its buffers are gone").to_string();
        assert!(refused.contains("`mine`") && refused.contains("`set_buffers`"), "{refused}");
    }
}

/// Every field of a rule is told, so that no hyperparameter is lost.
#[test]
fn rules_tell_all_their_hyperparameters() {
    for rule in cases() {
        let mut rule = rule.boxed();
        let debug = format!("{rule:?}");
        let told: Vec<_> = rule.hyperparameters().iter().map(|(name, _)| *name).collect();
        let fields: Vec<_> =
            debug.split([' ', '{']).filter_map(|word| word.strip_suffix(':')).collect();
        assert_eq!(told, fields, "{}", rule.name());
    }
}

/// A rule of a user's own that tells nothing resumes too, with its learning rate.
#[test]
fn a_rule_that_tells_nothing_resumes() {
    let mut optimizer: CpuOptimizer<f32> =
        CpuOptimizer::builder().group(Silent(0.5), [("w", 3)]).build().expect("built");
    optimizer.set_lr(0, 0.25).expect("set");
    let saved = optimizer.save().bytes().expect("saved");
    let mut other: CpuOptimizer<f32> =
        CpuOptimizer::builder().group(Silent(0.5), [("w", 3)]).build().expect("built");
    other.load().bytes(&saved).expect("loaded");
    assert_eq!(other.rule(0).expect("there").lr(), 0.25);
    assert_eq!(other.save().bytes().expect("saved"), saved);
}

wgpu_optim::fields! {
    /// One number.
    pub struct One { lr }
}

#[derive(Debug, Clone)]
struct Silent(f64);

impl wgpu_optim::Rule for Silent {
    const NAME: &'static str = "silent";
    const WGSL: &'static str = "";
    type Coeffs<T: Copy> = One<T>;
    type State<T: Copy> = One<T>;
    type Sums<T: Copy> = wgpu_optim::NoSums;

    fn lr(&self) -> f64 {
        self.0
    }
    fn set_lr(&mut self, lr: f64) {
        self.0 = lr;
    }
    fn coeffs<N: wgpu_optim::Number>(&self, _: wgpu_optim::Step<N>, _: &[N]) -> One<N> {
        One { lr: self.0.into() }
    }
    fn update<T: wgpu_optim::Real>(&self, c: &One<T>, p: T, g: T, _: &mut One<T>) -> T {
        p - c.lr * g
    }
}
