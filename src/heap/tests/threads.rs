//! Mutators that race with each other and with collections.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering::*};

const SLOTS: usize = 64;
const STEPS: usize = 6000;

/// Each thread owns half of a shared array and keeps lists in it; a third one collects all the
/// time. In the end each half holds exactly what its owner put there.
#[test]
fn no_reachable_object_is_lost() {
    let space = space(HeapOptions {
        limit: 32 << 20,
        ..options()
    });
    let (array, shared) = (shape(&space, 2 * SLOTS), shape(&space, 1));
    let (handle, common) = Runtime::over(&space)
        .enter(|m| {
            (
                m.root(m.alloc(array).unwrap()).unwrap(),
                m.root(m.alloc(shared).unwrap()).unwrap(),
            )
        })
        .unwrap();
    let running = AtomicUsize::new(2);
    std::thread::scope(|scope| {
        for half in 0..2 {
            let (space, handle, common, running) = (&space, &handle, &common, &running);
            scope.spawn(move || {
                work(space, handle, common, half);
                running.fetch_sub(1, SeqCst);
            });
        }
        while running.load(SeqCst) > 0 {
            space.collect().unwrap();
            std::thread::yield_now();
        }
    });
    let done = space.collect().unwrap();
    // The lists, the array, the common object and what one of them put in it last.
    let lists: usize = (0..2)
        .map(|half| plan(half).iter().map(Vec::len).sum::<usize>())
        .sum();
    let last = done.live_objects - lists - 2;
    assert!(last <= 1, "{last} objects too many");
    Runtime::over(&space)
        .enter(|m| {
            for half in 0..2 {
                verify(m, &handle, half, &plan(half));
            }
        })
        .unwrap();
}

/// What half of the array holds after all steps.
fn plan(half: usize) -> Vec<Vec<u64>> {
    let mut lists = vec![Vec::new(); SLOTS];
    steps(half, |step, slot, action| {
        act(&mut lists[slot], tag(half, step), action)
    });
    lists
}

fn steps(half: usize, mut step: impl FnMut(usize, usize, usize)) {
    let mut rng = Rng::new(half as u64 + 100);
    (0..STEPS).for_each(|n| step(n, rng.below(SLOTS), rng.below(10)));
}

fn act(list: &mut Vec<u64>, tag: u64, action: usize) {
    match action {
        0..2 => list.clear(),
        2..4 => drop(list.pop()),
        _ => list.push(tag),
    }
}

fn tag(half: usize, step: usize) -> u64 {
    (half as u64) << 32 | step as u64
}

fn work(space: &Arc<Space>, handle: &crate::Handle, common: &crate::Handle, half: usize) {
    let mut m = attach(space).unwrap();
    let node = shape(space, 1);
    let mut lists = vec![Vec::new(); SLOTS];
    steps(half, |step, at, action| {
        {
            let array = m.get(handle).unwrap();
            let offset = slot(half * SLOTS + at);
            let head = m.load_ref(array, offset).unwrap();
            let new = match (action, head) {
                (0..2, _) | (2..4, None) => None,
                (2..4, Some(head)) => m.load_ref(head, slot(0)).unwrap(),
                _ => {
                    let object = m.alloc(node).unwrap();
                    m.store_word(object, 0, tag(half, step)).unwrap();
                    m.store_ref(object, slot(0), head).unwrap();
                    Some(object)
                }
            };
            m.store_ref(array, offset, new).unwrap();
            // Both threads write this word; whoever is last, what is there is a whole object.
            let common = m.get(common).unwrap();
            if let Some(there) = m.load_ref(common, slot(0)).unwrap() {
                assert_eq!(m.load_word(there, 0).unwrap() & 0xffff_ffff, 0xc0ffee);
            }
            let object = m.alloc(node).unwrap();
            m.store_word(object, 0, (half as u64) << 40 | 0xc0ffee)
                .unwrap();
            m.store_ref(common, slot(0), Some(object)).unwrap();
        }
        act(&mut lists[at], tag(half, step), action);
        match step % 64 {
            0 => verify(&m, handle, half, &lists),
            1 => m.native(std::thread::yield_now),
            2 => drop(m.alloc_collecting(node).unwrap()),
            3 if step % 512 == 3 => drop(m.gc().unwrap()),
            _ => m.safepoint(),
        }
    });
    verify(&m, handle, half, &lists);
}

fn verify(m: &crate::Mutator, handle: &crate::Handle, half: usize, lists: &[Vec<u64>]) {
    let array = m.get(handle).unwrap();
    for (at, list) in lists.iter().enumerate() {
        let mut node = m.load_ref(array, slot(half * SLOTS + at)).unwrap();
        for tag in list.iter().rev() {
            let object = node.expect("a list as long as it was");
            assert_eq!(m.load_word(object, 0), Ok(*tag));
            node = m.load_ref(object, slot(0)).unwrap();
        }
        assert_eq!(node, None);
    }
}

/// Threads come and go while others collect and register.
#[test]
fn threads_come_and_go() {
    let space = space(options());
    let ty = shape(&space, 1);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let space = &space;
            scope.spawn(move || {
                for round in 0..60 {
                    let mut m = attach(space).unwrap();
                    let handle = m.alloc_collecting(ty).unwrap();
                    let id = std::num::NonZeroU32::new(thread * 1000 + round + 1).unwrap();
                    assert_eq!(set_id(space, handle.addr(), id), SetId::Set);
                    m.store_word(m.get(&handle).unwrap(), 0, u64::from(id.get()))
                        .unwrap();
                    if round % 8 == thread {
                        m.gc().unwrap();
                    }
                    m.safepoint();
                    assert_eq!(
                        m.load_word(m.get(&handle).unwrap(), 0),
                        Ok(u64::from(id.get()))
                    );
                    assert_eq!(space.heap().take_id(handle.addr()), Some(id));
                    drop(m);
                    space.collect().unwrap();
                }
            });
        }
    });
    assert_eq!(space.world().members(), (0, 0));
    assert_eq!(space.roots().len(), 0);
    assert_eq!(space.collect().unwrap().live_objects, 0);
}
