//! Plans, without a GPU: whatever the model and the limits, every element is updated once, in
//! windows that the device accepts.

use crate::common::limits::DEFAULTS;
use proptest::prelude::*;
use std::collections::HashMap;
use wgpu_optim::internals::geometry::{BLOCK, Transport};
use wgpu_optim::internals::limits::Limits;
use wgpu_optim::internals::pages::Slot;
use wgpu_optim::internals::placement::{BufferId, Layout, ParamSpec, Place};
use wgpu_optim::internals::plan::{Dispatch, Piece, plan};

/// Parameters: length, kernel, group, and a choice of placement.
fn model() -> impl Strategy<Value = Vec<(u64, usize, u32, u8)>> {
    let len = prop_oneof![0u64..6, 250u64..260, 0u64..20_000];
    prop::collection::vec((len, 0usize..3, 0u32..5, 0u8..4), 0..24)
}

fn limits() -> impl Strategy<Value = Limits> {
    (0u64..40, 0u64..60, 1u64..9, 4u32..9).prop_map(|(binding, buffer, workgroups, alignment)| {
        Limits {
            max_storage_buffer_binding_size: 2048 + binding * 1000,
            max_buffer_size: 1024 + buffer * 1111,
            max_compute_workgroups_per_dimension: workgroups,
            min_storage_buffer_offset_alignment: 1 << alignment,
            ..DEFAULTS
        }
    })
}

/// Places by choice: the arena, a pool for both arrays, a buffer for each array, or buffers alone.
fn specs(model: &[(u64, usize, u32, u8)]) -> (Vec<ParamSpec>, Vec<u64>) {
    let mut sizes = vec![0; 3];
    let mut specs = Vec::new();
    for (i, &(len, kernel, _, choice)) in model.iter().enumerate() {
        let mut take = |buffer: usize, gap: u64| {
            let offset = sizes[buffer] + 4 * gap;
            sizes[buffer] = offset + 4 * len;
            Place { buffer, offset }
        };
        let places = match choice {
            0 => None,
            1 => Some([take(0, 1), take(0, 0)]),
            2 => Some([take(1, 0), take(2, 3)]),
            _ => {
                sizes.extend([4 * len, 4 * len]);
                let last = sizes.len() - 1;
                Some([last - 1, last].map(|buffer| Place { buffer, offset: 0 }))
            }
        };
        specs.push(ParamSpec { name: i.to_string(), len, kernel, places });
    }
    (specs, sizes)
}

/// The coefficient slot of a parameter; some take no part.
fn slot(&(_, kernel, index, _): &(u64, usize, u32, u8)) -> Option<Slot> {
    (index < 4).then_some(Slot { kernel, page: index as usize / 2, index: index % 2 })
}

