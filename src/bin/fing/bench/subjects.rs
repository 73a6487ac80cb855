//! Who is measured, as data: fing and what one would write by hand in this process, peers in processes of their own.
#![forbid(unsafe_code)]

use super::peers::{self, Peer};
use super::runtime::{Fing, Registered};
use super::scenario::{ALL_DEAD, Field};
use super::subject::{Fault, Subject, Work};
use crate::by_hand::ByHand;
use crate::callees::Kind::{self, Interface, Pointer, Results};

/// A subject before it is made for some work.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// `go.pointer`: whose, and what is registered.
    pub(crate) name: String,
    /// The subject of fing's that does the same.
    pub(crate) beside: String,
    pub(crate) field: Field,
    /// Rounds with more objects are not for it: they would take minutes, or the machine's memory.
    pub(crate) most: usize,
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    Fing(Registered),
    ByHand(Kind, bool),
    Peer(&'static Peer, &'static str),
}

/// As many as the heap of fing's subject holds, and more than the memory of most machines.
const ANY: usize = usize::MAX;
/// Where only a few of fing's and each peer's kinds are measured.
const FEW: usize = 1_000_000;

/// fing's and by hand: name, what is registered, most objects.
const FING: &[(&str, Registered, usize)] = &[
    ("none", Registered::Nothing, ANY),
    ("pointer", Registered::Finalizer(Pointer), ANY),
    ("interface", Registered::Finalizer(Interface), FEW),
    ("results", Registered::Finalizer(Results), FEW),
    ("prepared", Registered::Prepared, ANY),
    ("grouped", Registered::Grouped, FEW),
    ("cleanup", Registered::Cleanup, ANY),
];
const KINDS: &[(&str, Kind)] = &[
    ("pointer", Pointer),
    ("interface", Interface),
    ("results", Results),
];

/// All subjects, in the order of reports.
pub(crate) fn all() -> Vec<Spec> {
    let mut all = Vec::new();
    for &(kind, registered, most) in FING {
        all.push(Spec {
            name: format!("fing.{kind}"),
            beside: "fing.pointer".to_owned(),
            field: Field::Peers,
            most,
            how: How::Fing(registered),
        });
    }
    for (whose, libffi) in [("loop", false), ("libffi", true)] {
        for &(kind, takes) in KINDS {
            all.push(Spec {
                name: format!("{whose}.{kind}"),
                beside: format!("fing.{kind}"),
                field: Field::Peers,
                most: ANY,
                how: How::ByHand(takes, libffi),
            });
        }
    }
    for peer in peers::PEERS {
        for &(kind, most) in peer.kinds {
            let same = FING.iter().any(|(name, ..)| *name == kind);
            all.push(Spec {
                name: format!("{}.{kind}", peer.name),
                beside: format!("fing.{}", if same { kind } else { "pointer" }),
                field: Field::Peers,
                most,
                how: How::Peer(peer, kind),
            });
        }
    }
    let most = fing::stubs::Machine::of(fing::Arch::Amd64).int_regs.len();
    for (kind, takes) in [("pointer", Pointer), ("interface", Interface)] {
        for count in 0..=most {
            all.push(Spec {
                name: format!("fing.go-{kind}-{count}"),
                beside: format!("fing.go-{kind}-{most}"),
                field: Field::Registers,
                most: FEW,
                how: How::Fing(Registered::Go(takes, count)),
            });
        }
    }
    all
}

impl Spec {
    /// The peer, if it is one.
    pub(crate) fn peer(&self) -> Option<&'static Peer> {
        match self.how {
            How::Peer(peer, _) => Some(peer),
            _ => None,
        }
    }

    /// Whether it takes part with this kind of work and this number of objects.
    pub(crate) fn does(&self, work: Work, objects: usize) -> bool {
        let can = match (&self.how, work) {
            (How::Peer(peer, kind), _) => peer.does(kind, work),
            (How::ByHand(Pointer, _), work) => matches!(work, Work::Cycle { dead: 100, .. }),
            (How::ByHand(..), work) => work == ALL_DEAD,
            (How::Fing(Registered::Nothing), Work::Cancel) => false,
            (
                How::Fing(
                    Registered::Finalizer(Pointer) | Registered::Prepared | Registered::Grouped,
                ),
                _,
            ) => true,
            (How::Fing(_), work) => !matches!(work, Work::Cycle { targets, .. } if targets > 1),
        };
        // With more, one kind of work takes minutes enough.
        can && objects <= self.most && (objects <= FEW || work == ALL_DEAD)
    }

    /// Made for this work. A peer's program must have been built.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) fn start(&self, work: Work, objects: usize) -> Result<Box<dyn Subject>, Fault> {
        Ok(match self.how {
            How::Fing(registered) => Box::new(Fing::new(registered, work, objects)?),
            How::ByHand(kind, libffi) => {
                Box::new(ByHand::new(kind, libffi, work, objects).ok_or("by hand: no such work")?)
            }
            How::Peer(peer, kind) => Box::new(peer.start(kind, work, objects)?),
        })
    }
}
