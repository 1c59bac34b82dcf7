//! The only place that draws randomness: the runtime's generator, in blocks, since every crossing costs.

use std::cell::RefCell;

const BLOCK: usize = 1024;

struct Block {
    bytes: [u8; BLOCK],
    used: usize,
}

thread_local! {
    static DRAWN: RefCell<Block> = const { RefCell::new(Block { bytes: [0; BLOCK], used: BLOCK }) };
}

/// Sixteen random bytes; `None` when the runtime gives no randomness.
#[expect(clippy::disallowed_methods, reason = "this is the source of randomness")]
pub(crate) fn bytes16() -> Option<[u8; 16]> {
    DRAWN.with_borrow_mut(|block| {
        if block.used + 16 > BLOCK {
            getrandom::fill(&mut block.bytes).ok()?;
            block.used = 0;
        }
        let range = block.bytes.get_mut(block.used..block.used + 16)?;
        let drawn = <[u8; 16]>::try_from(&*range).ok()?;
        // What was given out is not kept.
        range.fill(0);
        block.used += 16;
        Some(drawn)
    })
}
