//! The allocator: what was small and given back is used again at once, everything else is talc's.
//!
//! A request asks for a few small blocks and gives them back. From a list by size that takes a dozen instructions each, a tenth
//! of what a general allocator takes; talc is the smallest of those. A VM has one thread, and memory never goes back from it
//! to Envoy, so the lists hold nothing back: they are as long as what was in use at one time.
#![allow(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

/// Sizes from lists: 32, 64, 128 and 256 bytes.
const SIZES: usize = 4;
const SMALLEST: usize = 32;
const LARGEST: usize = SMALLEST << (SIZES - 1);
/// Alignment of blocks from lists.
const ALIGN: usize = 16;

struct Allocator {
    /// Heads; a free block begins with the address of the next.
    free: UnsafeCell<[*mut u8; SIZES]>,
    general: WasmDynamicTalc,
}

#[global_allocator]
static ALLOCATOR: Allocator =
    Allocator { free: UnsafeCell::new([null_mut(); SIZES]), general: new_wasm_dynamic_allocator() };

// SAFETY: there is one thread, and nothing here calls out while a list is being changed.
unsafe impl Sync for Allocator {}

/// Which list a layout's block is from, and back to; `None`: none.
const fn list(layout: Layout) -> Option<usize> {
    let size = layout.size();
    if size > LARGEST || layout.align() > ALIGN {
        return None;
    }
    if size <= SMALLEST { Some(0) } else { Some((size - 1).ilog2() as usize - 4) }
}

/// What a list's blocks are to the general allocator.
const fn block(list: usize) -> Layout {
    // SAFETY: a power of two no greater than the size, which is small.
    unsafe { Layout::from_size_align_unchecked(SMALLEST << list, ALIGN) }
}

// SAFETY: a block is in a list or handed out, never both; one from a list is at least as large and aligned as was asked for,
// and a layout always names the same list.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(list) = list(layout) else {
            // SAFETY: the caller's.
            return unsafe { self.general.alloc(layout) };
        };
        // SAFETY: one thread; a list's number is below their number; a free block begins with an address.
        unsafe {
            let head = self.free.get().cast::<*mut u8>().add(list);
            let first = *head;
            if first.is_null() {
                return self.general.alloc(block(list));
            }
            *head = first.cast::<*mut u8>().read();
            first
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(list) = list(layout) else {
            // SAFETY: the caller's; it was the general allocator that gave it.
            return unsafe { self.general.dealloc(pointer, layout) };
        };
        // SAFETY: as in `alloc`; the block is no longer anybody's.
        unsafe {
            let head = self.free.get().cast::<*mut u8>().add(list);
            pointer.cast::<*mut u8>().write(*head);
            *head = pointer;
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller says that the size is one that a layout may have.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (list(layout), list(wanted)) {
            (Some(from), Some(to)) if from == to => pointer,
            // SAFETY: the caller's; both are the general allocator's.
            (None, None) => unsafe { self.general.realloc(pointer, layout, size) },
            // SAFETY: the new block is apart from the old one, and both are as long as the shorter.
            _ => unsafe {
                let new = self.alloc(wanted);
                if !new.is_null() {
                    pointer.copy_to_nonoverlapping(new, size.min(layout.size()));
                    self.dealloc(pointer, layout);
                }
                new
            },
        }
    }
}
