//! The Go program's functions in this process, on x86-64: called through stubs, generated and
//! interpreted. Contains unsafe code.

use std::sync::OnceLock;

use fing_oracles::Image;
use fing_stubs::{Abi, Arch, CacheOptions, CallStub, CodePolicy, GBlock, Record, StubCache};

use crate::go::{Callee, Program, State};

/// A program in this process's memory. There can be one only: every static executable of Go wants
/// the same addresses.
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
            let options = CacheOptions::default().policy(policy);
            StubCache::new(options).map_err(|e| e.to_string())
        };
        Ok(Mapped {
            program,
            image: Image::map(&program.path).map_err(|e| e.to_string())?,
            caches: [cache(CodePolicy::Generate)?, cache(CodePolicy::Interpret)?],
        })
    }

    /// Calls function `number`, which has one argument of at most 16 bytes, by its stub and by the
    /// interpreter: three records each.
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
            // SAFETY: I5: a function that the Go compiler made for this signature, which looks at
            // its arguments' bytes and needs no runtime; the closure is a plain function's.
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

    /// Calls function `number`, of any signature, from memory to memory, by a stub and by the
    /// interpreter.
    ///
    /// # Errors
    /// What differs.
    pub fn call(&self, number: usize) -> Result<(), String> {
        let callee = &self.program.callees[number];
        for cache in &self.caches {
            let stub = cache
                .call_stub(&callee.signature, Abi::go(Arch::Amd64))
                .map_err(|e| e.to_string())?;
            let kind = if stub.stub().is_generated() {
                "stub"
            } else {
                "interpreter"
            };
            self.memory_to_memory(number, callee, &stub)
                .map_err(|e| format!("{} by go/amd64, {kind}: {e}", callee.signature))?;
        }
        Ok(())
    }

    fn memory_to_memory(
        &self,
        number: usize,
        callee: &Callee,
        stub: &CallStub,
    ) -> Result<(), String> {
        const JUNK: u64 = 0x5a5a_5a5a_5a5a_5a5a;
        let (from, to) = (stub.arguments(), stub.results());
        // Blocks of words, so that they are aligned as any of Go's values; words behind the results
        // must not change.
        let mut arguments = Words::junk(from.size());
        for (&at, value) in from.offsets().iter().zip(&callee.args) {
            arguments.put(at, &value.bytes);
        }
        let mut results = Words::junk(to.size() + 64);
        let code = self.image.address(&format!("main.C{number}"));
        let closure = [code];
        self.reset();
        // SAFETY: I5: a function that the Go compiler made for this signature, which looks at its
        // arguments' bytes and needs no runtime; the blocks are of the sizes and alignments the
        // stub asks for.
        let called = unsafe {
            let (from, to) = (arguments.0.as_ptr().cast(), results.0.as_mut_ptr().cast());
            stub.call(code, closure.as_ptr() as usize, from, to, &GBlock::zeroed())
        };
        called.map_err(|e| e.to_string())?;
        self.judge(number, 1)?;
        for (n, (&at, wanted)) in to.offsets().iter().zip(&callee.results).enumerate() {
            let found = results.bytes(at, wanted.bytes.len());
            if !wanted.is(&found) {
                return Err(format!(
                    "result {n} is {found:02x?}, wanted {:02x?} under {:02x?}",
                    wanted.bytes, wanted.mask
                ));
            }
        }
        let behind = to.size().next_multiple_of(8) as usize / 8;
        if results.0[behind..].iter().any(|&word| word != JUNK) {
            return Err("memory behind the results has changed".into());
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

/// Memory aligned to words.
struct Words(Vec<u64>);

impl Words {
    fn junk(bytes: u64) -> Words {
        Words(vec![0x5a5a_5a5a_5a5a_5a5a; bytes.div_ceil(8) as usize])
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        for (at, &byte) in (at as usize..).zip(bytes) {
            let mut word = self.0[at / 8].to_le_bytes();
            word[at % 8] = byte;
            self.0[at / 8] = u64::from_le_bytes(word);
        }
    }

    fn bytes(&self, at: u64, length: usize) -> Vec<u8> {
        let byte = |at: usize| self.0[at / 8].to_le_bytes()[at % 8];
        (at as usize..at as usize + length).map(byte).collect()
    }
}
