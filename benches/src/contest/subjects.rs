//! The subjects, as data: fing and what one would write by hand in this process, peers in processes
//! of their own.
#![forbid(unsafe_code)]

use super::by_hand::ByHand;
use super::fing::{Fing, Registered};
use super::owners::Owners;
use super::peers::{self, Peer};
use super::process::in_new_process;
use super::steady::Steady;
use super::trees::Trees;
use super::work::{ALL_DEAD, EIGHT_TARGETS, HALF_DEAD, Work};
use crate::api::functions::int_arg_regs;
use crate::callees::Kind::{self, Interface, Pointer, Results};
use crate::measure::{Fault, Subject, rounds};
use crate::plan::{Field, Suite, suites};

/// A subject before it is made for some work.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// `go.pointer`: whose it is, and what is registered.
    pub(crate) name: String,
    /// fing's subject that does the same; fing's own may name another of fing's.
    pub(crate) beside: String,
    /// The subject that does the same but for what this one registers; `None` if there is none.
    pub(crate) plain: Option<String>,
    /// Most objects of a round: more would take minutes, or the machine's memory.
    most: usize,
    works: &'static [Work],
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    Fing(Registered),
    Owners,
    ByHand(Kind, bool),
    Peer(&'static Peer, &'static str),
    /// fing's, only beside itself.
    Registers(Registered),
    Suite(&'static Suite),
}

/// As many as the heap of fing's subject holds, and more than the memory of most machines.
const ANY: usize = usize::MAX;
/// Only a few of fing's and each peer's kinds are measured with more.
const FEW: usize = 1_000_000;

/// What most kinds of fing's and of its peers do: what is registered can be taken back.
pub(crate) const USUAL: &[Work] = &[ALL_DEAD, HALF_DEAD, Work::Cancel, Work::Churn];
/// What those do that are measured most closely.
pub(crate) const EVERY: &[Work] = &[
    ALL_DEAD,
    HALF_DEAD,
    EIGHT_TARGETS,
    Work::Cancel,
    Work::Random,
    Work::Churn,
    Work::Memory,
    Work::Closures,
    Work::Steady,
];
/// What those do that have a context for each registration.
pub(crate) const WITH_CONTEXT: &[Work] = &[Work::Closures, Work::Memory];

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
            Work::Steady,
        ],
    ),
    ("pointer", Registered::Finalizer(Pointer), ANY, EVERY),
    ("closure", Registered::Closure, ANY, WITH_CONTEXT),
    ("interface", Registered::Finalizer(Interface), FEW, USUAL),
    ("results", Registered::Finalizer(Results), FEW, USUAL),
    (
        "prepared",
        Registered::Prepared,
        ANY,
        &[
            ALL_DEAD,
            HALF_DEAD,
            EIGHT_TARGETS,
            Work::Cancel,
            Work::Random,
            Work::Churn,
            Work::Memory,
            Work::Closures,
        ],
    ),
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
    let mut all: Vec<Spec> = FING.iter().map(Spec::of_fing).collect();
    all.push(Spec {
        name: "fing.owner".to_owned(),
        beside: "fing.owner".to_owned(),
        plain: None,
        most: FEW,
        works: &[Work::Owners],
        how: How::Owners,
    });
    for libffi in [false, true] {
        all.extend(BY_HAND.iter().map(|row| Spec::by_hand(row, libffi)));
    }
    for peer in peers::PEERS {
        let kinds = peer.kinds.iter();
        all.extend(kinds.map(|kind| Spec::of_peer(peer, kind)));
    }
    for kind in Kind::PLAIN {
        all.extend((0..=int_arg_regs()).map(|count| Spec::registers(kind, count)));
    }
    all.extend(suites().into_iter().map(Spec::of_suite));
    all
}

