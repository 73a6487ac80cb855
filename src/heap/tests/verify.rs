//! The verifier, on sound heaps and on damaged ones; stress.

use super::*;
use crate::heap::HeapFault;

#[test]
fn random_graphs_are_sound_and_counted() {
    let space = space(options());
    let mut rng = Rng::new(5);
    let mut kept = Vec::new();
    for _ in 0..6 {
        let mut m = attach(&space).unwrap();
        let objects: Vec<_> = (0..500)
            .map(|_| m.alloc(shape(&space, rng.below(5))).unwrap())
            .collect();
        for &object in &objects {
            let words = m.type_of(object).unwrap().size() / 8;
            for word in 1..words {
                m.store_addr(object, 8 * word, objects[rng.below(500)].addr())
                    .unwrap();
            }
        }
        kept.extend((0..20).map(|_| m.root(objects[rng.below(500)])));
        m.gc().unwrap();
        drop(m);
        let report = space.verify().unwrap().unwrap();
        let stats = space.heap().stats();
        assert_eq!(report.objects, stats.objects);
        assert_eq!(report.blocks * 65536, stats.in_use_bytes);
        assert!(report.references > 0);
        kept.truncate(30);
    }
}

#[test]
fn a_pointer_to_a_freed_object_is_found() {
    let space = space(options());
    let mut m = attach(&space).unwrap();
    let ty = shape(&space, 2);
    let object = m.alloc(ty).unwrap();
    let holder = m.root(object).unwrap();
    let lost = m.alloc(ty).unwrap().addr();
    m.gc().unwrap();
    m.store_addr(m.get(&holder).unwrap(), 16, lost).unwrap();
    drop(m);
    let fault = space.verify().unwrap().unwrap_err();
    let (object, ty) = (
        holder.addr(),
        "struct { ID int; P [2]unsafe.Pointer }".to_owned(),
    );
    assert_eq!(
        fault,
        HeapFault::Dangling {
            object,
            ty,
            offset: 16,
            addr: lost
        }
    );
    assert!(
        fault
            .to_string()
            .contains("the pointer at offset 16 leads to"),
        "{fault}"
    );
}

#[test]
fn a_damaged_header_is_found() {
    let space = space(options());
    let m = attach(&space).unwrap();
    let object = m.alloc(shape(&space, 1)).unwrap().addr();
    drop(m);
    let header = space.heap().arena.load(object - 8);
    space.heap().arena.store(object - 8, header + 8);
    let fault = space.verify().unwrap().unwrap_err();
    assert_eq!(
        fault,
        HeapFault::Header {
            object,
            found: header + 8
        }
    );
    space.heap().arena.store(object - 8, header);
    assert_eq!(space.verify().unwrap().unwrap().objects, 1);
}

#[test]
fn marks_and_counts_that_are_wrong_are_found() {
    let space = space(options());
    let m = attach(&space).unwrap();
    let object = m.alloc(shape(&space, 1)).unwrap().addr();
    drop(m);
    let block = space.heap().block_at(object).unwrap();
    let (index, _) = block.cell_of(object).unwrap();
    block.set_owned(Bit::Mark, index);
    let fault = space.verify().unwrap().unwrap_err();
    assert!(
        fault
            .to_string()
            .ends_with("an object is marked, and nobody collects"),
        "{fault}"
    );
    block.set_word(Bit::Mark, index / 64, 0);
    space.heap().books.lock().in_use += 1;
    let fault = space.verify().unwrap().unwrap_err();
    assert!(
        fault
            .to_string()
            .ends_with("blocks in use were counted wrong"),
        "{fault}"
    );
    space.heap().books.lock().in_use -= 1;
}

/// Under stress each safepoint collects, so an object that nothing roots is gone at once.
#[test]
fn stress_collects_at_every_safepoint() {
    let space = space(HeapOptions {
        stress: true,
        percent: Some(100),
        ..options()
    });
    let mut m = attach(&space).unwrap();
    let ty = shape(&space, 1);
    let kept = m.alloc_collecting(ty).unwrap();
    m.alloc(ty).unwrap();
    let before = space.heap().epoch();
    m.safepoint();
    assert_eq!(space.heap().epoch(), before + 1);
    assert!(m.collect_if_due());
    drop(m.alloc_collecting(ty).unwrap());
    assert_eq!(
        space.heap().epoch(),
        before + 4,
        "a safepoint, and one that was due"
    );
    space.heap().set_percent(None);
    m.safepoint();
    assert!(!m.collect_if_due());
    assert_eq!(space.heap().epoch(), before + 4, "nothing is ever due");
    drop(m);
    assert_eq!(
        space.heap().stats().objects,
        2,
        "the kept one, and the last"
    );
    assert_eq!(space.verify().unwrap().unwrap().objects, 2);
    drop(kept);
}