/// What the tables' writers are told of a dispatch, block by block: its piece, its first element in
/// it, its number of elements, and where it starts in the windows, in elements.
fn blocks_of(dispatch: &Dispatch) -> Vec<(&Piece, u64, u64, [u64; 3])> {
    const FIRST_ROW: u32 = 7;
    let words: Vec<_> = dispatch.piece_words(FIRST_ROW, |piece| [piece.param as u32, 1]).collect();
    assert_eq!(words.len(), dispatch.pieces.len());
    let mut blocks = Vec::new();
    for (piece, words) in dispatch.pieces.iter().zip(words) {
        assert_eq!(words.row, FIRST_ROW + blocks.len() as u32);
        assert_eq!((u64::from(words.len), words.slot), (piece.len, piece.slot));
        assert_eq!([words.partial, words.tensor], [piece.param as u32, 1]);
        let starts = [words.params, words.grads, words.states];
        for first in (0..piece.blocks()).map(|block| BLOCK * block) {
            let live = BLOCK.min(piece.len - first);
            blocks.push((piece, first, live, starts.map(|start| u64::from(start) + first)));
        }
    }
    assert_eq!(blocks.len() as u64, dispatch.blocks());
    blocks
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_element_is_updated_once_within_the_limits(model in model(), limits in limits()) {
        let (specs, sizes) = specs(&model);
        let layout = Layout::new(&limits).with(&specs, |buffer| sizes[buffer], 3).expect("disjoint");
        let slots: Vec<_> = model.iter().map(slot).collect();
        let dispatches = plan(&layout, &slots, &limits);
        let size_of = |kernel: usize, buffer: BufferId| match buffer {
            BufferId::Caller(n) => sizes[n],
            BufferId::Params(n) | BufferId::Grads(n) => 4 * layout.arena[n],
            BufferId::States(n) => 4 * layout.states[kernel][n],
        };
        let own = layout.arena.iter().chain(layout.states.iter().flatten());
        prop_assert!(own.clone().all(|len| len.is_multiple_of(BLOCK)));
        prop_assert!(own.into_iter().all(|len| 4 * len <= limits.max_buffer_size));

        // Which elements of each parameter and of each buffer were reached.
        let mut reached = HashMap::new();
        for dispatch in &dispatches {
            for window in dispatch.windows {
                let alignment = limits.min_storage_buffer_offset_alignment;
                prop_assert!(window.offset.is_multiple_of(alignment));
                prop_assert!(window.size <= limits.max_storage_buffer_binding_size);
                prop_assert!(window.offset + window.size <= size_of(dispatch.kernel, window.buffer));
            }
            let [x, y] = dispatch.grid.map(u64::from);
            prop_assert!(x.max(y) <= limits.max_compute_workgroups_per_dimension);
            prop_assert!(x * y * 4 >= dispatch.blocks());
            for (piece, first, live, at) in blocks_of(dispatch) {
                prop_assert_eq!(live, BLOCK.min(piece.len - first));
                let slot = Slot { kernel: dispatch.kernel, page: dispatch.page, index: piece.slot };
                prop_assert_eq!(Some(slot), slots[piece.param]);
                for lane in 0..live {
                    *reached.entry(("param", piece.param, piece.first + first + lane)).or_insert(0) += 1;
                    for (k, window) in dispatch.windows.iter().enumerate() {
                        let byte = window.offset + 4 * (at[k] + lane);
                        prop_assert!(byte + 4 <= window.offset + window.size);
                    }
                    // The element of the buffer is the element of the parameter.
                    let placement = &layout.params[piece.param];
                    for (k, spans) in [&placement.params, &placement.grads, &placement.states].into_iter().enumerate() {
                        let element = piece.first + first + lane;
                        let span = spans.iter().find(|s| (s.first..s.first + s.len).contains(&element)).expect("a span");
                        prop_assert_eq!(span.buffer, dispatch.windows[k].buffer);
                        let byte = dispatch.windows[k].offset + 4 * (at[k] + lane);
                        prop_assert_eq!(byte, 4 * (span.start + element - span.first));
                    }
                }
                if dispatch.transport == Transport::Vec4 {
                    let owned = dispatch.windows[0].buffer.is_owned();
                    prop_assert!(at.iter().all(|at| at.is_multiple_of(4)));
                    prop_assert!(owned || (piece.len % 4 == 0));
                }
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
    }
}

/// The only slot of the only page of the only kernel.
const FIRST: Option<Slot> = Some(Slot { kernel: 0, page: 0, index: 0 });

/// One spec in the arena.
fn arena(len: u64) -> Vec<ParamSpec> {
    vec![ParamSpec { name: "w".into(), len, kernel: 0, places: None }]
}

/// A billion elements on a device with default limits: several windows in several buffers, none of
/// which needs a GPU to be checked.
#[test]
fn a_billion_elements_take_windows_and_buffers() {
    let len = 1 << 30;
    let layout = Layout::new(&DEFAULTS).with(&arena(len), |_| 0, 1).expect("laid out");
    assert_eq!(layout.arena, vec![64 << 20; 16]);
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
    let layout = Layout::new(&limits).with(&arena(len), |_| 0, 1).expect("laid out");
    let dispatches = plan(&layout, &[FIRST], &limits);
    assert_eq!(dispatches.len(), 1);
    let [x, y] = dispatches[0].grid;
    assert_eq!([x, y], [65_535, 6]);
}