impl Spec {
    fn of_fing(
        (kind, registered, most, works): &(&str, Registered, usize, &'static [Work]),
    ) -> Spec {
        let plain = match registered {
            Registered::Nothing => None,
            Registered::Closure => Some("fing.pointer"),
            _ => Some("fing.none"),
        };
        Spec {
            name: format!("fing.{kind}"),
            beside: "fing.pointer".to_owned(),
            plain: plain.map(str::to_owned),
            most: *most,
            works,
            how: How::Fing(*registered),
        }
    }

    fn by_hand(
        (name, kind, by_loop, by_libffi): &(&str, Kind, &'static [Work], &'static [Work]),
        libffi: bool,
    ) -> Spec {
        let (whose, works) = match libffi {
            true => ("libffi", *by_libffi),
            false => ("loop", *by_loop),
        };
        Spec {
            name: format!("{whose}.{name}"),
            beside: format!("fing.{name}"),
            plain: None,
            most: ANY,
            works,
            how: How::ByHand(*kind, libffi),
        }
    }

    fn of_peer(peer: &'static Peer, kind: &'static peers::Kind) -> Spec {
        let same = FING.iter().any(|(name, ..)| *name == kind.name);
        let beside = match kind.registers {
            None => "none",
            Some(_) if same => kind.name,
            Some(_) => "pointer",
        };
        Spec {
            name: format!("{}.{}", peer.name, kind.name),
            beside: format!("fing.{beside}"),
            plain: kind.registers.map(|less| format!("{}.{less}", peer.name)),
            most: kind.most,
            works: kind.works,
            how: How::Peer(peer, kind.name),
        }
    }

    fn registers(kind: Kind, count: usize) -> Spec {
        let most = int_arg_regs();
        Spec {
            name: format!("fing.go-{}-{count}", kind.name()),
            beside: format!("fing.go-{}-{most}", kind.name()),
            plain: None,
            most: FEW,
            works: &[ALL_DEAD],
            how: How::Registers(Registered::Go(kind, count)),
        }
    }

    fn of_suite(suite: &'static Suite) -> Spec {
        Spec {
            name: suite.subject(),
            beside: suite.subject(),
            plain: None,
            most: ANY,
            works: &[],
            how: How::Suite(suite),
        }
    }

    /// The peer, if it is one.
    pub(crate) fn peer(&self) -> Option<&'static Peer> {
        match self.how {
            How::Peer(peer, _) => Some(peer),
            _ => None,
        }
    }

    /// The suite, if it is one.
    pub(crate) fn suite(&self) -> Option<&'static Suite> {
        match self.how {
            How::Suite(suite) => Some(suite),
            _ => None,
        }
    }

    /// Whether it takes part with this kind of work and this number of objects.
    pub(crate) fn does(&self, field: Field, work: Work, objects: usize) -> bool {
        // With more, one kind of work takes minutes enough.
        let few = objects <= FEW || matches!(work, ALL_DEAD | Work::Closures);
        few && objects <= self.most && self.works_at(field, work)
    }

    /// Whether it takes part with this kind of work.
    pub(crate) fn works_at(&self, field: Field, work: Work) -> bool {
        let its_field = match self.how {
            How::Registers(_) => Field::Registers,
            _ => Field::Peers,
        };
        its_field == field && self.works.contains(&work)
    }

    /// Makes it for this work. A peer's program must have been built.
    ///
    /// # Errors
    /// What went wrong.
    pub(crate) fn start(&self, work: Work, objects: usize) -> Result<Box<dyn Subject>, Fault> {
        Ok(match self.how {
            How::Peer(peer, kind) if work.is_alone() => {
                rounds(move || peer.start(kind, work, objects)?.round())
            }
            How::Peer(peer, kind) => Box::new(peer.start(kind, work, objects)?),
            _ if work.is_alone() => {
                let [work, ..] = work.arguments();
                in_new_process([self.name.clone(), work, objects.to_string()])
            }
            _ => self.here(work, objects)?,
        })
    }

    /// Makes it for this work, in this process.
    ///
    /// # Errors
    /// What went wrong, or it is a peer's.
    pub(crate) fn here(&self, work: Work, objects: usize) -> Result<Box<dyn Subject>, Fault> {
        Ok(match (&self.how, work) {
            (How::Fing(_), Work::Tree | Work::TreeChurn) => Box::new(Trees::new(work, objects)?),
            (How::Fing(registered), Work::Steady) => {
                Box::new(Steady::new(*registered != Registered::Nothing, objects)?)
            }
            (How::Fing(registered) | How::Registers(registered), _) => {
                Box::new(Fing::new(*registered, work, objects)?)
            }
            (How::Owners, _) => Box::new(Owners::new(objects)?),
            (How::ByHand(kind, libffi), _) => {
                Box::new(ByHand::new(*kind, *libffi, work, objects).ok_or("by hand: no such work")?)
            }
            (How::Suite(_) | How::Peer(..), _) => {
                return Err(format!("{}: does no such work in this process", self.name).into());
            }
        })
    }
}
