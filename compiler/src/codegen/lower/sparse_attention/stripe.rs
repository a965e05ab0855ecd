//! Stripes of sparse attention: a part of the work of a head group, and its constants.

use std::ops::Range;

use vitcod_isa::instr::Cycles;
use vitcod_isa::lists::{LIST_ROW_BYTES, LineGroups, List, SEGMENT_BYTES, row_token_bytes};

use crate::codegen::lower::sparse_attention::packing::Size;
use crate::codegen::lower::sparse_attention::pattern::Pattern;

/// A part of the work of a head group.
#[derive(Clone, Debug)]
pub(crate) struct Stripe {
    pub(crate) heads: Range<usize>,
    /// The queries that its instructions address. A list may name any of them.
    pub(crate) rows: Range<usize>,
    pub(crate) work: Work,
}

/// What is computed in a stripe.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// All keys of all its queries, on the denser engine.
    Full,
    /// Blocks of all its queries, and a list.
    Split {
        /// Columns of each head's block.
        columns: Vec<usize>,
        list: Option<PackedList>,
    },
}

/// A list with its cycles.
#[derive(Clone, Debug)]
pub(crate) struct PackedList {
    pub(crate) list: List,
    pub(crate) entries: usize,
    /// The first queries, whose softmax the unit of the sparser engine computes, and their entries.
    pub(crate) sparser_softmax: (usize, usize),
    /// Of scores and product.
    pub(crate) cycles: [Cycles; 2],
}

impl Stripe {
    /// Number of queries of all heads.
    pub(crate) fn queries(&self) -> usize {
        self.heads.len() * self.rows.len()
    }

    /// Columns of each head that the denser engine computes.
    pub(crate) fn columns(&self, keys: usize) -> Vec<usize> {
        match &self.work {
            Work::Full => vec![keys; self.heads.len()],
            Work::Split { columns, .. } => columns.clone(),
        }
    }

    /// Its list.
    pub(crate) fn list(&self) -> Option<&PackedList> {
        match &self.work {
            Work::Full => None,
            Work::Split { list, .. } => list.as_ref(),
        }
    }
}

/// The counts that determine the bytes of a stripe, before its list is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) heads: usize,
    /// Queries of all heads that are addressed.
    pub(crate) queries: usize,
    /// The list.
    pub(crate) list: Size,
    /// Columns of all blocks.
    pub(crate) columns: usize,
    /// Cells of all blocks.
    pub(crate) cells: usize,
    /// Bytes of the blocks' masks.
    pub(crate) mask_bytes: usize,
}

/// The largest token of a list of these counts, and its header, take these bytes.
pub(crate) fn token_bytes(list: &Size, wide: bool, groups: &LineGroups) -> usize {
    (list.batches + 1) * SEGMENT_BYTES as usize
        + list.rows * row_token_bytes(wide, groups) as usize
        + list.held
}

/// The constants of a stripe: list and masks, one after the other.
#[derive(Default)]
pub(crate) struct StripeConstants {
    pub(crate) bytes: Vec<u8>,
    /// The offset of the tokens, and their bytes.
    pub(crate) tokens: (u64, usize),
    /// Per head, the offset of the mask, if cells are pruned.
    pub(crate) masks: Vec<Option<u64>>,
}

/// How constants are laid out.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    /// Whether a key takes two bytes.
    pub(crate) wide: bool,
    /// Alignment of its parts.
    pub(crate) align: usize,
    pub(crate) keys: usize,
}

impl StripeConstants {
    /// The constants of a stripe.
    pub(crate) fn new(
        stripe: &Stripe,
        pattern: &Pattern,
        form: Form,
        groups: &LineGroups,
    ) -> StripeConstants {
        let mut bytes = Vec::new();
        let mut tokens = (0, 0);
        if let Some(PackedList { list, .. }) = stripe.list() {
            bytes.extend(list.rows_to_bytes());
            bytes.resize(bytes.len().next_multiple_of(form.align), 0);
            let of = list.tokens_to_bytes(form.wide, groups).expect("narrow keys are below 256");
            tokens = (bytes.len() as u64, of.len());
            bytes.extend(of);
        }
        let masks = pattern.heads[stripe.heads.clone()].iter().map(|head| {
            let mask = match stripe.work {
                Work::Full => head.mask_of_all(stripe.rows.clone(), form.keys)?,
                Work::Split { .. } => head.mask_rows(stripe.rows.clone())?.to_vec(),
            };
            let at = bytes.len() as u64;
            bytes.extend(mask);
            Some(at)
        });
        let masks = masks.collect();
        StripeConstants { bytes, tokens, masks }
    }

    /// The most bytes of [`StripeConstants::new`] for a stripe with these counts.
    pub(crate) fn bytes(counts: &Counts, form: Form, groups: &LineGroups) -> usize {
        let list = if counts.list.batches == 0 {
            0
        } else {
            let rows = counts.list.queries * LIST_ROW_BYTES as usize;
            rows.next_multiple_of(form.align) + token_bytes(&counts.list, form.wide, groups)
        };
        list + counts.mask_bytes
    }
}
