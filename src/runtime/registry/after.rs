//! `finalize_after`: an order of finalization that no reference shows.
//!
//! A declaration is a hidden reference from the object that is finalized first to the one that is
//! finalized after it: whatever a reference does for the order, it does. Declarations are kept
//! in [`Declared`](crate::order::Declared), by the address of the object, and not in the objects; a
//! collection follows them when it marks ([`Registry::follow`]), and the plan of the topological
//! order counts them as references.
#![forbid(unsafe_code)]

use super::{Registry, Specials};
use crate::calls::executor::Closed;
use crate::heap::{Location, Marking};
use crate::runtime::mutator::Mutator;
use crate::runtime::object::Obj;

/// Why [`finalize_after`](crate::Mutator::finalize_after) declared nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AfterError {
    /// Nothing is finalized any more.
    #[error("finalize_after: {0}")]
    Closed(Closed),
    /// One of the objects is of another runtime.
    #[error("finalize_after: argument {argument} is {addr:#x}, which is in no object of this heap")]
    NotInHeap {
        /// 0: the object that is finalized after the other; 1: the other.
        argument: usize,
        /// Where it points.
        addr: usize,
    },
    /// One of the objects shares its block with others, or has no size: it does not die by itself.
    #[error(
        "finalize_after: argument {argument} at {addr:#x} has no block of its own, wanted an \
         object that dies by itself"
    )]
    Shared {
        /// As above.
        argument: usize,
        /// Where it is.
        addr: usize,
    },
    /// The declarations would go round in a circle.
    #[error("finalize_after: found a cycle of declared orders: {}", print(.path, .types))]
    Cycle {
        /// The addresses of the objects: each is finalized after the one before it, and the first
        /// after the last.
        path: Vec<usize>,
        /// Their types.
        types: Vec<String>,
    },
}

fn print(path: &[usize], types: &[String]) -> String {
    let of = |(addr, ty): (&usize, &String)| format!("{ty} {addr:#x}");
    let mut all: Vec<String> = path.iter().zip(types).map(of).collect();
    all.extend(all.first().cloned());
    all.join(" before ")
}

impl Registry {
    pub(crate) fn finalize_after(
        &self,
        mutator: &Mutator,
        object: Obj<'_>,
        parent: Obj<'_>,
    ) -> Result<(), AfterError> {
        Closed::check(&self.gate).map_err(AfterError::Closed)?;
        let heap = mutator.space().heap();
        for (argument, addr) in [object.addr(), parent.addr()].into_iter().enumerate() {
            match heap.locate(addr) {
                Location::Object { desc, .. } if !heap.is_tiny_block(desc) => {}
                Location::Object { .. } | Location::Zero => {
                    return Err(AfterError::Shared { argument, addr });
                }
                Location::Nil | Location::NoObject => {
                    return Err(AfterError::NotInHeap { argument, addr });
                }
            }
        }
        let (object, parent) = (object.addr(), parent.addr());
        let Some(place) = heap.place(parent) else {
            return Err(AfterError::NotInHeap {
                argument: 1,
                addr: parent,
            });
        };
        let mut specials = self.specials.lock();
        let declared = specials.declared.declare(object, parent);
        if declared.is_ok() {
            heap.set_special(place);
            heap.watch_specials();
        }
        drop(specials);
        declared.map_err(|path| {
            let name = |addr: &usize| {
                let desc = heap.type_at(*addr);
                desc.map_or_else(|_| String::new(), |desc| desc.ty().to_string())
            };
            let types = path.iter().map(name).collect();
            AfterError::Cycle { path, types }
        })
    }

    /// Marks everything that is reachable from marked objects, by hidden references and ephemerons
    /// too.
    pub(super) fn follow(&self, specials: &Specials, marking: &mut Marking<'_>) {
        marking.drain();
        while let Some(object) = marking.next_special() {
            for hidden in specials.hidden(object) {
                marking.mark(hidden);
            }
            specials.weak.follow(object, marking);
            marking.drain();
        }
    }
}
