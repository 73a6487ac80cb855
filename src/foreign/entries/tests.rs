//! Compares the entries with plain sets.
use super::*;
use crate::foreign::entry::Kind;
use crate::order::CyclePolicy;
use std::collections::BTreeSet;

fn walked(entries: &Entries, walked: Walked) -> Vec<u32> {
    let mut walk = Walk::over(walked);
    let found = std::iter::from_fn(|| walk.next(entries)).collect();
    assert!(walk.next(entries).is_none() && walk.next(entries).is_none());
    found
}

fn same(found: &[u32], model: &BTreeSet<u32>) {
    assert!(found.iter().eq(model));
}

#[test]
fn agree_with_sets() {
    let mut entries = Entries::default();
    let (mut used, mut young, mut dead, mut due) = (
        BTreeSet::new(),
        BTreeSet::new(),
        BTreeSet::new(),
        BTreeSet::new(),
    );
    let mut state = 3_u64;
    for step in 0..30_000_u64 {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(step);
        let random = (state >> 33) as u32;
        let some = used.range(random % 2000..).next().copied();
        let growing = step / 5000 % 2 == 0;
        match (random >> 12 & 15, some) {
            (0..10, _) if growing => {
                let is_young = random & 1 == 0;
                let at = entries.take(is_young);
                let first = (0..).find(|at| !used.contains(at));
                assert_eq!(Some(at), first);
                let entry = entries.at_mut(at);
                entry.fill(Kind::Finalizer, 7, 0, CyclePolicy::Leave, 0);
                used.insert(at);
                young.extend(is_young.then_some(at));
                if random & 6 == 0 {
                    entries.add_word(at, u64::from(at));
                    assert_eq!(entries.word(at), u64::from(at));
                }
            }
            (0..11, Some(at)) => {
                entries.release(at);
                for model in [&mut used, &mut young, &mut dead, &mut due] {
                    model.remove(&at);
                }
            }
            (11 | 12, Some(at)) if !due.contains(&at) => {
                entries.set_dead(at);
                dead.insert(at);
            }
            (13 | 14, Some(at)) => {
                entries.set_due(at);
                dead.remove(&at);
                due.insert(at);
            }
            (15, _) if step % 64 == 0 => {
                entries.none_due();
                due.clear();
                entries.age(Scope::Minor, |_, n| !n.is_multiple_of(3));
                young.retain(|at| !(at % CHUNK as u32).is_multiple_of(3));
            }
            _ => {}
        }
        if step % 64 == 0 {
            same(&walked(&entries, Walked::Scope(Scope::Full)), &used);
            same(&walked(&entries, Walked::Scope(Scope::Minor)), &young);
            same(&walked(&entries, Walked::Dead(Scope::Full)), &dead);
            let young_dead = dead.intersection(&young).copied().collect::<BTreeSet<_>>();
            let found = walked(&entries, Walked::Dead(Scope::Minor));
            assert!(young_dead.iter().all(|at| found.contains(at)));
            assert!(found.iter().all(|at| dead.contains(at)));
            same(&walked(&entries, Walked::Due), &due);
            assert_eq!(entries.dead(), dead.len());
        }
    }
    assert!(entries.len() < 4000 && entries.get(entries.len() as u32).is_none());
}
