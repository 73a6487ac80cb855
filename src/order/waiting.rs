//! Ephemerons whose values are not kept yet, by the objects that they wait for.
#![forbid(unsafe_code)]

use std::collections::HashMap;

/// Ephemerons by number. Each waits until its key, and the object that holds it, are kept; then its
/// value is. Finding those that an object was the last one for takes time in proportion to how many
/// wait for it.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// How many objects each ephemeron waits for.
    missing: Vec<u8>,
    by_object: HashMap<u64, Vec<u32>>,
}

impl Waiting {
    /// Adds an ephemeron that waits for these objects, of which there must be at least one. Its
    /// number is how many were added before.
    pub(crate) fn add(&mut self, objects: [Option<u64>; 2]) {
        let number = self.missing.len() as u32;
        let [first, second] = objects;
        let second = second.filter(|_| second != first);
        self.missing
            .push(u8::from(first.is_some()) + u8::from(second.is_some()));
        for object in first.into_iter().chain(second) {
            self.by_object.entry(object).or_default().push(number);
        }
    }

    /// Notes that an object is kept. Returns the ephemerons that now wait for nothing else.
    pub(crate) fn keep(&mut self, object: u64) -> Vec<u32> {
        let mut waited = self.by_object.remove(&object).unwrap_or_default();
        waited.retain(|number| {
            let missing = &mut self.missing[*number as usize];
            *missing -= 1;
            *missing == 0
        });
        waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_object_releases() {
        let mut waiting = Waiting::default();
        for objects in [[Some(1), Some(2)], [Some(2), Some(2)], [None, Some(1)]] {
            waiting.add(objects);
        }
        assert!(waiting.keep(3).is_empty());
        assert_eq!(waiting.keep(2), [1]);
        assert!(waiting.keep(2).is_empty());
        assert_eq!(waiting.keep(1), [0, 2]);
    }
}
