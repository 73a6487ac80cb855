//! Rooted references: a table of slots, which are roots of every collection.
#![forbid(unsafe_code)]

use crate::base::lock::{Lock, Rank};
use std::fmt;
use std::sync::Arc;

/// The root slots of one runtime.
#[derive(Debug)]
pub(crate) struct Roots {
    slots: Lock<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    /// The rooted address of each slot; 0 if it is free.
    addrs: Vec<usize>,
    free: Vec<u32>,
}

impl Roots {
    pub(crate) fn new() -> Arc<Roots> {
        Arc::new(Roots {
            slots: Lock::new(Rank::Roots, Slots::default()),
        })
    }

    /// Roots the object at an address. It must be alive: the calling thread runs with a mutator, or
    /// the object is rooted otherwise.
    pub(crate) fn root(self: &Arc<Roots>, addr: usize) -> Handle {
        let mut slots = self.slots.lock();
        let index = match slots.free.pop() {
            Some(index) => {
                slots.addrs[index as usize] = addr;
                index
            }
            None => {
                slots.addrs.push(addr);
                // 2^32 slots are 32 GiB of table.
                u32::try_from(slots.addrs.len() - 1)
                    .unwrap_or_else(|_| unreachable!("more than 2^32 handles"))
            }
        };
        drop(slots);
        Handle {
            roots: self.clone(),
            index,
            addr,
        }
    }

    /// Calls `visit` with every rooted address.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(usize)) {
        let slots = self.slots.lock();
        slots
            .addrs
            .iter()
            .filter(|&&addr| addr != 0)
            .for_each(|&addr| visit(addr));
    }

    /// Slots in use.
    pub(crate) fn len(&self) -> usize {
        let slots = self.slots.lock();
        slots.addrs.len() - slots.free.len()
    }
}

/// A rooted reference to an object: while it exists, the object stays alive. It can be stored
/// anywhere and sent to any thread; a clone is a root of its own. To access the object, pass the
/// handle to [`Mutator::get`](crate::Mutator::get) of a mutator of the same runtime.
pub struct Handle {
    roots: Arc<Roots>,
    index: u32,
    // Objects do not move, so the address need not be read from the slot.
    addr: usize,
}

impl Handle {
    /// The object's address. Objects do not move, so it is valid as long as the handle.
    pub fn addr(&self) -> usize {
        self.addr
    }

    /// Whether the handle belongs to the runtime with these roots.
    pub(crate) fn is_of(&self, roots: &Arc<Roots>) -> bool {
        Arc::ptr_eq(&self.roots, roots)
    }
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        self.roots.root(self.addr)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut slots = self.roots.slots.lock();
        if let Some(slot) = slots.addrs.get_mut(self.index as usize) {
            *slot = 0;
        }
        slots.free.push(self.index);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({:#x})", self.addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_reused() {
        let roots = Roots::new();
        let all = |roots: &Roots| {
            let mut all = Vec::new();
            roots.for_each(|addr| all.push(addr));
            all.sort_unstable();
            all
        };
        let (a, b) = (roots.root(16), roots.root(32));
        let c = b.clone();
        assert_eq!(all(&roots), [16, 32, 32]);
        drop(b);
        assert_eq!(all(&roots), [16, 32]);
        let d = roots.root(48);
        assert_eq!((all(&roots), roots.len()), (vec![16, 32, 48], 3));
        assert_eq!((a.addr(), c.addr(), d.addr()), (16, 32, 48));
        drop((a, c, d));
        assert_eq!((all(&roots), roots.len()), (vec![], 0));
        assert_eq!(roots.slots.lock().addrs.len(), 3);
        assert!(!roots.root(16).is_of(&Roots::new()));
    }
}
