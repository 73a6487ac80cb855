//! Every address of the heap, asked one by one.

use super::*;
use crate::heap::class::BLOCK;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn every_address_finds_its_object_or_none() {
    for seed in 0..fing_oracles::cases(3) {
        let mut rng = Rng::new(seed);
        let space = space(HeapOptions {
            limit: 40 * BLOCK,
            ..options()
        });
        let mut m = attach(&space).unwrap();
        let mut live: BTreeMap<usize, (TypeId, crate::Handle)> = BTreeMap::new();
        let sizes = [
            1, 7, 8, 9, 24, 25, 100, 1000, 5000, 8184, 8185, 65_520, 65_521, 200_000,
        ];
        for _ in 0..3 {
            for _ in 0..400 {
                let kinds = if rng.chance(95) { 9 } else { sizes.len() };
                let size = sizes[rng.below(kinds)];
                let ty = space.types().id(&format!("[{size}]uint8")).unwrap();
                let Ok(object) = m.alloc(ty) else { continue };
                live.insert(object.addr(), (ty, m.root(object).unwrap()));
            }
            // The rest of each run is handed out already and still free.
            check(&space, &live);
            live.retain(|_, _| rng.chance(50));
            m.gc().unwrap();
            check(&space, &live);
        }
    }
}

fn check(space: &Space, live: &BTreeMap<usize, (TypeId, crate::Handle)>) {
    let heap = space.heap();
    let start = heap.arena.start();
    let end = start + heap.arena.blocks() * BLOCK;
    let mut objects = live.iter().peekable();
    let mut places = BTreeSet::new();
    let mut last: Option<(usize, TypeId, usize)> = None;
    for addr in start..end {
        while let Some((&at, (ty, _))) = objects.next_if(|(at, _)| **at <= addr) {
            last = Some((at, *ty, heap.types().desc(*ty).unwrap().size()));
        }
        let want = last
            .filter(|(at, _, size)| addr < at + size)
            .map(|(at, ty, _)| (at, ty));
        let found = heap.find(addr).map(|(at, desc)| (at, desc.id()));
        assert_eq!(found, want, "offset {:#x} of the heap", addr - start);
        // Addresses have the same place if they are of the same object.
        let place = heap.place(addr);
        assert_eq!(place, want.and_then(|(at, _)| heap.place(at)));
        if want.is_some_and(|(at, _)| at == addr) {
            let place = place.unwrap();
            assert!(place.cell < place.cells);
            assert!(places.insert((place.block, place.cell)));
        }
    }
    assert_eq!(places.len(), live.len());
    for addr in [0, 1, start - 1, end, end + 1, usize::MAX] {
        assert!(heap.find(addr).is_none());
    }
}
