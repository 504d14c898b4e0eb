//! Plans, without a GPU: whatever the model and the limits, every element is updated once, in
//! windows that the device accepts.

use crate::common::fuzz;
use crate::common::limits::DEFAULTS;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use std::collections::HashMap;
use wgpu_optim::internals::geometry::{BLOCK, Sharing, THREADS_PER_BLOCK, Transport};
use wgpu_optim::internals::kernels::Class;
use wgpu_optim::internals::limits::Limits;
use wgpu_optim::internals::pages::Slot;
use wgpu_optim::internals::placement::{BufferId, Layout, ParamSpec, Place};
use wgpu_optim::internals::plan::{Dispatch, Piece, plan};
use wgpu_optim::internals::{Codec, Formats};
use wgpu_optim::{Adam, DynRule, Format, Rounding, Storage};

/// A parameter: length, kernel, group, a choice of placement, and one of storage.
type Chosen = (u64, usize, u32, u8, usize);

fn model() -> impl Strategy<Value = Vec<Chosen>> {
    let len = prop_oneof![0u64..6, 250u64..260, 0u64..20_000];
    prop::collection::vec((len, 0usize..3, 0u32..5, 0u8..4, 0usize..5), 0..24)
}

/// The storage that is chosen from.
fn formats() -> [Formats; 5] {
    let adam: Box<dyn DynRule> = Adam::default().into();
    let storages = [
        Storage::f32(),
        Storage::bf16(Rounding::Nearest).grads(Format::F32),
        Storage::bf16(Rounding::Remainder),
        Storage::f32().grads(Format::F16).state("exp_avg", Format::Bf16),
        Storage::f16(Rounding::Master).states(Format::Block8).min_block8(0),
    ];
    storages.map(|storage| Formats::of(&storage, adam.as_ref()))
}

fn limits() -> impl Strategy<Value = Limits> {
    (0u64..40, 0u64..60, 1u64..9, 4u32..9).prop_map(|(binding, buffer, workgroups, alignment)| {
        Limits {
            // What an 8-bit state needs at the largest alignment, and more.
            max_storage_buffer_binding_size: (67_000 << alignment >> 8) + binding * 1000,
            max_buffer_size: 1024 + buffer * 1111,
            max_compute_workgroups_per_dimension: workgroups,
            min_storage_buffer_offset_alignment: 1 << alignment,
            ..DEFAULTS
        }
    })
}

/// Places by choice: the arena, a pool for both arrays, a buffer for each array, or buffers alone.
fn specs(model: &[Chosen]) -> (Vec<ParamSpec>, Vec<u64>) {
    let mut sizes = vec![0; 3];
    let mut specs = Vec::new();
    for (i, &(len, kernel, _, choice, storage)) in model.iter().enumerate() {
        let formats = formats()[storage];
        let mut take = |buffer: usize, gap: u64, codec: Codec| {
            let start: u64 = sizes[buffer];
            let offset = start.next_multiple_of(codec.bytes(1)) + codec.bytes(gap);
            sizes[buffer] = offset + codec.bytes(len);
            Place { buffer, offset }
        };
        let Formats { param, grad, .. } = formats;
        let places = match choice {
            0 => None,
            1 => Some([take(0, 1, param), take(0, 0, grad)]),
            2 => Some([take(1, 0, param), take(2, 3, grad)]),
            _ => {
                sizes.extend([param.bytes(len), grad.bytes(len)]);
                let last = sizes.len() - 1;
                Some([last - 1, last].map(|buffer| Place { buffer, offset: 0 }))
            }
        };
        let class = Class { index: 5 * kernel + storage, formats };
        specs.push(ParamSpec { name: i.to_string(), len, kernel, class, places });
    }
    (specs, sizes.into_iter().map(|size| size.next_multiple_of(4)).collect())
}

/// The coefficient slot of a parameter; some take no part.
fn slot(&(_, kernel, index, ..): &Chosen) -> Option<Slot> {
    (index < 4).then_some(Slot { kernel, page: index as usize / 2, index: index % 2 })
}

