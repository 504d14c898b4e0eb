//! Where parameters are makes no difference: not to neighbours, and not to a bit of the result.

use crate::common::cases::{cases, label};
use crate::common::exact::Arrays;
use crate::common::gpu::Gpu;
use crate::common::model::{Model, PLACEMENTS, Placement, name};
use crate::common::random::Random;
use wgpu_optim::{Adam, AdamW, DynRule, Optimizer, Param, wgpu};

/// All arrays of one long parameter, cut into parameters of these lengths, after three steps.
fn run(gpu: &'static Gpu, rule: &dyn DynRule, lens: &[usize], placement: Placement) -> Arrays {
    let total = lens.iter().sum();
    let mut random = Random::new(5);
    let values = random.wide_vec(total, -6.0, 6.0);
    let cut = |values: &[f32]| {
        let mut rest = values;
        let mut parts = Vec::new();
        for &len in lens {
            let (part, left) = rest.split_at(len);
            parts.push(part.to_vec());
            rest = left;
        }
        parts
    };
    let mut model = Model::new(gpu, rule.boxed(), lens, placement).expect("built");
    for (i, part) in cut(&values).iter().enumerate() {
        model.optimizer.set_param(name(i), part).expect("set");
    }
    for _ in 0..3 {
        model.set_grads(&cut(&random.wide_vec(total, -6.0, 6.0)));
        model.step();
    }
    let parts = model.arrays();
    let join = |k: usize| parts.iter().flat_map(|part| part.0[k].clone()).collect();
    Arrays((0..parts[0].0.len()).map(join).collect())
}

fn bits(arrays: &Arrays) -> Vec<Vec<u32>> {
    arrays.0.iter().map(|array| array.iter().map(|x| x.to_bits()).collect()).collect()
}

#[test]
fn splitting_and_moving_parameters_changes_no_bit() {
    let cuts: [&[usize]; 4] = [&[20_001], &[1, 20_000], &[255, 256, 257, 19_233], &[19_999, 0, 2]];
    for rule in cases() {
        let run_plainly = |cut| bits(&run(Gpu::default(), rule.as_ref(), cut, Placement::Arena));
        let uncut = run_plainly(cuts[0]);
        for (index, cut) in cuts.into_iter().enumerate() {
            // Where tensors have trust ratios, others make another result; windows must not.
            let own = (!rule.sums().is_empty()).then(|| run_plainly(cut));
            let expected = own.unwrap_or_else(|| uncut.clone());
            for placement in PLACEMENTS {
                for gpu in [Gpu::default(), Gpu::small_bindings()] {
                    let found = bits(&run(gpu, rule.as_ref(), cut, placement));
                    let rule = label(rule.as_ref());
                    assert!(found == expected, "{rule} {placement:?} cut {index}");
                }
            }
        }
    }
}

/// Two groups of one rule with different numbers, in both orders, share a dispatch and stay apart.
#[test]
fn reordering_groups_changes_no_bit() {
    let gpu = Gpu::default();
    let slow = AdamW { lr: 1e-3, ..Default::default() };
    let fast = AdamW { lr: 1e-1, weight_decay: 0.0, maximize: true, ..Default::default() };
    let run = |reversed: bool| {
        let mut groups = vec![(slow, "slow"), (fast, "fast")];
        if reversed {
            groups.reverse();
        }
        let mut builder = Optimizer::builder();
        for (rule, name) in groups {
            builder = builder.group(rule, [(name, 1000)]);
        }
        let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
        assert_eq!(optimizer.dispatches().expect("ready"), 1);
        let mut random = Random::new(9);
        for name in ["slow", "fast"] {
            optimizer.set_param(name, &random.wide_vec(1000, -3.0, 3.0)).expect("set");
            optimizer.set_grad(name, &random.wide_vec(1000, -3.0, 3.0)).expect("set");
        }
        for _ in 0..3 {
            let mut encoder = gpu.encoder();
            optimizer.step(&mut encoder).expect("recorded");
            gpu.submit(encoder);
        }
        ["slow", "fast"].map(|name| {
            let values = optimizer.read_param(name).and_then(|r| r.wait()).expect("read");
            values.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        })
    };
    let (forward, backward) = (run(false), run(true));
    assert!(forward == backward);
    assert!(forward[0] != forward[1], "the groups' numbers make a difference");
}

