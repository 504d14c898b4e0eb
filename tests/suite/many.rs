//! Many very short tensors: they share dispatches in which few threads update a block, to the same
//! bits.

use crate::common::gpu::Gpu;
use crate::common::limits::DEFAULTS;
use crate::common::random::Random;
use crate::formats::model::{Model, PLACEMENTS, Placement};
use wgpu_optim::internals::geometry::{
    MANY_NARROW, NARROW, NARROW_THREADS, THREADS_PER_BLOCK, WORKGROUP_SIZE,
};
use wgpu_optim::internals::kernels::Class;
use wgpu_optim::internals::pages::Slot;
use wgpu_optim::internals::placement::{Layout, ParamSpec};
use wgpu_optim::internals::plan::{Dispatch, plan};
use wgpu_optim::internals::{Codec, Formats};
use wgpu_optim::{Adam, Builder, DynRule, Format, LAMB, Lion, Rounding, Storage};

/// Tensors of every short length, this many in all, with some longer ones among them.
fn lens(short: usize) -> Vec<usize> {
    let mut lens = Vec::new();
    for i in 0..short {
        lens.push(1 + i % NARROW as usize);
        if i % 700 == 9 {
            lens.extend([NARROW as usize + 1, 0, 300]);
        }
    }
    lens
}

/// The bits of all parameters after two steps.
fn stepped(
    gpu: &'static Gpu,
    rule: &dyn DynRule,
    storage: &Storage,
    placement: Placement,
    short: usize,
    control: fn(Builder) -> Builder,
) -> Vec<Vec<u32>> {
    let lens = lens(short);
    let mut model = Model::new(gpu, rule, storage, &lens, placement, control);
    // The same numbers for a tensor, however many there are.
    let arrays = |seed: u64| {
        let of = |(i, &len): (u64, &usize)| Random::new(seed + i).wide_vec(len, 1e-2, 2.0);
        (0..).step_by(3).zip(&lens).map(of).collect::<Vec<_>>()
    };
    model.set(0, &arrays(0));
    for seed in [1, 2] {
        model.set(1, &arrays(seed));
        model.step();
    }
    model.check_canaries();
    let names = model.optimizer.params().map(|param| param.id);
    let read = model.optimizer.read_params(names).and_then(|read| read.wait()).expect("read");
    let bits = |values: &Vec<f32>| values.iter().map(|x| x.to_bits()).collect();
    read.iter().map(bits).collect()
}

/// One tensor fewer, and there are no narrow dispatches.
#[test]
fn many_short_tensors_have_the_bits_of_few() {
    let chance = Storage::bf16(Rounding::Stochastic { seed: 3 }).grads(Format::F32);
    let nothing = |builder: Builder| builder;
    let skipping = |builder: Builder| builder.skip_non_finite().zero_grad();
    type Case = (Box<dyn DynRule>, Storage, fn(Builder) -> Builder);
    let cases: [Case; 4] = [
        (Adam::default().into(), Storage::f32(), nothing),
        (Lion::default().into(), chance, nothing),
        (LAMB::default().into(), Storage::bf16(Rounding::Remainder), nothing),
        (Adam::default().into(), Storage::f32().grads(Format::F16), skipping),
    ];
    for (index, (rule, storage, control)) in cases.iter().enumerate() {
        // Every case in the arena and in one of the caller's placements.
        for placement in [PLACEMENTS[0], PLACEMENTS[1 + index % 3]] {
            let gpu = if index == 0 { Gpu::adapter_limits() } else { Gpu::default() };
            let of = |short| stepped(gpu, rule.as_ref(), storage, placement, short, *control);
            let (many, few) = (of(MANY_NARROW), of(MANY_NARROW - 1));
            let different = few.iter().zip(&many).position(|(few, many)| few != many);
            assert_eq!(different, None, "{} {storage:?} {placement:?}", rule.name());
        }
    }
}

/// A frozen tensor's gradient is zeroed, whatever the width of its dispatch.
#[test]
fn frozen_short_tensors_have_their_gradients_zeroed() {
    let gpu = Gpu::default();
    let lens = lens(MANY_NARROW);
    let zeroing = |builder: Builder| builder.zero_grad();
    let rule = Adam::default();
    let storage = Storage::f32();
    let mut model = Model::new(gpu, &rule, &storage, &lens, Placement::Words, zeroing);
    model.set(1, &lens.iter().map(|&len| vec![1.0; len]).collect::<Vec<_>>());
    let ids: Vec<_> = model.optimizer.params().map(|param| param.id).collect();
    model.optimizer.set_frozen(&ids, true).expect("known");
    model.step();
    for index in (0..lens.len()).step_by(61) {
        let read = model.optimizer.read_grad(ids[index]).and_then(|read| read.wait());
        assert_eq!(read.expect("read"), vec![0.0; lens[index]], "{index}");
    }
    model.check_canaries();
}

fn dispatches(lens: &[usize], formats: Formats) -> Vec<Dispatch> {
    let class = Class { index: 0, formats };
    let spec = |(i, &len): (usize, &usize)| ParamSpec {
        name: i.to_string(),
        len: len as u64,
        kernel: 0,
        class,
        places: None,
    };
    let specs: Vec<_> = lens.iter().enumerate().map(spec).collect();
    let mut layout = Layout::new(&DEFAULTS);
    layout.extend(specs, |_| 0, 1).expect("laid out");
    plan(&layout, &vec![Some(Slot { kernel: 0, page: 0, index: 0 }); lens.len()], &DEFAULTS)
}

/// Threads that an update takes.
fn threads(dispatches: &[Dispatch]) -> u64 {
    let of = |dispatch: &Dispatch| {
        let threads = if dispatch.narrow { NARROW_THREADS } else { THREADS_PER_BLOCK };
        let [x, y] = dispatch.grid(threads, &DEFAULTS).map(u64::from);
        x * y * WORKGROUP_SIZE
    };
    dispatches.iter().map(of).sum()
}

#[test]
fn a_short_tensor_takes_few_threads_where_there_are_many() {
    // As many threads a tensor, with a workgroup's to round up to.
    let many = dispatches(&[3; 100_000], Formats::f32(2));
    assert_eq!(many.len(), 1);
    assert!(threads(&many) <= 100_000 * NARROW_THREADS + WORKGROUP_SIZE);

    // Longer ones among them have a dispatch of their own.
    let mixed = dispatches(&lens(MANY_NARROW), Formats::f32(2));
    assert_eq!(mixed.iter().map(|dispatch| dispatch.narrow).collect::<Vec<_>>(), [false, true]);
    let short = |dispatch: &Dispatch| dispatch.pieces.iter().all(|piece| piece.len <= NARROW);
    assert!(short(&mixed[1]) && mixed[0].pieces.iter().all(|piece| piece.len > NARROW));

    // Few are no reason for a dispatch more; and a block of 8 bits is a block's work.
    let few = dispatches(&lens(MANY_NARROW - 1), Formats::f32(2));
    assert_eq!((few.len(), few[0].narrow), (1, false));
    let eight = Storage::f32().states(Format::Block8).min_block8(0);
    let eight = Formats::of(&eight, &Adam::default());
    assert!(eight.states.as_slice().iter().all(|&codec| codec != Codec::F32));
    assert!(dispatches(&[3; 2 * MANY_NARROW], eight).iter().all(|dispatch| !dispatch.narrow));
}