/// What the tables' writers are told of a dispatch, block by block: its piece, its first element in
/// it, its number of elements, and where it starts in the windows, in elements.
fn blocks_of(dispatch: &Dispatch) -> Vec<(&Piece, u64, u64, [u64; 3])> {
    const FIRST_ROW: u32 = 7;
    let sums = |piece: &Piece| [piece.param as u32, 1];
    let words: Vec<_> = dispatch.piece_words(FIRST_ROW, sums, |param| param as u32 + 9).collect();
    assert_eq!(words.len(), dispatch.pieces.len());
    let mut blocks = Vec::new();
    for (piece, words) in dispatch.pieces.iter().zip(words) {
        assert_eq!(words.row, FIRST_ROW + blocks.len() as u32);
        assert_eq!((u64::from(words.len), words.slot), (piece.len, piece.slot));
        assert_eq!(
            [words.partial, words.tensor, words.key - 9],
            [piece.param as u32, 1, piece.param as u32]
        );
        assert_eq!(u64::from(words.first_block), piece.first / BLOCK);
        let starts = [words.params, words.grads, words.states];
        for first in (0..piece.blocks()).map(|block| BLOCK * block) {
            let live = BLOCK.min(piece.len - first);
            blocks.push((piece, first, live, starts.map(|start| u64::from(start) + first)));
        }
    }
    assert_eq!(blocks.len() as u64, dispatch.blocks());
    blocks
}

/// Layouts that once failed.
const KEPT: &str = "tests/regressions/plans.txt";

#[test]
fn every_element_is_updated_once_within_the_limits() {
    let cuts = (0usize..24, 0usize..24);
    fuzz::search(KEPT, 400, &(model(), limits(), cuts), |(model, limits, cuts)| {
        check(&model, limits, cuts)
    });
}

/// A model that is built with some of its parameters, to which others are added twice.
fn check(model: &[Chosen], limits: Limits, cuts: (usize, usize)) -> TestCaseResult {
    let (specs, sizes) = specs(model);
    let cut = |at: usize| at.min(specs.len());
    let [first, second] = [cuts.0.min(cuts.1), cuts.0.max(cuts.1)].map(cut);
    let mut layout = Layout::new(&limits);
    for specs in [&specs[..first], &specs[first..second], &specs[second..]] {
        layout.extend(specs.to_vec(), |buffer| sizes[buffer], 15).expect("disjoint");
    }
    let slots: Vec<_> = model.iter().map(slot).collect();
    let dispatches = plan(&layout, &slots, &limits);
    let size_of = |dispatch: &Dispatch, buffer: BufferId, codec: Codec| match buffer {
        BufferId::Caller(n) => sizes[n],
        BufferId::Params(n) => layout.arena[n].1[0].bytes(layout.arena[n].0),
        BufferId::Grads(n) => layout.arena[n].1[1].bytes(layout.arena[n].0),
        BufferId::States(n) => codec.bytes(layout.states[dispatch.class][n]),
    };
    let arena = layout.arena.iter().map(|(len, _)| len);
    let own = arena.chain(layout.states.iter().flatten());
    prop_assert!(own.clone().all(|len| len.is_multiple_of(BLOCK)));
    prop_assert!(own.into_iter().all(|len| 4 * len <= limits.max_buffer_size));

    // Which elements of each parameter and of each buffer were reached.
    let mut reached = HashMap::new();
    for dispatch in &dispatches {
        for (window, codecs) in dispatch.windows.iter().zip(dispatch.formats.of_windows()) {
            for &codec in codecs {
                let [offset, size] = window.bytes(codec);
                prop_assert!(offset.is_multiple_of(limits.min_storage_buffer_offset_alignment));
                prop_assert!(size <= limits.max_storage_buffer_binding_size);
                prop_assert!(size.is_multiple_of(4));
                prop_assert!(offset + size <= size_of(dispatch, window.buffer, codec));
            }
        }
        // What is written is bound once.
        let bytes = |k: usize| {
            let codec = dispatch.formats.of_windows()[k][0];
            let [offset, size] = dispatch.windows[k].bytes(codec);
            (dispatch.windows[k].buffer, offset, offset + size)
        };
        let ((buffer, start, end), (other, other_start, other_end)) = (bytes(0), bytes(1));
        let sharing = dispatch.sharing();
        prop_assert_eq!(sharing == Sharing::Apart, buffer != other);
        prop_assert_eq!(sharing == Sharing::Mixed, bytes(0) == bytes(1));
        if sharing == Sharing::Ranges {
            prop_assert!(end <= other_start || other_end <= start);
        }
        let halves = [0, 1].map(|k| dispatch.formats.of_windows()[k][0].bytes(1) == 2);
        prop_assert!(sharing.has_transport(dispatch.transport, halves));
        prop_assert!(!dispatch.narrow, "so few short parameters need no dispatch more");
        let [x, y] = dispatch.grid(THREADS_PER_BLOCK, &limits).map(u64::from);
        prop_assert!(x.max(y) <= limits.max_compute_workgroups_per_dimension);
        prop_assert!(x * y * 4 >= dispatch.blocks());
        for (piece, first, live, at) in blocks_of(dispatch) {
            prop_assert_eq!(live, BLOCK.min(piece.len - first));
            let slot = Slot { kernel: dispatch.kernel, page: dispatch.page, index: piece.slot };
            prop_assert_eq!(Some(slot), slots[piece.param]);
            for lane in 0..live {
                *reached.entry(("param", piece.param, piece.first + first + lane)).or_insert(0) +=
                    1;
                for (k, window) in dispatch.windows.iter().enumerate() {
                    prop_assert!(window.start + at[k] + lane < window.end);
                }
                // The element of the buffer is the element of the parameter.
                let placement = &layout.params[piece.param];
                for (k, spans) in
                    [&placement.params, &placement.grads, &placement.states].into_iter().enumerate()
                {
                    let element = piece.first + first + lane;
                    let span = spans
                        .iter()
                        .find(|s| (s.first..s.first + s.len).contains(&element))
                        .expect("a span");
                    prop_assert_eq!(span.buffer, dispatch.windows[k].buffer);
                    let found = dispatch.windows[k].start + at[k] + lane;
                    prop_assert_eq!(found, span.start + element - span.first);
                }
            }
            if dispatch.transport == Transport::Vec4 {
                let owned = dispatch.windows[0].buffer.is_owned();
                prop_assert!(at.iter().all(|at| at.is_multiple_of(4)));
                prop_assert!(owned || (piece.len % 4 == 0));
            }
            // Where words may be two threads', that is known.
            let Formats { param, grad, .. } = dispatch.formats;
            let halves = [param, grad].map(|codec| codec.bytes(1) == 2);
            let odd = (0..2).any(|k| halves[k] && piece.starts[k] % 2 == 1);
            prop_assert!(!odd || dispatch.transport == Transport::Shared);
        }
    }
    for (param, spec) in specs.iter().enumerate() {
        let times = slots[param].map(|_| 1);
        for element in 0..spec.len {
            prop_assert_eq!(reached.get(&("param", param, element)), times.as_ref());
        }
    }
    let taking_part = specs.iter().zip(&slots).filter(|(_, slot)| slot.is_some());
    let total: u64 = taking_part.map(|(spec, _)| spec.len).sum();
    prop_assert_eq!(reached.len() as u64, total);
    Ok(())
}