/// A model in one parameter buffer and one gradient buffer is one dispatch, whatever its tensors,
/// and so is one whose parameters and gradients share a buffer.
#[test]
fn parameters_that_share_buffers_share_a_dispatch() {
    let gpu = Gpu::default();
    let lens: Vec<_> = (0..500).map(|i| i % 37).collect();
    for (placement, dispatches) in PLACEMENTS.into_iter().zip([1, 486, 1, 1]) {
        let mut model = Model::new(gpu, Adam::default().into(), &lens, placement).expect("built");
        assert_eq!(model.optimizer.dispatches().expect("ready"), dispatches, "{placement:?}");
    }
}

/// The tail of each of many short parameters, packed without a gap in one buffer: the neighbours
/// are other parameters, updated by other threads of the same dispatch.
#[test]
fn tightly_packed_neighbours_survive_each_other() {
    let gpu = Gpu::default();
    let lens: Vec<_> = (0..64).map(|i| 1 + i % 9).collect();
    let total: usize = lens.iter().sum();
    let params = gpu.buffer(&vec![1.0; total]);
    let grads = gpu.buffer(&vec![0.0; total]);
    let mut at = 0;
    let specs = lens.iter().enumerate().map(|(i, &len)| {
        let offset = 4 * at as u64;
        at += len;
        Param::new(name(i), len).buffers((&params, offset), (&grads, offset))
    });
    let mut optimizer = Optimizer::builder()
        .group(AdamW { lr: 1.0, weight_decay: 0.5, ..Default::default() }, specs)
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    for _ in 0..8 {
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).expect("recorded");
        gpu.submit(encoder);
    }
    let expected = 0.5f32.powi(8).to_bits();
    assert!(gpu.read(&params).iter().all(|&bits| bits == expected));
}

/// The arena pads parameters to whole blocks. What is there is nobody's too: an engine may keep
/// its own in it.
#[test]
fn the_arenas_padding_is_not_written() {
    let gpu = Gpu::default();
    for len in [1, 3, 255, 257] {
        let rule = AdamW { lr: 1.0, weight_decay: 0.5, ..Default::default() };
        let mut model = Model::new(gpu, rule.into(), &[len], Placement::Arena).expect("built");
        let buffer = |slices: Vec<wgpu::BufferSlice<'_>>| slices[0].buffer().clone();
        let params = buffer(model.optimizer.param("p0").expect("there"));
        let grads = buffer(model.optimizer.grad("p0").expect("there"));
        // A number, since a NaN would survive arithmetic.
        const CANARY: f32 = 7.25;
        let canaries = vec![CANARY; params.size() as usize / 4];
        gpu.queue.write_buffer(&params, 0, bytemuck::cast_slice(&canaries));
        gpu.queue.write_buffer(&grads, 0, bytemuck::cast_slice(&canaries));
        model.optimizer.set_param("p0", &vec![1.0; len]).expect("set");
        model.optimizer.set_grad("p0", &vec![1.0; len]).expect("set");
        model.step();
        let found = gpu.read(&params);
        assert!(found[..len].iter().all(|&bits| f32::from_bits(bits) == -0.5), "the step happened");
        assert!(found[len..].iter().all(|&bits| bits == CANARY.to_bits()), "length {len}");
    }
}

/// More groups than a uniform buffer holds take another dispatch.
#[test]
fn thousands_of_groups_keep_their_own_numbers() {
    let gpu = Gpu::default();
    let count = 3000;
    let lr = |group: usize| 1.0 / (1.0 + group as f64);
    let mut builder = Optimizer::builder();
    for group in 0..count {
        let rule = AdamW { lr: lr(group), weight_decay: 0.0, ..Default::default() };
        builder = builder.group(rule, [(name(group), 1 + group % 3)]);
    }
    let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
    assert_eq!(optimizer.dispatches().expect("ready"), 3);
    for group in 0..count {
        optimizer.set_grad(name(group), &vec![1.0; 1 + group % 3]).expect("set");
    }
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).expect("recorded");
    gpu.submit(encoder);
    for group in (0..count).step_by(97) {
        let found = optimizer.read_param(name(group)).and_then(|r| r.wait()).expect("read");
        assert!(found.iter().all(|&x| (f64::from(x) / -lr(group) - 1.0).abs() < 1e-6), "{group}");
    }
}
