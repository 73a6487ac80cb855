//! The decision in topological order.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use super::{ENTRY, Model, Report, Set};
use crate::order::CyclePolicy;

impl Model {
    /// The objects reachable from one by a step or more along references that count.
    fn beyond(&self, from: u64, counts: &dyn Fn(u64, u64) -> bool) -> Set {
        let mut line = vec![from];
        let mut reached = Set::new();
        while let Some(object) = line.pop() {
            for to in self.contents(object) {
                if counts(object, to) && reached.insert(to) {
                    line.push(to);
                }
            }
        }
        reached
    }

    /// Dead objects, each with a dead value of an entry of which it is the map or the key. An entry
    /// can keep something only if some candidate leads to those of the two that are dead.
    fn weak_references(
        &self,
        strong: &Set,
        candidates: &[u64],
        dead: &Set,
    ) -> BTreeSet<(u64, u64)> {
        let kept = self.closure(strong.iter().chain(candidates).copied());
        let entries = self.entries.iter().filter(|(number, entry)| {
            kept.contains(&(ENTRY | *number)) && kept.contains(&entry.key)
        });
        let pairs = entries.flat_map(|(_, entry)| {
            let from = [entry.map, entry.key];
            from.map(|from| (from, entry.value))
        });
        let is_dead = |(from, value): &(u64, u64)| dead.contains(from) && dead.contains(value);
        pairs.filter(is_dead).collect()
    }

    /// What each dead object is finalized before: what it reaches by references that count, and by
    /// weak ones that are on no cycle.
    fn ordered(
        &self,
        dead: &Set,
        weak: &BTreeSet<(u64, u64)>,
        counts: &dyn Fn(u64, u64) -> bool,
    ) -> BTreeMap<u64, Set> {
        let reach = |use_weak: &dyn Fn(u64, u64) -> bool, counts: &dyn Fn(u64, u64) -> bool| {
            let beyond = |&from: &u64| {
                let (mut line, mut reached) = (vec![from], Set::new());
                while let Some(object) = line.pop() {
                    let values = weak.iter().filter(|(of, _)| *of == object);
                    let values = values.map(|(_, value)| *value);
                    let plain = self.contents(object).filter(|&to| counts(object, to));
                    for to in plain.chain(values.filter(|&to| use_weak(object, to))) {
                        if reached.insert(to) {
                            line.push(to);
                        }
                    }
                }
                (from, reached)
            };
            dead.iter().map(beyond).collect::<BTreeMap<u64, Set>>()
        };
        let joined = reach(&|_, _| true, &|_, to| dead.contains(&to));
        let apart = |from: u64, to: u64| from != to && !joined[&to].contains(&from);
        reach(&apart, counts)
    }

    pub(super) fn decide_topological(&mut self, strong: &Set) -> (Vec<(u64, Set)>, Set) {
        let dead: Set = self
            .objects
            .keys()
            .filter(|object| !strong.contains(object))
            .copied()
            .collect();
        let is_dead = |_: u64, to: u64| dead.contains(&to);
        let reach: BTreeMap<u64, Set> = dead
            .iter()
            .map(|&object| (object, self.beyond(object, &is_dead)))
            .collect();
        let together = |a: u64, b: u64| a == b || reach[&a].contains(&b) && reach[&b].contains(&a);
        let policy = |object: u64| self.policy(object);
        let finalizable = self.finalizable();
        let counts = |from: u64, to: u64| {
            dead.contains(&to) && !(policy(to) == Some(CyclePolicy::Break) && together(from, to))
        };
        let opened: BTreeMap<u64, Set> = dead
            .iter()
            .map(|&object| (object, self.beyond(object, &counts)))
            .collect();
        let candidates: Vec<u64> = dead
            .iter()
            .filter(|object| finalizable.contains(object))
            .copied()
            .collect();
        let weak = self.weak_references(strong, &candidates, &dead);
        let ordered = match weak.is_empty() {
            true => opened.clone(),
            false => self.ordered(&dead, &weak, &counts),
        };
        let holding: Vec<u64> = candidates
            .iter()
            .filter(|&&object| {
                opened[&object].contains(&object) && policy(object) != Some(CyclePolicy::Unordered)
            })
            .copied()
            .collect();
        let alive = self.closure(strong.iter().chain(&holding).copied());
        let queued: Vec<u64> = candidates
            .iter()
            .filter(|object| !alive.contains(object))
            .copied()
            .collect();
        let before = |object: u64| -> Set {
            let earlier = |other: &&u64| {
                ordered[*other].contains(&object) && !ordered[&object].contains(*other)
            };
            queued.iter().filter(earlier).copied().collect()
        };
        let queued: Vec<(u64, Set)> = queued
            .iter()
            .map(|&object| (object, before(object)))
            .collect();
        // One report for each held cycle that no other one keeps.
        let mut seen = Set::new();
        let mut asked = Vec::new();
        for &object in &holding {
            let kept = holding
                .iter()
                .any(|&other| !together(object, other) && reach[&other].contains(&object));
            if kept || seen.contains(&object) {
                continue;
            }
            let cycle: Set = dead
                .iter()
                .filter(|&&other| together(object, other))
                .copied()
                .collect();
            let asking: Set = cycle
                .iter()
                .filter(|&id| {
                    let own = self.finalizers.get(id);
                    policy(*id) == Some(CyclePolicy::Report)
                        && own.is_some_and(|finalizer| !finalizer.reported)
                })
                .copied()
                .collect();
            seen.extend(&cycle);
            if !asking.is_empty() {
                let references = cycle.iter().map(|&id| {
                    (
                        id,
                        self.contents(id).filter(|to| cycle.contains(to)).collect(),
                    )
                });
                asked.push(Report {
                    references: references.collect(),
                    asking,
                });
            }
        }
        for report in &asked {
            for object in &report.asking {
                if let Some(finalizer) = self.finalizers.get_mut(object) {
                    finalizer.reported = true;
                }
            }
        }
        self.reports.extend(asked);
        (queued, alive)
    }
}
