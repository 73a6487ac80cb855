//! The smallest VM with objects of its own: a stack machine whose strings live in C memory and
//! whose objects, pairs of strings, live on fing's heap. When a pair is unreachable, its finalizer
//! frees both strings.
//!
//! ```text
//! cargo run --example embed
//! ```

use std::cell::RefCell;
use std::error::Error;
use std::ffi::{CStr, CString};
use std::time::Duration;

use fing::{Abi, FinalizerFn, Handle, Runtime, TypeId};

/// What the machine's programs are made of.
enum Instruction {
    /// Push a new pair of these strings.
    Pair(&'static str, &'static str),
    /// Drop the top of the stack.
    Pop,
    /// Print the top of the stack.
    Print,
    /// Collect.
    Collect,
}

struct Machine {
    runtime: Runtime,
    pair: TypeId,
    free_pair: FinalizerFn,
    /// The machine's roots: a handle keeps its object.
    stack: RefCell<Vec<Handle>>,
}

/// The layout of a pair, as `main.Pair` declares it. The strings are the C library's, not the
/// heap's.
#[repr(C)]
struct Pair {
    left: *mut std::ffi::c_char,
    right: *mut std::ffi::c_char,
}

/// The finalizer: an ordinary C function of one pointer.
extern "C" fn free_pair(pair: *mut Pair) {
    // SAFETY: a finalizer's object is whole until it returns, and nobody else knows its strings.
    for half in unsafe { [(*pair).left, (*pair).right].map(|half| CString::from_raw(half)) } {
        println!("  freed {half:?}");
    }
}

impl Machine {
    fn new() -> Result<Machine, Box<dyn Error>> {
        let runtime = Runtime::new()?;
        let pair = runtime
            .types()
            .define("main.Pair", "struct { Left uintptr; Right uintptr }")?;
        let signature = runtime.types().parse_signature("func(*main.Pair)")?;
        // The one promise an embedder makes:
        // SAFETY: at this address is a function of this signature and ABI.
        let free_pair = unsafe {
            FinalizerFn::builder(signature, Abi::host_native()?).at(free_pair as *const ())
        };
        Ok(Machine {
            runtime,
            pair,
            free_pair,
            stack: RefCell::default(),
        })
    }

    fn run(&self, program: &[Instruction]) -> Result<(), Box<dyn Error>> {
        for instruction in program {
            match instruction {
                Instruction::Pair(left, right) => {
                    let pair = self.new_pair(left, right)?;
                    self.stack.borrow_mut().push(pair);
                }
                Instruction::Pop => drop(self.stack.borrow_mut().pop()),
                Instruction::Print => self.print()?,
                Instruction::Collect => {
                    let collection = self.runtime.gc()?;
                    self.runtime
                        .block_until_finalizer_queue_empty(Duration::from_secs(10))?;
                    println!("collected: {} objects live", collection.live_objects);
                }
            }
        }
        Ok(())
    }

    fn new_pair(&self, left: &str, right: &str) -> Result<Handle, Box<dyn Error>> {
        let halves = [CString::new(left)?, CString::new(right)?];
        self.runtime.enter(|mutator| {
            let pair = mutator.alloc(self.pair)?;
            for (offset, half) in [0, 8].into_iter().zip(halves) {
                mutator.store_word(pair, offset, half.into_raw().expose_provenance() as u64)?;
            }
            mutator.set_finalizer(pair, &self.free_pair)?;
            Ok(mutator.root(pair)?)
        })?
    }

    fn print(&self) -> Result<(), Box<dyn Error>> {
        let stack = self.stack.borrow();
        let top = stack.last().ok_or("print: the stack is empty")?;
        self.runtime.enter(|mutator| {
            let pair = mutator.get(top)?;
            let half = |offset| -> Result<String, Box<dyn Error>> {
                let address = mutator.load_word(pair, offset)? as usize;
                // SAFETY: a pair's words are C strings until it is finalized, and the stack keeps
                // it.
                let text = unsafe { CStr::from_ptr(std::ptr::with_exposed_provenance(address)) };
                Ok(text.to_str()?.to_owned())
            };
            println!("{} and {}", half(0)?, half(8)?);
            Ok(())
        })?
    }
}

/// Runs a program.
pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    use Instruction::{Collect, Pair, Pop, Print};
    let machine = Machine::new()?;
    machine.run(&[
        Pair("salt", "pepper"),
        Pair("cup", "saucer"),
        Print,
        Collect,
        Pop,
        Collect,
        Print,
        Pop,
        Collect,
        Collect,
    ])?;
    println!("finalizers run: {}", machine.runtime.stats().executed);
    Ok(())
}
