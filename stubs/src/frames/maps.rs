//! The stack maps of a program's code, and its stacks.
#![expect(
    unsafe_code,
    reason = "declares the promise about registered code; contains no unsafe block"
)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard};

use super::error::FrameError;
use super::stack::Stack;
use super::walk::FRAME;
use crate::lock::{Guard, lock};

/// Who calls a registered function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Only code that is registered in the same [`StackMaps`]. A frame of the function whose caller
    /// is other code is a [`WalkError`](super::WalkError).
    Registered,
    /// Any code: the function is an entry that the host calls, a finalizer that this crate's stubs
    /// call, or a callback.
    Any,
}

/// The offset of a return address in its code, and those of slots from the caller's stack pointer.
type Map = (u32, Box<[u32]>);

/// One function, or several that were compiled together.
#[derive(Debug)]
pub(super) struct Code {
    end: usize,
    pub(super) callers: Callers,
    /// By the offset of the return address.
    maps: Box<[Map]>,
}

impl Code {
    /// The slots of the frame that a call returns to.
    pub(super) fn slots(&self, offset: usize) -> &[u32] {
        let found = self
            .maps
            .binary_search_by_key(&offset, |(at, _)| *at as usize);
        found.map_or(&[], |at| &self.maps[at].1)
    }
}

#[derive(Debug, Default)]
pub(super) struct Tables {
    /// By the address of the first byte.
    code: BTreeMap<usize, Code>,
    /// By the address of their word.
    pub(super) stacks: BTreeMap<usize, Arc<AtomicUsize>>,
}

impl Tables {
    /// The code that a call returned to `pc` lies in, and its range. A call may be the last
    /// instruction of its function, so the byte before counts.
    pub(super) fn find(&self, pc: usize) -> Option<(Range<usize>, &Code)> {
        let last = pc.checked_sub(1)?;
        let (&start, code) = self.code.range(..=last).next_back()?;
        (last < code.end).then_some((start..code.end, code))
    }
}

#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<Tables>);

impl Shared {
    // Nothing panics while it is locked and half written.
    pub(super) fn tables(&self) -> Guard<MutexGuard<'_, Tables>> {
        lock(&self.0)
    }

    pub(super) fn add_stack(&self, word: &Arc<AtomicUsize>) {
        self.tables().stacks.insert(key(word), word.clone());
    }

    pub(super) fn remove_stack(&self, word: &Arc<AtomicUsize>) {
        self.tables().stacks.remove(&key(word));
    }
}

fn key(word: &AtomicUsize) -> usize {
    word.as_ptr().addr()
}

/// The stack maps of generated code and the stacks that it runs on. Clones are handles to one
/// table.
///
/// See the [module](crate::frames) for what it needs of the code.
#[derive(Clone, Debug, Default)]
pub struct StackMaps(pub(super) Arc<Shared>);

impl StackMaps {
    /// Makes a table without code and without stacks.
    pub fn new() -> StackMaps {
        StackMaps::default()
    }

    /// Registers the code at `code`, until the result is dropped. `maps`: for each call that has
    /// live references, the offset of its return address from the start of the code, and the
    /// offsets of the references from the stack pointer. Calls without references have no map.
    ///
    /// That is what Cranelift says of a function that was compiled:
    ///
    /// ```text
    /// let maps = context.compiled_code().unwrap().buffer.user_stack_maps();
    /// let maps = maps.iter().map(|(at, _, map)| (*at, map.entries().map(|(_, slot)| slot)));
    /// ```
    ///
    /// # Errors
    /// A part of the code is registered already, or an offset is out of range.
    ///
    /// # Safety
    /// Until the result is dropped:
    /// * the code keeps frame pointers, and `maps` are its stack maps;
    /// * it makes tail calls only to functions that take as many bytes of arguments on the stack as
    ///   their caller;
    /// * it calls other code than what is registered only through exit stubs, which link an
    ///   [`ExitRecord`](super::ExitRecord) of their own frame to the [`Stack`] that they run on,
    ///   which exists;
    /// * while frames are walked, it runs on no stack, but for frames that wait for an exit stub.
    ///
    /// And when the result is dropped, no frame of the code is on a stack.
    pub unsafe fn add<S: IntoIterator<Item = u32>>(
        &self,
        code: Range<usize>,
        callers: Callers,
        maps: impl IntoIterator<Item = (u32, S)>,
    ) -> Result<RegisteredCode, FrameError> {
        if FRAME.is_none() {
            let found = std::env::consts::ARCH;
            return Err(FrameError::UnknownHost { found });
        }
        if code.is_empty() {
            return Err(FrameError::Empty { found: code });
        }
        let maps = checked(code.len(), maps)?;
        let mut tables = self.0.tables();
        let before = tables.code.range(..code.end).next_back();
        if let Some((&start, there)) = before.filter(|(_, there)| there.end > code.start) {
            let there = start..there.end;
            return Err(FrameError::Overlap { found: code, there });
        }
        let (start, end) = (code.start, code.end);
        tables.code.insert(start, Code { end, callers, maps });
        Ok(RegisteredCode {
            shared: self.0.clone(),
            start,
        })
    }

    /// Adds a stack that generated code runs on.
    pub fn stack(&self) -> Stack {
        Stack::new(&self.0)
    }
}

/// The maps, sorted, each checked.
fn checked<S: IntoIterator<Item = u32>>(
    bytes: usize,
    maps: impl IntoIterator<Item = (u32, S)>,
) -> Result<Box<[Map]>, FrameError> {
    let mut all = Vec::new();
    for (at, slots) in maps {
        if at == 0 || at as usize > bytes {
            return Err(FrameError::Offset { found: at, bytes });
        }
        let slots: Box<[u32]> = slots.into_iter().collect();
        if let Some(&found) = slots.iter().find(|slot| !slot.is_multiple_of(8)) {
            return Err(FrameError::Slot { at, found });
        }
        all.push((at, slots));
    }
    all.sort_unstable_by_key(|(at, _)| *at);
    match all.windows(2).find(|two| two[0].0 == two[1].0) {
        Some(two) => Err(FrameError::Twice { found: two[0].0 }),
        None => Ok(all.into()),
    }
}

/// Code whose stack maps are registered, until this is dropped. No frame of it may be on a stack
/// then.
#[derive(Debug)]
#[must_use = "dropping it forgets the code's stack maps"]
pub struct RegisteredCode {
    shared: Arc<Shared>,
    start: usize,
}

impl Drop for RegisteredCode {
    fn drop(&mut self) {
        self.shared.tables().code.remove(&self.start);
    }
}
