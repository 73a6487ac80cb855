//! The names of a universe: for each its opaque type, and the descriptor of what it is defined as.
#![forbid(unsafe_code)]

use fing_stubs::signature::{Type, TypeError};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

/// A table by names. It keeps the hash of each beside it, so that it grows without reading the
/// names again, which are all over the memory.
#[derive(Debug, Default)]
pub(super) struct Names {
    key: RandomState,
    table: Table,
}

/// `None`: declared and not yet defined.
type Table = HashMap<Name, Option<u32>, BuildHasherDefault<Ready>>;

impl Names {
    /// The opaque type of a name, and the descriptor of its definition, if it is known here.
    pub(super) fn get(&self, name: &str) -> Option<(&Type, Option<u32>)> {
        let hash = self.key.hash_one(name);
        let wanted: &dyn Hashed = &(hash, name);
        let (known, index) = self.table.get_key_value(wanted)?;
        Some((&known.opaque, *index))
    }

    /// The name as it is known here, or a new one that `make` makes the opaque type of.
    pub(super) fn own(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Type, TypeError>,
    ) -> Result<Name, TypeError> {
        let hash = self.key.hash_one(name);
        let wanted: &dyn Hashed = &(hash, name);
        match self.table.get_key_value(wanted) {
            Some((known, _)) => Ok(known.clone()),
            None => Ok(Name {
                hash,
                opaque: make()?,
            }),
        }
    }

    /// Forgets a name.
    pub(super) fn remove(&mut self, name: &str) {
        let hash = self.key.hash_one(name);
        let unwanted: &dyn Hashed = &(hash, name);
        self.table.remove(unwanted);
    }

    /// The place of a name.
    pub(super) fn entry(&mut self, own: Name) -> Entry<'_, Name, Option<u32>> {
        self.table.entry(own)
    }
}

fn name_of(opaque: &Type) -> &str {
    opaque.name().unwrap_or_default()
}

/// A name with its hash in the table.
#[derive(Clone, Debug)]
pub(super) struct Name {
    hash: u64,
    /// The type of the name without its definition.
    pub(super) opaque: Type,
}

/// What the table compares: a name's hash, then the name.
trait Hashed {
    fn parts(&self) -> (u64, &str);
}

impl Hashed for Name {
    fn parts(&self) -> (u64, &str) {
        (self.hash, name_of(&self.opaque))
    }
}

impl Hashed for (u64, &str) {
    fn parts(&self) -> (u64, &str) {
        *self
    }
}

impl<'a> Borrow<dyn Hashed + 'a> for Name {
    fn borrow(&self) -> &(dyn Hashed + 'a) {
        self
    }
}

impl Hash for dyn Hashed + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.parts().0);
    }
}

impl PartialEq for dyn Hashed + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Hashed + '_ {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Name {}

/// Returns the hash that it is given.
#[derive(Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn write(&mut self, _: &[u8]) {
        unreachable!("the hash of a name is written as one word");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_hash_are_told_apart() {
        let opaque = |name| Type::opaque(name).unwrap();
        let mut table = Table::default();
        for (index, name) in ["main.A", "main.B"].into_iter().enumerate() {
            let opaque = opaque(name);
            table.insert(Name { hash: 7, opaque }, Some(index as u32));
        }
        let get = |hash, name| table.get::<dyn Hashed>(&(hash, name)).copied();
        assert_eq!(get(7, "main.A"), Some(Some(0)));
        assert_eq!(get(7, "main.B"), Some(Some(1)));
        assert_eq!((get(7, "main.C"), get(8, "main.A")), (None, None));
    }

    #[test]
    fn every_name_is_found_as_the_table_grows() {
        let mut names = Names::default();
        for index in 0..2000 {
            let name = format!("main.T{index}");
            let own = names.own(&name, || Type::opaque(&name)).unwrap();
            names.entry(own).or_insert(None);
            // The second entry is the first one's.
            let own = names.own(&name, || unreachable!("it is known")).unwrap();
            let again = names.entry(own).or_insert(Some(0));
            assert_eq!(*again, None);
            *again = Some(index);
        }
        for index in 0..2000 {
            let name = format!("main.T{index}");
            let (opaque, found) = names.get(&name).unwrap();
            assert_eq!((opaque.name(), found), (Some(&*name), Some(index)));
        }
        assert!(names.get("main.T2000").is_none());
    }
}
