//! Compares the lists with a model: a map of vectors.

use super::*;
use crate::base::random::Rng;
use std::collections::BTreeMap;

fn place(block: u32, cell: u16) -> Place {
    // Blocks have cells of different sizes.
    let cells = [1, 7, 1365, 4095][block as usize % 4];
    Place {
        block,
        cell: cell % cells,
        cells,
    }
}

type Model = BTreeMap<(u32, u16), Vec<(u32, Name)>>;

/// All values, by object; and no node is lost.
fn check(lists: &Lists<u32>, model: &Model) {
    let count: usize = model.values().map(Vec::len).sum();
    assert_eq!(lists.live, count);
    for (&(block, cell), of) in model {
        let found: Vec<u32> = lists.of(place(block, cell)).copied().collect();
        let wanted: Vec<u32> = of.iter().map(|&(value, _)| value).collect();
        assert_eq!(found, wanted, "block {block}, cell {cell}");
    }
    let (mut free, mut node) = (0, lists.free);
    while node != NONE {
        assert_eq!(lists.nodes[node as usize].id, 0);
        (free, node) = (free + 1, lists.nodes[node as usize].next);
    }
    assert_eq!(1 + count + free, lists.unused as usize);
    // Odd values refer.
    let mut referring = Vec::new();
    lists.for_each_referring(|&value| referring.push(value));
    referring.sort_unstable();
    let values = model.values().flatten().map(|&(value, _)| value);
    let mut wanted: Vec<u32> = values.filter(|value| value % 2 == 1).collect();
    wanted.sort_unstable();
    assert_eq!(referring, wanted);
}

#[test]
fn lists_are_as_a_map_of_vectors() {
    for seed in 1..=20 {
        let mut rng = Rng::new(seed);
        let mut lists = Lists::default();
        let (mut model, mut old) = (Model::new(), Vec::new());
        for step in 0..3000u32 {
            let (block, cell) = (rng.below(8) as u32, rng.below(12) as u16);
            let of = place(block, cell);
            let key = (block, of.cell);
            match rng.below(20) {
                // More is added than removed for a time, then the other way round.
                0..8 if step % 1000 < 600 => {
                    let name = lists.push(of, step, step % 2 == 1);
                    model.entry(key).or_default().push((step, name));
                }
                0..14 => {
                    let Some(all) = model.get_mut(&key).filter(|all| !all.is_empty()) else {
                        continue;
                    };
                    let (value, name) = all.remove(rng.below(all.len()));
                    assert_eq!(lists.remove(of, name), Some(value));
                    old.push((of, name));
                }
                14..16 => {
                    let mut taken = Vec::new();
                    let third = |value: &u32| value.is_multiple_of(3);
                    lists.take_if(of, third, |_, value| taken.push(value));
                    let all = model.entry(key).or_default();
                    let gone = all.extract_if(.., |(value, _)| third(value));
                    let gone: Vec<u32> = gone.map(|(value, _)| value).collect();
                    assert_eq!(taken, gone);
                }
                16 => {
                    let mut taken = Vec::new();
                    lists.take_all(of, |_, value| taken.push(value));
                    let gone = model.remove(&key).unwrap_or_default();
                    old.extend(gone.iter().map(|&(_, name)| (of, name)));
                    assert!(
                        taken
                            .into_iter()
                            .eq(gone.into_iter().map(|(value, _)| value))
                    );
                }
                17 => {
                    if let Some(&(of, name)) = old.get(rng.below(old.len() + 1)) {
                        assert_eq!(lists.remove(of, name), None, "a name is good once");
                    }
                }
                18 if rng.below(10) == 0 => lists.settle(),
                _ => {}
            }
            if step % 50 == 0 {
                check(&lists, &model);
            }
        }
        check(&lists, &model);
    }
}

#[test]
fn nothing_has_no_list() {
    let mut lists = Lists::<u32>::default();
    let of = place(3, 5);
    assert_eq!(lists.remove(of, Name::NOTHING), None);
    lists.take_all(of, |_, _| panic!("there is none"));
    lists.take_if(of, |_| true, |_, _| panic!("there is none"));
    assert_eq!(lists.of(of).count(), 0);
    let name = lists.push(of, 1, false);
    assert_eq!(lists.remove(of, name), Some(1));
    assert_eq!(lists.remove(of, Name::NOTHING), None);
    assert_eq!(lists.remove(of, name), None);
}

#[test]
fn memory_is_given_back_in_time() {
    let mut lists = Lists::default();
    let many = 20 * FEW as u32;
    let of = |n: u32| Place {
        block: n / 1000,
        cell: (n % 1000) as u16,
        cells: 1000,
    };
    let names: Vec<Name> = (0..many).map(|n| lists.push(of(n), n, true)).collect();
    lists.settle();
    assert_eq!(
        (lists.nodes.len(), lists.live),
        (many as usize + 1, many as usize)
    );
    // What is left is where it was: one node in the middle, one at the beginning.
    let left = [7, many / 3];
    for n in (0..many).filter(|n| !left.contains(n)) {
        assert_eq!(lists.remove(of(n), names[n as usize]), Some(n));
    }
    lists.settle();
    assert_eq!(
        lists.nodes.len(),
        many as usize + 1,
        "they may be wanted again"
    );
    assert_eq!(
        lists.blocks.iter().filter(|heads| heads.count > 0).count(),
        2
    );
    assert_eq!(
        lists
            .blocks
            .iter()
            .filter(|heads| !heads.first.is_empty())
            .count(),
        2
    );
    for _ in 0..60 {
        lists.settle();
    }
    let kept = lists.nodes.len();
    assert!(kept > many as usize / 3 + 1 && kept <= many as usize / 2);
    assert!(lists.nodes.capacity() <= many as usize / 2);
    let mut found = Vec::new();
    lists.for_each_referring(|&n| found.push(n));
    assert_eq!(found, left);
    for n in 0..1000 {
        let name = lists.push(of(n), many + n, false);
        assert!(!names.contains(&name), "no name is given twice");
    }
    assert_eq!(lists.of(of(7)).copied().collect::<Vec<_>>(), [7, many + 7]);
    assert_eq!(lists.nodes.len(), kept, "free nodes are used first");
    for n in left {
        assert_eq!(lists.remove(of(n), names[n as usize]), Some(n));
    }
}
