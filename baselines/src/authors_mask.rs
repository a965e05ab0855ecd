//! The authors' mask of DeiT-Tiny, for tests: the file where it is present, and a stand-in.
//!
//! The file is no part of this repository: `info_0.95.npy` in
//! `Hardware/Simulator/masks/deit_tiny_lowrank` of `GATECH-EIC/ViTCoD`. The variable
//! `VITCOD_AUTHORS_MASK` names it.

use std::path::Path;

use vitcod_support::npy::Header;

use crate::kept::KeptEntries;
use crate::workload::{Layer, Workload};

/// Where the file is if the variable is not set.
const FILE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/masks/vitcod_deit_tiny_95.npy");

/// Global tokens, and kept entries of the other keys, by layer and head.
const HEADS: [[(u32, u32); 3]; 12] = [
    [(1, 2244), (10, 3056), (1, 1680)],
    [(1, 392), (1, 1142), (1, 588)],
    [(70, 2479), (1, 588), (1, 946)],
    [(1, 936), (1, 4086), (1, 590)],
    [(1, 1389), (1, 1863), (1, 1571)],
    [(20, 1785), (3, 289), (1, 1008)],
    [(17, 1333), (1, 708), (1, 723)],
    [(1, 1551), (1, 392), (1, 485)],
    [(1, 454), (5, 464), (1, 392)],
    [(9, 771), (1, 392), (7, 334)],
    [(10, 1039), (6, 1093), (15, 974)],
    [(31, 602), (21, 498), (28, 1054)],
];

fn model(head: impl Fn(u32, u32) -> KeptEntries) -> Workload {
    let layer = |layer| {
        let heads = (0..3).map(|index| head(layer, index)).collect();
        Layer::masked(64, 64, heads).unwrap().with_compressed_heads(2)
    };
    Workload::new((0..12).map(layer).collect()).unwrap()
}

/// The authors' mask with their auto-encoder, if its file is present.
pub(crate) fn workload() -> Option<Workload> {
    let path = std::env::var_os("VITCOD_AUTHORS_MASK").unwrap_or_else(|| FILE.into());
    if !Path::new(&path).exists() {
        eprintln!("skipped: there is no mask at {}", path.display());
        return None;
    }
    let file = std::fs::read(path).unwrap();
    let (header, elements) = Header::split(&file).unwrap();
    assert_eq!((header.descr, header.fortran_order), ("|b1", false));
    assert_eq!(header.shape, [12, 3, 197, 197]);
    // True means pruned.
    Some(model(|layer, head| {
        let start = (layer * 3 + head) as usize * 197 * 197;
        let is_kept = |query, key| elements[start + (query * 197 + key) as usize] == 0;
        KeptEntries::from_fn(197, 197, is_kept).unwrap()
    }))
}

/// A mask with as many global tokens and other entries in each head as the authors' mask. The
/// entries of a key lie in its first rows.
pub(crate) fn stand_in() -> Workload {
    model(|layer, head| {
        let (global_tokens, others) = HEADS[layer as usize][head as usize];
        let is_kept = |query, key: u32| match key.checked_sub(global_tokens) {
            None => true,
            Some(key) => query < 50 && key * 50 + query < others,
        };
        KeptEntries::from_fn(197, 197, is_kept).unwrap()
    })
}

#[test]
fn the_stand_in_keeps_as_many_entries() {
    let kept = |workload: &Workload| workload.layers().iter().map(Layer::kept_entries).sum::<u64>();
    // 74,399 kept entries, of which 34,508 are among 53,978 cells of global tokens.
    assert_eq!(kept(&stand_in()), 74_399 - 34_508 + 53_978);
    if let Some(mask) = workload() {
        assert_eq!(kept(&mask), 74_399);
    }
}
