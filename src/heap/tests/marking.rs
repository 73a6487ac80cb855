//! The questions the finalizer side asks of a collection.

use super::*;
use std::num::NonZeroU32;
use std::sync::Mutex;

fn id(n: usize) -> NonZeroU32 {
    NonZeroU32::new(n as u32 + 1).unwrap()
}

/// Runs `decide` in the middle of one collection.
struct Probe<F>(F);

impl<F: Fn(&mut Marking<'_>) + Send + Sync> Weakness for Probe<F> {
    fn roots(&self, _: &mut Marking<'_>) {}
    fn retain(&self, _: &mut Marking<'_>) {}
    fn decide(&self, marking: &mut Marking<'_>) {
        (self.0)(marking);
    }
}

fn probed(probe: impl Fn(&mut Marking<'_>) + Send + Sync + 'static) -> Arc<Space> {
    Space::new(Arc::new(Types::new()), options(), Arc::new(Probe(probe))).unwrap()
}

#[test]
fn the_dying_come_in_the_order_of_allocation() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let space = probed(move |marking| {
        marking.for_each_with_id(|_, addr, id, _| log.lock().unwrap().push((addr, id)))
    });
    let mut m = attach(&space).unwrap();
    let ty = space.types().id("[3]int").unwrap();
    // Holes from earlier objects do not disturb the order.
    let kept: Vec<_> = (0..5000)
        .map(|_| m.alloc(ty).map(|object| m.root(object).unwrap()).unwrap())
        .collect();
    let kept: Vec<_> = kept
        .into_iter()
        .enumerate()
        .filter(|(i, _)| i % 7 < 2)
        .collect();
    m.gc().unwrap();
    for many in [3, 50, 101, 102, 250, 10_000] {
        let made: Vec<_> = (0..many)
            .map(|n| {
                let addr = m.alloc(ty).unwrap().addr();
                assert_eq!(set_id(&space, addr, id(n)), SetId::Set);
                (addr, id(n))
            })
            .collect();
        m.gc().unwrap();
        assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), made);
    }
    drop(kept);
}

#[test]
fn children_leave_out_self_nil_and_strangers() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let space = probed(move |marking| {
        marking.for_each_with_id(|marking, addr, _, _| {
            let mut children = Vec::new();
            marking.children(addr, |_, child| children.push(child));
            assert!(children.iter().all(|&child| !marking.is_marked(child)));
            assert!(!marking.is_marked(addr) && !marking.is_marked(addr + 8));
            log.lock().unwrap().push(children);
        });
        assert!(
            marking.is_marked(0) && marking.is_marked(1),
            "what is not ours counts as reached"
        );
        marking.mark(0);
        marking.mark(usize::MAX);
    });
    let mut m = attach(&space).unwrap();
    let addrs: Vec<usize> = (0..3)
        .map(|_| m.alloc(shape(&space, 6)).unwrap().addr())
        .collect();
    let object = m.adopt(addrs[0]).unwrap();
    let words = [
        addrs[2],
        addrs[0],
        addrs[0] + 16,
        addrs[1] + 50,
        0x1234,
        addrs[2],
    ];
    words
        .iter()
        .enumerate()
        .for_each(|(i, word)| m.store_addr(object, slot(i), *word).unwrap());
    assert_eq!(set_id(&space, addrs[0], id(0)), SetId::Set);
    m.gc().unwrap();
    assert_eq!(*seen.lock().unwrap(), [[addrs[2], addrs[1], addrs[2]]]);
}

#[test]
fn a_cleared_or_dead_object_leaves_no_id_behind() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let space = probed(move |marking| {
        marking.for_each_with_id(|_, addr, _, _| log.lock().unwrap().push(addr))
    });
    let mut m = attach(&space).unwrap();
    let ty = space.types().id("[3]int").unwrap();
    let one = m.alloc(ty).unwrap().addr();
    let two = m.alloc(ty).unwrap().addr();
    for addr in [one, two] {
        assert_eq!(set_id(&space, addr, id(0)), SetId::Set);
        assert_eq!(set_id(&space, addr, id(1)), SetId::HasOne);
        assert_eq!(set_id(&space, addr + 8, id(1)), SetId::NotThere);
    }
    assert_eq!(space.heap().take_id(one), Some(id(0)));
    assert_eq!(space.heap().take_id(one), None);
    m.gc().unwrap();
    assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), [two]);
    // The probe does not resurrect; the cells are free and their next objects have nothing.
    assert_eq!(
        [m.alloc(ty).unwrap().addr(), m.alloc(ty).unwrap().addr()],
        [one, two]
    );
    assert_eq!([one, two].map(|addr| id_of(&space, addr)), [None, None]);
    m.gc().unwrap();
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn a_collection_that_panics_frees_nothing() {
    let bad = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let switch = bad.clone();
    let space = probed(move |_| {
        let bad = switch.load(std::sync::atomic::Ordering::Relaxed);
        assert!(!bad, "a bug");
    });
    let mut m = attach(&space).unwrap();
    let handle = m
        .alloc(shape(&space, 2))
        .map(|object| m.root(object).unwrap())
        .unwrap();
    m.alloc(shape(&space, 2)).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| m.gc().map(drop)));
    assert!(panicked.is_err());
    assert_eq!(space.heap().stats().objects, 2);
    bad.store(false, std::sync::atomic::Ordering::Relaxed);
    let done = m.gc().unwrap();
    assert_eq!((done.live_objects, done.freed_objects), (1, 1));
    drop(handle);
}

#[test]
fn long_chains_need_no_stack() {
    let space = space(options());
    let mut m = attach(&space).unwrap();
    let ty = shape(&space, 1);
    let handle = {
        let mut head = None;
        for _ in 0..300_000 {
            let object = m.alloc(ty).unwrap();
            m.store_ref(object, slot(0), head).unwrap();
            head = Some(object);
        }
        m.root(head.unwrap())
    };
    assert_eq!(m.gc().unwrap().live_objects, 300_000);
    drop(handle);
    assert_eq!(m.gc().unwrap().freed_objects, 300_000);
}
