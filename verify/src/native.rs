//! The Go program's functions in this process, on x86-64: called through stubs, generated and interpreted. Room with unsafe code.

use std::sync::OnceLock;

use fing_oracles::Image;
use fing_stubs::{Abi, Arch, CacheOptions, CodePolicy, GBlock, Record, StubCache};

use crate::go::{Program, State};

/// A program in this process's memory. There can be one only: every static executable of Go wants the same addresses.
#[derive(Debug)]
pub struct Mapped<'a> {
    program: &'a Program,
    image: Image,
    caches: [StubCache; 2],
}

impl<'a> Mapped<'a> {
    /// Maps a program, for good.
    ///
    /// # Errors
    /// One is mapped already, or the system refuses.
    pub fn new(program: &'a Program) -> Result<Mapped<'a>, String> {
        static ONE: OnceLock<()> = OnceLock::new();
        ONE.set(())
            .map_err(|()| "a Go program is mapped already, wanted none".to_owned())?;
        let cache = |policy| {
            let options = CacheOptions {
                policy,
                ..CacheOptions::default()
            };
            StubCache::new(options).map_err(|e| e.to_string())
        };
        Ok(Mapped {
            program,
            image: Image::map(&program.path).map_err(|e| e.to_string())?,
            caches: [cache(CodePolicy::Generate)?, cache(CodePolicy::Interpret)?],
        })
    }

    /// Calls function `number`, which has one argument of at most 16 bytes, by its stub and by the interpreter: three records each.
    ///
    /// # Errors
    /// What differs.
    pub fn call_by_stub(&self, number: usize) -> Result<(), String> {
        let callee = &self.program.callees[number];
        let code = self.image.address(&format!("main.C{number}"));
        let mut words = [0x5a5a_5a5a_5a5a_5a5a_u64; 2];
        for (word, bytes) in words.iter_mut().zip(callee.args[0].bytes.chunks(8)) {
            let mut image = word.to_le_bytes();
            image[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(image);
        }
        for cache in &self.caches {
            let stub = cache
                .for_signature(&callee.signature, Abi::go(Arch::Amd64))
                .map_err(|e| e.to_string())?;
            let closure = [code];
            let record = Record {
                code,
                context: closure.as_ptr() as usize,
                words,
            };
            self.reset();
            // SAFETY: I5: a function that the Go compiler made for this signature, which looks at its arguments' bytes and needs
            // no runtime; the closure is a plain function's.
            unsafe { stub.run_all(&[record; 3], &GBlock::zeroed()) };
            let kind = if stub.is_generated() {
                "stub"
            } else {
                "interpreter"
            };
            self.judge(number, 3)
                .map_err(|e| format!("{} by go/amd64, {kind}: {e}", callee.signature))?;
        }
        Ok(())
    }

    fn reset(&self) {
        for name in ["Calls", "Last", "Faults", "First"] {
            self.image.zero(&format!("main.{name}"));
        }
    }

    fn judge(&self, number: usize, calls: u64) -> Result<(), String> {
        let word = |name: &str| self.image.word(&format!("main.{name}"), 0);
        let state = State {
            calls: word("Calls"),
            last: word("Last"),
            faults: word("Faults"),
            first: word("First"),
        };
        self.program.judge(number, calls, state)
    }
}
