//! Plans, without a GPU: whatever the model and the limits, every element is updated once, in
//! windows that the device accepts.

use proptest::prelude::*;
use std::collections::HashMap;
use wgpu_optim::format::{Access, BLOCK};
use wgpu_optim::layout::{BufferId, Layout, ParamSpec, Place};
use wgpu_optim::plan::{Dispatch, Entry, Limits, Piece, plan};

const DEFAULTS: Limits = Limits {
    max_storage_buffer_binding_size: 128 << 20,
    max_buffer_size: 256 << 20,
    max_compute_workgroups_per_dimension: 65_535,
    max_compute_invocations_per_workgroup: 256,
    max_compute_workgroup_size_x: 256,
    max_storage_buffers_per_shader_stage: 8,
    min_storage_buffer_offset_alignment: 256,
};

/// Parameters: length, kernel, group, and a choice of placement.
fn model() -> impl Strategy<Value = Vec<(u64, usize, u32, u8)>> {
    let len = prop_oneof![0u64..6, 250u64..260, 0u64..20_000];
    prop::collection::vec((len, 0usize..3, 0u32..4, 0u8..4), 0..24)
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

/// What the tables' makers are told, block by block: its piece, its first element in it, its number of elements,
/// and where it starts in the windows.
fn blocks_of(dispatch: &Dispatch) -> Vec<(&Piece, u64, u64, [u64; 3])> {
    const FIRST_ROW: u32 = 7;
    let words = dispatch.piece_words(FIRST_ROW, |piece| [piece.param as u32, 1]);
    assert_eq!(words.len(), dispatch.pieces.len());
    let mut blocks = Vec::new();
    for (piece, words) in dispatch.pieces.iter().zip(words) {
        let [row, len, starts @ .., entry, partial, tensor] = words;
        assert_eq!(row, FIRST_ROW + blocks.len() as u32);
        assert_eq!((u64::from(len), entry), (piece.len, piece.entry));
        assert_eq!([partial, tensor], [piece.param as u32, 1]);
        for first in (0..piece_blocks(piece)).map(|block| BLOCK * block) {
            let live = BLOCK.min(piece.len - first);
            blocks.push((piece, first, live, starts.map(|start| u64::from(start) + first)));
        }
    }
    assert_eq!(blocks.len() as u64, dispatch.blocks());
    blocks
}

fn piece_blocks(piece: &Piece) -> u64 {
    piece.len.div_ceil(BLOCK)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_element_is_updated_once_within_the_limits(model in model(), limits in limits()) {
        let (specs, sizes) = specs(&model);
        let layout = Layout::new(&specs, &sizes, 3, limits.max_buffer_size).expect("disjoint");
        let entry = |&(_, kernel, index, _): &(_, _, u32, _)| Entry { kernel, page: index as usize / 2, index: index % 2 };
        let entries: Vec<_> = model.iter().map(|param| Some(entry(param))).collect();
        let dispatches = plan(&layout, &entries, &limits);
        let size_of = |kernel: usize, buffer: BufferId| match buffer {
            BufferId::Caller(n) => sizes[n],
            BufferId::Params(n) | BufferId::Grads(n) => layout.arena[n],
            BufferId::States(n) => layout.states[kernel][n],
        };

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
                let entry = Entry { kernel: dispatch.kernel, page: dispatch.page, index: piece.entry };
                prop_assert_eq!(Some(entry), entries[piece.param]);
                for lane in 0..live {
                    *reached.entry(("param", piece.param, piece.first + first + lane)).or_insert(0) += 1;
                    for (k, window) in dispatch.windows.iter().enumerate() {
                        let byte = window.offset + 4 * (at[k] + lane);
                        prop_assert!(byte + 4 <= window.offset + window.size);
                    }
                    // The element of the buffer is the element of the parameter.
                    let segment = &layout.segments[piece.param];
                    for (k, runs) in [&segment.params, &segment.grads, &segment.states].into_iter().enumerate() {
                        let element = piece.first + first + lane;
                        let run = runs.iter().find(|r| (r.first..r.first + r.len).contains(&element)).expect("a run");
                        prop_assert_eq!(run.buffer, dispatch.windows[k].buffer);
                        let byte = dispatch.windows[k].offset + 4 * (at[k] + lane);
                        prop_assert_eq!(byte, run.offset + 4 * (element - run.first));
                    }
                }
                if dispatch.access == Access::Vec4 {
                    let owned = dispatch.windows[0].buffer.is_owned();
                    prop_assert!(at.iter().all(|at| at.is_multiple_of(4)));
                    prop_assert!(owned || (piece.len % 4 == 0));
                }
            }
        }
        for (param, spec) in specs.iter().enumerate() {
            for element in 0..spec.len {
                prop_assert_eq!(reached.get(&("param", param, element)), Some(&1));
            }
        }
        let total: u64 = specs.iter().map(|spec| spec.len).sum();
        prop_assert_eq!(reached.len() as u64, total);
    }
}

/// The only entry of the only page of the only kernel.
const FIRST: Option<Entry> = Some(Entry { kernel: 0, page: 0, index: 0 });

/// One spec in the arena.
fn arena(len: u64) -> Vec<ParamSpec> {
    vec![ParamSpec { name: "w".into(), len, kernel: 0, places: None }]
}

/// A billion elements on a device with default limits: several windows in several buffers, none of
/// which needs a GPU to be checked.
#[test]
fn a_billion_elements_take_windows_and_buffers() {
    let len = 1 << 30;
    let layout = Layout::new(&arena(len), &[], 1, DEFAULTS.max_buffer_size).expect("laid out");
    assert_eq!(layout.arena, vec![256 << 20; 16]);
    let dispatches = plan(&layout, &[FIRST], &DEFAULTS);
    assert!(dispatches.iter().all(|d| d.access == Access::Vec4));
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
    let layout = Layout::new(&arena(len), &[], 1, limits.max_buffer_size).expect("laid out");
    let dispatches = plan(&layout, &[FIRST], &limits);
    assert_eq!(dispatches.len(), 1);
    let [x, y] = dispatches[0].grid;
    assert_eq!([x, y], [65_535, 6]);
}
