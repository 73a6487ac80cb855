//! Finalizers for a collector that is not fing's: a two-space copying collector, with all it takes
//! to have them.
//!
//!     cargo run --example bring_your_own_gc

use fing::foreign::{CollectionError, Finalizers, Scope, Tracer};
use fing::stubs::Signature;
use fing::{Abi, FinalizerFn, Order};

/// An object is a header, a number and its fields. The header is `2 * fields + 1`, or, once the
/// object has been copied, the new address, which is even.
const FIELDS: usize = 2;

/// A heap of two spaces, one of which is in use. References are addresses.
pub(crate) struct Heap {
    /// The space in use; while a collection runs, the old one and the new one.
    spaces: [Box<[u64]>; 2],
    /// Words in use.
    top: usize,
    /// While a collection runs: the objects in the new space before this word have had their fields
    /// followed.
    scanned: usize,
    pub(crate) roots: Vec<Option<usize>>,
}

impl Heap {
    pub(crate) fn new(words: usize, roots: usize) -> Heap {
        let space = || vec![0; words].into_boxed_slice();
        Heap {
            spaces: [space(), space()],
            top: 0,
            scanned: 0,
            roots: vec![None; roots],
        }
    }

    pub(crate) fn number(&self, object: usize) -> u64 {
        self.spaces[0][self.index(0, object) + 1]
    }

    pub(crate) fn load(&self, object: usize, field: usize) -> Option<usize> {
        let value = self.spaces[0][self.index(0, object) + FIELDS + field];
        (value != 0).then_some(value as usize)
    }

    /// All objects, dead ones that have not been collected among them.
    pub(crate) fn objects(&self) -> Vec<usize> {
        let (mut at, mut objects) = (0, Vec::new());
        while at < self.top {
            objects.push(self.start(0) + 8 * at);
            at += FIELDS + self.spaces[0][at] as usize / 2;
        }
        objects
    }

    fn start(&self, space: usize) -> usize {
        self.spaces[space].as_ptr().addr()
    }

    fn index(&self, space: usize, address: usize) -> usize {
        let at = address.wrapping_sub(self.start(space)) / 8;
        assert!(
            at < self.spaces[space].len(),
            "{address:#x} is no object of space {space}"
        );
        at
    }

    /// The word at an address in a space.
    fn word(&mut self, space: usize, address: usize) -> &mut u64 {
        let at = self.index(space, address);
        &mut self.spaces[space][at]
    }

    /// Takes an object's words at the end of a space. (A real heap would collect when it is full.)
    fn take(&mut self, space: usize, words: usize) -> usize {
        let address = self.start(space) + 8 * self.top;
        self.top += words;
        assert!(self.top <= self.spaces[space].len(), "the heap is full");
        address
    }

    pub(crate) fn alloc(&mut self, number: u64, fields: usize) -> usize {
        let object = self.take(0, FIELDS + fields);
        *self.word(0, object) = 2 * fields as u64 + 1;
        *self.word(0, object + 8) = number;
        for field in 0..fields {
            self.store(object, field, None);
        }
        object
    }

    pub(crate) fn store(&mut self, object: usize, field: usize, value: Option<usize>) {
        *self.word(0, object + 8 * (FIELDS + field)) = value.unwrap_or(0) as u64;
    }

    /// The collection: Cheney's algorithm, and two things for the finalizers: it is begun, and when
    /// everything reachable has been copied, they make their steps.
    pub(crate) fn collect(
        &mut self,
        finalizers: &Finalizers<usize>,
    ) -> Result<(), CollectionError> {
        // SAFETY: this heap's objects are registered. An address that is none of them would panic.
        let mut collection = unsafe { finalizers.begin(Scope::Full)? };
        (self.top, self.scanned) = (0, 0);
        for n in 0..self.roots.len() {
            self.roots[n] = self.roots[n].map(|object| self.trace(object));
        }
        self.follow();
        while collection.step(self) {
            self.follow();
        }
        self.follow();
        self.spaces.swap(0, 1);
        Ok(())
    }

    /// Follows the fields of all copies that have not had theirs followed.
    fn follow(&mut self) {
        while self.scanned < self.top {
            let header = self.start(1) + 8 * self.scanned;
            let fields = *self.word(1, header) as usize / 2;
            for field in 0..fields {
                let at = header + 8 * (FIELDS + field);
                let value = *self.word(1, at) as usize;
                if value != 0 {
                    *self.word(1, at) = self.trace(value) as u64;
                }
            }
            self.scanned += FIELDS + fields;
        }
    }
}

// SAFETY: an object is reached when it has been copied; a copy is whole, and stays where it is
// until the next collection.
unsafe impl Tracer for Heap {
    type Ref = usize;

    fn is_reached(&mut self, object: usize) -> bool {
        self.word(0, object).is_multiple_of(2)
    }

    fn trace(&mut self, object: usize) -> usize {
        if !self.is_reached(object) {
            let words = FIELDS + *self.word(0, object) as usize / 2;
            let copy = self.take(1, words);
            for at in (0..8 * words).step_by(8) {
                *self.word(1, copy + at) = *self.word(0, object + at);
            }
            *self.word(0, object) = copy as u64;
        }
        *self.word(0, object) as usize
    }

    fn children(&mut self, object: usize, visit: &mut dyn FnMut(&mut Self, usize)) {
        let fields = *self.word(0, object) as usize / 2;
        for field in 0..fields {
            let value = *self.word(0, object + 8 * (FIELDS + field)) as usize;
            if value != 0 {
                visit(self, value);
            }
        }
    }
}

/// What a VM would have compiled: a finalizer, called with its object's address.
extern "C" fn goodbye(object: *const [u64; 2]) {
    // SAFETY: a finalizer's object is whole until it returns.
    println!("  finalizing object {}", unsafe { (*object)[1] });
}

/// A chain of three objects with finalizers is dropped; then the heap is collected until nothing
/// happens any more.
fn chain(order: Order) -> Result<(), Box<dyn std::error::Error>> {
    let finalizers = Finalizers::builder().order(order).build()?;
    let signature: Signature = "func(unsafe.Pointer)".parse()?;
    // SAFETY: `goodbye` is a C function of one pointer.
    let function =
        unsafe { FinalizerFn::builder(signature, Abi::host_native()?).at(goodbye as *const ()) };
    let mut heap = Heap::new(1024, 1);
    for number in [3, 2, 1] {
        let object = heap.alloc(number, 1);
        heap.store(object, 0, heap.roots[0]);
        heap.roots[0] = Some(object);
        // SAFETY: an object of the heap, which is the tracer.
        unsafe { finalizers.set_finalizer(object, &function)? };
    }
    heap.collect(&finalizers)?;
    let mut next = heap.roots[0].take();
    while let Some(object) = next {
        println!("object {} is at {object:#x}", heap.number(object));
        next = heap.load(object, 0);
    }
    for collection in 1.. {
        heap.collect(&finalizers)?;
        finalizers.finish();
        let objects = heap.objects().len();
        println!("{order:?} order, collection {collection}: {objects} objects");
        if finalizers.run_finalizers()? == 0 {
            break;
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    chain(Order::Go)?;
    chain(Order::Topological)
}
