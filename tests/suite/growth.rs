//! Groups that are added one by one join the buffers of those before them.

use crate::common::gpu::Gpu;
use crate::common::random::Random;
use wgpu_optim::{Adam, DynRule, Format, Optimizer, Param, Rounding, Rprop, Storage, wgpu};

const GROUPS: usize = 251;

/// 3 blocks: of 8 bits, every second state starts at an odd word.
const LEN: usize = 700;

fn name(group: usize) -> String {
    format!("g{group}")
}

fn param(group: usize, storage: &Storage) -> Param {
    Param::new(name(group), LEN).storage(storage.clone())
}

/// All groups, built at once or added one by one.
fn made(gpu: &Gpu, rule: &dyn DynRule, storage: &Storage, at_once: usize) -> Optimizer {
    let builder = (0..at_once).fold(Optimizer::builder(), |builder, group| {
        builder.group(rule.boxed(), [param(group, storage)])
    });
    let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
    for group in at_once..GROUPS {
        optimizer.add_group(rule.boxed(), [param(group, storage)]).expect("added");
    }
    optimizer
}

/// The bits of all parameters and states after two steps.
fn stepped(gpu: &Gpu, optimizer: &mut Optimizer) -> Vec<Vec<u8>> {
    let mut random = Random::new(1);
    for _ in 0..2 {
        for group in 0..GROUPS {
            let grad = random.wide_vec(LEN, -2.0, 2.0);
            optimizer.set_grad(name(group), &grad).expect("set");
        }
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).expect("recorded");
        gpu.submit(encoder);
    }
    let params = (0..GROUPS).map(|group| {
        let values = optimizer.read_param(name(group)).and_then(|r| r.wait()).expect("read");
        bytemuck::pod_collect_to_vec(&values)
    });
    let states: Vec<_> = optimizer.rule(0).expect("one").states().iter().map(|s| s.name).collect();
    let read = |group, state| {
        optimizer.read_state_bytes(name(group), state).and_then(|r| r.wait()).expect("read")
    };
    let states = (0..GROUPS).flat_map(|group| states.iter().map(move |state| (group, *state)));
    params.chain(states.map(|(group, state)| read(group, state))).collect()
}

/// The arena's buffers for parameters.
fn arena(optimizer: &Optimizer) -> Vec<wgpu::Buffer> {
    let mut buffers: Vec<wgpu::Buffer> = Vec::new();
    for group in 0..GROUPS {
        for slice in optimizer.param(name(group)).expect("known") {
            if !buffers.contains(slice.buffer()) {
                buffers.push(slice.buffer().clone());
            }
        }
    }
    buffers
}

#[test]
fn groups_added_one_by_one_share_dispatches_and_are_as_if_built_at_once() {
    let gpu = Gpu::default();
    let eight = Storage::f32().states(Format::Block8).min_block8(0);
    let cases: [(Box<dyn DynRule>, Storage); 3] = [
        (Adam::default().into(), Storage::f32()),
        // States that start at another number than 0.
        (Rprop::default().into(), Storage::f32()),
        (Rprop::default().into(), eight),
    ];
    for (rule, storage) in cases {
        let mut at_once = made(gpu, rule.as_ref(), &storage, GROUPS);
        let mut grown = made(gpu, rule.as_ref(), &storage, 1);
        assert_eq!(at_once.dispatches().expect("ready"), 1);
        let dispatches = grown.dispatches().expect("ready");
        assert!(dispatches <= 10, "{dispatches}");
        assert!(stepped(gpu, &mut at_once) == stepped(gpu, &mut grown), "{}", rule.name());
        let padded = (4 * LEN.next_multiple_of(256) * GROUPS) as u64;
        let sizes = |optimizer| arena(optimizer).iter().map(wgpu::Buffer::size).collect::<Vec<_>>();
        assert_eq!(sizes(&at_once), [padded], "no room where nothing was added");
        let held: u64 = sizes(&grown).iter().sum();
        assert!(held <= 2 * padded, "{held}");
    }
}

