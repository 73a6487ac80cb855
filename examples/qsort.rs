//! Both directions of C calls that are known only at run time: the C library's `qsort` is called
//! through a call stub, and calls its comparator, a Rust closure, through a callback.
//!
//! ```text
//! cargo run --example qsort
//! ```

use std::cell::Cell;
use std::cmp::Ordering;
use std::error::Error;
use std::fmt::Write;
use std::rc::Rc;

use fing::Abi;
use fing::stubs::entry::{Callback, Entries};
use fing::stubs::{CallStub, GBlock, Signature, StubCache};

/// Sorts with the C library.
struct Sorter {
    /// Calls functions of `qsort`'s signature.
    qsort: CallStub,
    /// Where callbacks live.
    entries: Entries,
    /// The comparator's signature.
    comparator: Signature,
}

/// `qsort`'s arguments as C would lay out a struct of them, which is how a call stub takes them.
#[repr(C)]
struct Arguments {
    base: *mut i32,
    count: usize,
    size: usize,
    comparator: usize,
}

impl Sorter {
    fn new() -> Result<Sorter, Box<dyn Error>> {
        let stubs = StubCache::new(Default::default())?;
        let qsort = "func(*int32, uint64, uint64, func(*int32, *int32) int32)".parse()?;
        Ok(Sorter {
            qsort: stubs.call_stub(&qsort, Abi::host_native()?)?,
            entries: Entries::new(Default::default())?,
            comparator: "func(*int32, *int32) int32".parse()?,
        })
    }

    fn sort(
        &self,
        numbers: &mut [i32],
        order: impl Fn(i32, i32) -> Ordering + 'static,
    ) -> Result<(), Box<dyn Error>> {
        let abi = Abi::host_native()?;
        // A comparator of its own for each call: its address is free again when it is dropped.
        let comparator = Callback::new(&self.entries, &self.comparator, abi, move |call| {
            let [left, right] = [0, 1].map(|n| {
                let address: usize = call.argument(n).expect("both are pointers");
                // SAFETY: qsort passes addresses of elements, which are of this type.
                unsafe { std::ptr::with_exposed_provenance::<i32>(address).read() }
            });
            let order = order(left, right) as i32;
            call.set_result(0, order).expect("the result is a C int");
        })?;
        let arguments = Arguments {
            base: numbers.as_mut_ptr(),
            count: numbers.len(),
            size: size_of::<i32>(),
            comparator: comparator.address(),
        };
        let (qsort, from) = (libc::qsort as *const (), (&raw const arguments).cast());
        // SAFETY: `qsort` is of the stub's signature, the arguments are laid out as it says, and
        // name the slice and a comparator that lives until the call has returned. There is no
        // result.
        unsafe {
            let nowhere = std::ptr::null_mut();
            self.qsort
                .call(qsort.addr(), 0, from, nowhere, &GBlock::zeroed())?;
        }
        Ok(())
    }
}

/// Sorts twice and returns what is to be printed.
pub(crate) fn run() -> Result<String, Box<dyn Error>> {
    let mut printed = String::new();
    let sorter = Sorter::new()?;
    let mut numbers = [30, -4, 15, 8, -23, 42, 1, -16];
    sorter.sort(&mut numbers, |left, right| left.cmp(&right))?;
    writeln!(printed, "upwards:     {numbers:?}")?;

    // A closure with something of its own: it counts its calls.
    let calls = Rc::new(Cell::new(0));
    let counter = calls.clone();
    sorter.sort(&mut numbers, move |left, right| {
        counter.set(counter.get() + 1);
        left.abs().cmp(&right.abs())
    })?;
    writeln!(printed, "by distance: {numbers:?}")?;
    writeln!(
        printed,
        "compared:    {}",
        if calls.get() >= 7 { "each" } else { "too few" }
    )?;
    writeln!(
        printed,
        "callbacks:   {} alive",
        sorter.entries.stats().alive
    )?;
    Ok(printed)
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}
