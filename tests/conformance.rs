//! The conformance kit on every collector there is, and the kit itself: it sees deliberate faults.
#![cfg(feature = "conformance")]

use fing::Order;
use fing::conformance::{Collector, Embedded, Fault, Foreign, Subject, Suite};
use fing::foreign::{Finalizers, Scope};

#[path = "../examples/bring_your_own_gc.rs"]
#[expect(dead_code, reason = "what the example does with its heap")]
mod bring_your_own_gc;
#[path = "conformance/simulated.rs"]
mod simulated;

use bring_your_own_gc::Heap as CopyingHeap;
use simulated::{
    Ageing, Compacting, EarlyGenerational, EarlyRoots, Generational, Heap, MarkSweep, SemiSpace,
};

impl Collector for CopyingHeap {
    type Ref = usize;

    fn new(roots: usize) -> Self {
        CopyingHeap::new(2048, roots)
    }

    fn roots(&mut self) -> &mut [Option<usize>] {
        &mut self.roots
    }

    fn alloc(&mut self, id: u64, fields: usize) -> usize {
        CopyingHeap::alloc(self, id, fields)
    }

    fn id(&self, object: usize) -> u64 {
        self.number(object)
    }

    fn load(&self, object: usize, field: usize) -> Option<usize> {
        CopyingHeap::load(self, object, field)
    }

    fn store(&mut self, object: usize, field: usize, value: Option<usize>) {
        CopyingHeap::store(self, object, field, value);
    }

    fn collect(&mut self, finalizers: &Finalizers<usize>, _: Scope, _: bool) {
        CopyingHeap::collect(self, finalizers).unwrap();
    }

    fn objects(&self) -> Vec<usize> {
        CopyingHeap::objects(self)
    }
}

fn conforms<S: Subject>(name: &str) {
    for order in [Order::Go, Order::Topological] {
        let mut suite = Suite::new(order);
        suite.cases = fing_oracles::cases(suite.cases);
        match suite.run::<S>() {
            Ok(summary) => {
                println!("{name}, {order:?} order: {summary}");
                let topological = [summary.cycles, summary.taken_back];
                assert!(summary.calls > 0 && summary.ephemerons > 0);
                assert!(order == Order::Go || !topological.contains(&0));
            }
            Err(failure) => panic!("{name}, {order:?} order: {failure}"),
        }
    }
}

#[test]
fn the_embedded_heap_conforms() {
    conforms::<Embedded>("embedded heap");
}

#[test]
fn the_example_conforms() {
    conforms::<Foreign<CopyingHeap>>("examples/bring_your_own_gc.rs");
}

#[test]
fn mark_sweep_conforms() {
    conforms::<Foreign<Heap<MarkSweep>>>("mark and sweep");
}

#[test]
fn semispace_conforms() {
    conforms::<Foreign<Heap<SemiSpace>>>("semispace");
}

#[test]
fn compaction_conforms() {
    conforms::<Foreign<Heap<Compacting>>>("mark and compact");
}

#[test]
fn generations_conform() {
    conforms::<Foreign<Heap<Generational>>>("generational");
    conforms::<Foreign<Heap<Ageing>>>("generational, ageing");
}

#[test]
fn early_roots_conform() {
    conforms::<Foreign<Heap<EarlyRoots>>>("early roots");
    conforms::<Foreign<Heap<EarlyGenerational>>>("early roots, generational");
}

/// How many programs it takes until the kit sees a fault, if so many are enough.
fn seen_after<S: Subject>(fault: Fault, order: Order) -> Option<u64> {
    let mut suite = Suite::new(order);
    suite.cases = 400;
    suite.fault = Some(fault);
    let failure = suite.run::<S>().err()?;
    Some(failure.seed)
}

#[test]
fn the_kit_sees_faults() {
    use Order::{Go, Topological};
    // Programs that fail are many here, and their panics say nothing new.
    let (own, others) = (std::thread::current().id(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() != own {
            others(panic);
        }
    }));
    let faults: &[(Fault, &[Order])] = &[
        (Fault::NoRetain, &[Go, Topological]),
        (Fault::NoDrain, &[Go]),
        (Fault::CleanupsFirst, &[Go, Topological]),
        (Fault::ContextNotTraced, &[Go, Topological]),
        (Fault::QueueNotTraced, &[Go, Topological]),
        (Fault::DueNotTraced, &[Go]),
        (Fault::WeakLast, &[Go]),
        (Fault::NoRehash, &[Go, Topological]),
        (Fault::NoYoungList, &[Go, Topological]),
        (Fault::SelfCounts, &[Go]),
        (Fault::NotRevived, &[Go, Topological]),
        (Fault::NotTakenBack, &[Topological]),
        (Fault::AllTakenBack, &[Topological]),
        (Fault::TakenBackBare, &[Topological]),
        (Fault::DeclaredNotFollowed, &[Go, Topological]),
        (Fault::Reversed, &[Topological]),
        (Fault::CyclesRun, &[Topological]),
        (Fault::LeftNotKept, &[Topological]),
        (Fault::NotBroken, &[Topological]),
        (Fault::ReportedAgain, &[Topological]),
        (Fault::EphemeronStrong, &[Go, Topological]),
        (Fault::EphemeronIgnored, &[Go, Topological]),
        (Fault::EphemeronOnce, &[Go, Topological]),
        (Fault::EphemeronOldCleared, &[Go, Topological]),
        (Fault::EphemeronNotForwarded, &[Go, Topological]),
        (Fault::EphemeronsLast, &[Go]),
        (Fault::EphemeronNotRetained, &[Go, Topological]),
        (Fault::EphemeronsNotPlanned, &[Topological]),
        (Fault::OneWatcherHears, &[Topological]),
        (Fault::WatcherRenamed, &[Topological]),
        (Fault::WatchedNotRetained, &[Go]),
    ];
    let mut missed = Vec::new();
    for &(fault, orders) in faults {
        for &order in orders {
            let seen = seen_after::<Foreign<Heap<Generational>>>(fault, order);
            println!("{fault:?}, {order:?} order: {seen:?}");
            if seen.is_none() {
                missed.push((fault, order));
            }
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not seen: {missed:?}");
}
