//! Who is measured, as data: fing and what one would write by hand in this process, peers in processes of their own.
#![forbid(unsafe_code)]

use std::process::Command;

use super::peers::{self, Peer};
use super::process::Fresh;
use super::runtime::{Fing, Registered};
use super::scenario::{ALL_TARGETS, EIGHT_TARGETS, Field, HALF_DEAD, USUAL};
use super::subject::{ALL_DEAD, Fault, Round, Subject, Work};
use super::tree::Trees;
use crate::by_hand::ByHand;
use crate::callees::Kind::{self, Interface, Pointer, Results};

/// A subject before it is made for some work.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// `go.pointer`: whose, and what is registered.
    pub(crate) name: String,
    /// The subject of fing's that does the same.
    pub(crate) beside: String,
    /// The same without finalizers; `None` if it is that itself, or if there is none.
    pub(crate) plain: Option<String>,
    pub(crate) field: Field,
    /// Rounds with more objects are not for it: they would take minutes, or the machine's memory.
    most: usize,
    works: &'static [Work],
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

/// fing's: name, what is registered, most objects, works.
const FING: &[(&str, Registered, usize, &[Work])] = &[
    (
        "none",
        Registered::Nothing,
        ANY,
        &[
            ALL_DEAD,
            HALF_DEAD,
            Work::Churn,
            Work::Tree,
            Work::TreeChurn,
        ],
    ),
    ("pointer", Registered::Finalizer(Pointer), ANY, ALL_TARGETS),
    ("interface", Registered::Finalizer(Interface), FEW, USUAL),
    ("results", Registered::Finalizer(Results), FEW, USUAL),
    ("prepared", Registered::Prepared, ANY, ALL_TARGETS),
    (
        "grouped",
        Registered::Grouped,
        FEW,
        &[
            ALL_DEAD,
            HALF_DEAD,
            EIGHT_TARGETS,
            Work::Cancel,
            Work::Churn,
        ],
    ),
    ("bulk", Registered::Bulk, FEW, USUAL),
    ("implied", Registered::Implied, FEW, USUAL),
    (
        "cleanup",
        Registered::Cleanup,
        ANY,
        &[
            ALL_DEAD,
            HALF_DEAD,
            Work::Cancel,
            Work::Random,
            Work::Churn,
            Work::Memory,
        ],
    ),
];
/// By hand: name, what is called, works of the loop, and of libffi.
const BY_HAND: &[(&str, Kind, &[Work], &[Work])] = &[
    (
        "pointer",
        Pointer,
        &[ALL_DEAD, EIGHT_TARGETS, Work::Memory],
        &[ALL_DEAD, EIGHT_TARGETS],
    ),
    ("interface", Interface, &[ALL_DEAD], &[ALL_DEAD]),
    ("results", Results, &[ALL_DEAD], &[ALL_DEAD]),
];

/// All subjects, in the order of reports.
pub(crate) fn all() -> Vec<Spec> {
    let mut all = Vec::new();
    for &(kind, registered, most, works) in FING {
        let plain = registered == Registered::Nothing;
        all.push(Spec {
            name: format!("fing.{kind}"),
            beside: "fing.pointer".to_owned(),
            plain: (!plain).then(|| "fing.none".to_owned()),
            field: Field::Peers,
            most,
            works,
            how: How::Fing(registered),
        });
    }
    for libffi in [false, true] {
        for &(kind, takes, by_loop, by_libffi) in BY_HAND {
            let whose = if libffi { "libffi" } else { "loop" };
            all.push(Spec {
                name: format!("{whose}.{kind}"),
                beside: format!("fing.{kind}"),
                plain: None,
                field: Field::Peers,
                most: ANY,
                works: if libffi { by_libffi } else { by_loop },
                how: How::ByHand(takes, libffi),
            });
        }
    }
    for peer in peers::PEERS {
        let plain = peer.kinds.iter().find(|kind| kind.plain);
        for kind in peer.kinds {
            let same = FING.iter().any(|(name, ..)| *name == kind.name);
            let beside = match kind.plain {
                true => "none",
                false if same => kind.name,
                false => "pointer",
            };
            let plain = plain.filter(|_| !kind.plain);
            all.push(Spec {
                name: format!("{}.{}", peer.name, kind.name),
                beside: format!("fing.{beside}"),
                plain: plain.map(|plain| format!("{}.{}", peer.name, plain.name)),
                field: Field::Peers,
                most: kind.most,
                works: kind.works,
                how: How::Peer(peer, kind.name),
            });
        }
    }
    let most = fing::stubs::Machine::of(fing::Arch::Amd64).int_regs.len();
    for (kind, takes) in [("pointer", Pointer), ("interface", Interface)] {
        for count in 0..=most {
            all.push(Spec {
                name: format!("fing.go-{kind}-{count}"),
                beside: format!("fing.go-{kind}-{most}"),
                plain: None,
                field: Field::Registers,
                most: FEW,
                works: &[ALL_DEAD],
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
        // With more, one kind of work takes minutes enough.
        let few = objects <= FEW || work == ALL_DEAD;
        few && objects <= self.most && self.works.contains(&work)
    }

    /// Made for this work. A peer's program must have been built.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) fn start(&self, work: Work, objects: usize) -> Result<Box<dyn Subject>, Fault> {
        Ok(match (self.how.clone(), work) {
            (How::Peer(peer, kind), Work::Memory) => {
                Box::new(Fresh(move || peer.start(kind, work, objects)?.round()))
            }
            (How::Peer(peer, kind), _) => Box::new(peer.start(kind, work, objects)?),
            (_, Work::Memory) => {
                let name = self.name.clone();
                Box::new(Fresh(move || alone(&name, objects)))
            }
            _ => self.here(work, objects)?,
        })
    }

    /// fing's and by hand, in this process.
    ///
    /// # Errors
    /// What went wrong, or it is a peer's.
    pub(crate) fn here(&self, work: Work, objects: usize) -> Result<Box<dyn Subject>, Fault> {
        Ok(match self.how {
            How::Fing(_) if matches!(work, Work::Tree | Work::TreeChurn) => {
                Box::new(Trees::new(work, objects)?)
            }
            How::Fing(registered) => Box::new(Fing::new(registered, work, objects)?),
            How::ByHand(kind, libffi) => {
                Box::new(ByHand::new(kind, libffi, work, objects).ok_or("by hand: no such work")?)
            }
            How::Peer(..) => return Err(format!("{}: not of this process", self.name).into()),
        })
    }
}

/// A round of [`Work::Memory`] in a new process of this program (`fing bench-memory`).
fn alone(name: &str, objects: usize) -> Result<Round, Fault> {
    let output = Command::new(std::env::current_exe()?)
        .args(["bench-memory", name, &objects.to_string()])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