#[test]
fn growth_moves_no_parameter() {
    let gpu = Gpu::default();
    let rule = Adam::default();
    let place = |optimizer: &Optimizer, group: usize| {
        let slices = optimizer.param(name(group)).expect("known");
        slices.iter().map(|s| (s.buffer().clone(), s.offset(), s.size())).collect::<Vec<_>>()
    };
    let builder = Optimizer::builder().group(rule, [param(0, &Storage::f32())]);
    let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
    let mut places = vec![place(&optimizer, 0)];
    for group in 1..20 {
        optimizer.add_group(rule, [param(group, &Storage::f32())]).expect("added");
        // What is refused takes no room.
        let twice = [param(group + 1, &Storage::f32()), param(0, &Storage::f32())];
        optimizer.add_group(rule, twice).expect_err("a name twice");
        places.push(place(&optimizer, group));
        for (group, before) in places.iter().enumerate() {
            assert!(place(&optimizer, group) == *before, "{group} has moved");
        }
    }
}

/// What adding a group allocates on the host, and counts of the optimizer's parameters.
fn allocated(optimizer: &mut Optimizer, name: &str, buffer: Option<&wgpu::Buffer>) -> u64 {
    let index: u64 = name.parse().expect("a number");
    let place = |param: Param| match buffer {
        Some(buffer) => param.buffers((buffer, 64 * index), (buffer, 64 * index + 32)),
        None => param,
    };
    let rule = Adam::default();
    let counted = allocation_counter::measure(|| {
        optimizer.add_group(rule, [place(Param::new(name, 5))]).expect("added");
    });
    counted.bytes_total
}

/// The median of the last groups' costs, since room for more is made now and then.
fn median(costs: &[u64]) -> u64 {
    let mut sorted = costs.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// In the arena and in a buffer of the caller's.
#[test]
fn a_group_costs_the_same_however_many_there_are() {
    const COUNT: u64 = 2000;
    let gpu = Gpu::default();
    let buffer = gpu.buffer(&vec![0.0; 16 * COUNT as usize]);
    for buffer in [None, Some(&buffer)] {
        let builder = Optimizer::builder();
        let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
        let costs: Vec<_> =
            (0..COUNT).map(|index| allocated(&mut optimizer, &index.to_string(), buffer)).collect();
        let (early, late) = (median(&costs[50..150]), median(&costs[costs.len() - 100..]));
        assert!(late <= early + early / 4, "{early} bytes for a group at first, {late} at last");
    }
}

/// What a refused group took is there for the next, whatever it was refused for.
#[test]
fn refused_groups_leave_no_trace() {
    let gpu = Gpu::default();
    let buffer = gpu.buffer(&[0.0; 4096]);
    let at = |name: &str, len: usize, [param, grad]: [u64; 2]| {
        Param::new(name, len).buffers((&buffer, param), (&buffer, grad))
    };
    let eight = Storage::f32().states(Format::Block8).min_block8(0);
    // With statistics it binds as many storage buffers as there may be; a master is one more.
    let rule = Adam { amsgrad: true, ..Default::default() };
    let master = Storage::bf16(Rounding::Master);
    let made = |is_refused: bool| {
        let builder = Optimizer::builder().statistics();
        let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
        for group in 0..40 {
            let [param, grad] = [256 * group, 256 * group + 128];
            if is_refused {
                let overlap = at("other", 32, [param, param + 64]);
                let new = [Param::new("new", 700).storage(eight.clone()), overlap];
                optimizer.add_group(Rprop::default(), new).expect_err("it overlaps itself");
                let last = if group > 0 { 256 * group - 4 } else { 1 << 20 };
                let new = [at("free", 1, [256 * 50, 256 * 51]), at("taken", 1, [256 * 52, last])];
                optimizer.add_group(rule, new).expect_err("taken, or outside");
                // Refused when all are laid out.
                let kept = Param::new("kept", 5).storage(master.clone());
                optimizer.add_group(rule, [Param::new("new", 700), kept]).expect_err("9 buffers");
            }
            let own = Param::new(name(group as usize), 300);
            let new = [at(&format!("caller {group}"), 32, [param, grad]), own];
            optimizer.add_group(rule, new).expect("added");
        }
        let offset = |group| optimizer.param(name(group)).expect("known")[0].offset();
        let offsets: Vec<_> = (0..40).map(offset).collect();
        (offsets, optimizer.groups(), optimizer.dispatches().expect("ready"))
    };
    assert_eq!(made(true), made(false));
}
