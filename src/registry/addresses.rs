//! A map by objects' addresses.
//!
//! Objects made one after another are looked up one after another, so neighbours in the heap should be neighbours in
//! the map: the hash keeps the addresses' order, and only its top bits, by which the map tells entries of one
//! neighbourhood apart, are mixed. Addresses come from our own heap, so nobody can choose them to collide.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Values by address.
pub(super) type AddressMap<V> = HashMap<usize, V, BuildHasherDefault<InOrder>>;

/// Objects are at least so many bytes apart, as a power of two.
const APART: u32 = 4;

/// The hasher of an [`AddressMap`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InOrder(u64);

impl Hasher for InOrder {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(self.0.rotate_left(8) ^ u64::from(byte));
        }
    }

    fn write_u64(&mut self, address: u64) {
        let order = address >> APART;
        let mixed = order.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed & !(u64::MAX >> 7) | order & (u64::MAX >> 7);
    }

    fn write_usize(&mut self, address: usize) {
        self.write_u64(address as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_neighbours_and_told_apart() {
        let hash = |address: usize| {
            let mut hasher = InOrder::default();
            hasher.write_usize(address);
            hasher.finish()
        };
        let low = |hash: u64| hash & (u64::MAX >> 7);
        let hashes: Vec<u64> = (0..1000).map(|n| hash(0x7f00_0000_0000 + 48 * n)).collect();
        assert!(
            hashes
                .windows(2)
                .all(|pair| low(pair[1]) == low(pair[0]) + 3)
        );
        let tags: std::collections::HashSet<u64> =
            hashes[..64].iter().map(|hash| hash >> 57).collect();
        assert!(tags.len() > 30, "{} tags of 64 neighbours", tags.len());
    }
}
