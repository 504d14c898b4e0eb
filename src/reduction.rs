//! Which norms are added up to which: plain data, testable without a GPU.
//!
//! Each block has its partial norms. Workgroups add up rows of them, tensor by tensor, level by level,
//! until each tensor has one entry. Since blocks and rows belong to tensors, not to dispatches, a tensor's
//! norm has the same bits however it was cut into windows.

use crate::plan::Dispatch;
use crate::shader::SUM_LENGTH;

/// How the norms of one kernel's tensors are added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduction {
    /// For each dispatch and each of its blocks the place of its partial norms, and its tensor's index.
    pub tensors: Vec<Vec<[u32; 2]>>,
    /// How many partial norms there are.
    pub partials: u64,
    /// For each level its rows: where a row starts among the entries of the level before, and its length.
    /// A level's n-th row makes its n-th entry; the last level's entries are the tensors'.
    pub levels: Vec<Vec<[u32; 2]>>,
}

impl Reduction {
    /// Of a kernel's dispatches, in which each tensor's pieces follow one another.
    pub fn new<'a>(dispatches: impl IntoIterator<Item = &'a Dispatch>) -> Self {
        let mut counts: Vec<u64> = Vec::new();
        let mut last = None;
        let mut partials = 0;
        let mut of_piece = |param: usize, blocks: u64| {
            if last != Some(param) {
                counts.push(0);
                last = Some(param);
            }
            let tensor = counts.len() - 1;
            counts[tensor] += blocks;
            let places = (partials..partials + blocks).map(move |at| [at as u32, tensor as u32]);
            partials += blocks;
            places
        };
        let tensors = dispatches
            .into_iter()
            .map(|d| d.pieces.iter().flat_map(|p| of_piece(p.param, p.blocks())).collect())
            .collect();
        Self { tensors, partials, levels: levels(counts) }
    }
}

/// The levels that take each tensor from this many entries to one.
fn levels(mut counts: Vec<u64>) -> Vec<Vec<[u32; 2]>> {
    let mut levels = Vec::new();
    loop {
        let mut rows = Vec::new();
        let mut first = 0;
        for count in &mut counts {
            let end = first + *count;
            *count = count.div_ceil(SUM_LENGTH);
            while first < end {
                let length = (end - first).min(SUM_LENGTH);
                rows.push([first as u32, length as u32]);
                first += length;
            }
        }
        levels.push(rows);
        if counts.iter().all(|&count| count <= 1) {
            return levels;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_added_once_to_its_own_tensor() {
        let counts = vec![1, 1024, 1025, 3, 2_000_000];
        let levels = levels(counts.clone());
        assert_eq!(levels.len(), 3);
        // Follow each entry, marked with its tensor, through all levels.
        let mut entries: Vec<Vec<usize>> = Vec::new();
        for (tensor, &count) in counts.iter().enumerate() {
            entries.extend((0..count).map(|_| vec![tensor]));
        }
        for rows in &levels {
            let mut next = 0;
            entries = rows
                .iter()
                .map(|&[first, length]| {
                    assert!(first == next && u64::from(length) <= SUM_LENGTH);
                    next = first + length;
                    entries[first as usize..next as usize].concat()
                })
                .collect();
        }
        for (tensor, &count) in counts.iter().enumerate() {
            assert_eq!(entries[tensor].len() as u64, count);
            assert!(entries[tensor].iter().all(|&of| of == tensor));
        }
    }
}