/// The only slot of the only page of the only kernel.
const FIRST: Option<Slot> = Some(Slot { kernel: 0, page: 0, index: 0 });

/// One parameter in the arena.
fn laid_out(limits: &Limits, len: u64) -> Layout {
    let class = Class { index: 0, formats: formats()[0] };
    let spec = ParamSpec { name: "w".into(), len, kernel: 0, class, places: None };
    let mut layout = Layout::new(limits);
    layout.extend(vec![spec], |_| 0, 1).expect("laid out");
    layout
}

/// A billion elements on a device with default limits: several windows in several buffers, none of
/// which needs a GPU to be checked.
#[test]
fn a_billion_elements_take_windows_and_buffers() {
    let len = 1 << 30;
    let layout = laid_out(&DEFAULTS, len);
    assert_eq!(layout.arena, vec![(64 << 20, [Codec::F32; 2]); 16]);
    let dispatches = plan(&layout, &[FIRST], &DEFAULTS);
    assert!(dispatches.iter().all(|d| d.transport == Transport::Vec4));
    assert_eq!(dispatches.iter().map(Dispatch::blocks).sum::<u64>(), len / BLOCK);
    let fewest = 4 * len / DEFAULTS.max_storage_buffer_binding_size;
    let count = dispatches.len() as u64;
    assert!((fewest..=fewest + 16).contains(&count), "{count} dispatches, at best {fewest}");
}

/// Where bindings are large, one dispatch passes 65 535 workgroups by a second row.
#[test]
fn a_grid_beyond_65_535_workgroups_has_rows() {
    let limits = Limits {
        max_storage_buffer_binding_size: (1 << 31) - 4,
        max_buffer_size: 1 << 33,
        ..DEFAULTS
    };
    let len = 400_000_000;
    let layout = laid_out(&limits, len);
    let dispatches = plan(&layout, &[FIRST], &limits);
    assert_eq!(dispatches.len(), 1);
    assert_eq!(dispatches[0].grid(THREADS_PER_BLOCK, &limits), [65_535, 6]);
}
