//! Publishing a compiled stub on this host, through cranelift-jit.
//!
//! One `JITModule` for each piece of code, dropped right after: it relocates, the arena keeps the
//! bytes. The module sees one address for writing and running, which is the arena's writable alias;
//! a stub's only relocation is its call to the veneer in the same arena, so the distance is the
//! same in both aliases.
//!
//! Each stub has a loop of its own. Veneers and the entrance are the same for many stubs, which
//! share them.
#![expect(
    unsafe_code,
    reason = "the provider trait has an unsafe method; its body is empty. Gives back a stub's bytes"
)]

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, Weak};

use cranelift_codegen::ir::ExternalName;
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::isa::unwind::systemv::UnwindInfo;
use cranelift_codegen::{FinalizedMachReloc, FinalizedRelocTarget};
use cranelift_jit::{BranchProtection, JITBuilder, JITMemoryKind, JITMemoryProvider, JITModule};
use cranelift_module::{
    FuncId, Linkage, Module, ModuleReloc, ModuleRelocTarget, ModuleResult, default_libcall_names,
};

use crate::code::{Arena, CodeSlice, granules};
use crate::compile::{Compiled, Compiler, Entrance};
use crate::lock::{lock, none_held};
use crate::lower::{STUB_NAME, VENEER_NAME};
use crate::tools::Code;
use crate::unwind::{CallState, Frames};
use crate::{Gate, StubError, StubKey};

/// What a piece of generated code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodePart {
    /// The loop that makes a stub's calls.
    Stub,
    /// The veneer between a stub and functions of Go. Where it has results to store, its frame
    /// stands for the stub's in a backtrace.
    Veneer,
    /// The code that saves the registers of whoever runs a stub.
    Entrance,
}

impl CodePart {
    /// The symbol for this part of a stub: the key's text, and what part it is unless the stub
    /// itself. The entrance is the same for all stubs.
    pub(crate) fn symbol(self, key: &StubKey) -> String {
        match self {
            CodePart::Stub => key.to_string(),
            CodePart::Veneer => format!("{key}:veneer"),
            CodePart::Entrance => "fing-stubs:entrance".to_owned(),
        }
    }
}

/// A published stub: its own bytes, and its share in what it has in common with others.
#[derive(Debug)]
pub(crate) struct Published {
    entry: usize,
    bytes: u32,
    is_entered: bool,
    common: Arc<Common>,
}

/// What stubs with the same veneer share. It is dropped with the last of them.
#[derive(Debug)]
struct Common {
    /// The address through which the stubs are entered, or 0.
    entrance_address: usize,
    arena: Arc<Arena>,
    veneer: Option<CodeSlice>,
    entrance: Option<Arc<CodeSlice>>,
}

impl Published {
    /// Where it begins.
    #[inline]
    pub(crate) fn entry(&self) -> usize {
        self.entry
    }

    /// The address of the function that saves the caller's registers and calls `entry`, its fifth
    /// argument.
    #[inline]
    pub(crate) fn entrance(&self) -> Option<usize> {
        self.is_entered.then(|| self.common.entrance_address)
    }

    /// Which part of the stub lies at this address.
    pub(crate) fn part_at(&self, address: usize) -> Option<CodePart> {
        let holds = |slice: &CodeSlice| slice.contains(address);
        if (self.entry..self.entry + self.bytes as usize).contains(&address) {
            Some(CodePart::Stub)
        } else if self.common.veneer.as_ref().is_some_and(holds) {
            Some(CodePart::Veneer)
        } else if self.common.entrance.as_deref().is_some_and(holds) {
            Some(CodePart::Entrance)
        } else {
            None
        }
    }

    /// What a fork of the process that published it finds out by.
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        self.common.arena.gate()
    }

    /// Whether a look at a word shows that this is the process that published it.
    #[inline]
    pub(crate) fn is_surely_own(&self) -> bool {
        self.common.arena.is_surely_own()
    }

    /// Whether this process is a fork of the one that published it: its code may not be run.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.common.arena.is_forked()
    }

    /// Bytes of code memory, those it shares included.
    pub(crate) fn bytes(&self) -> usize {
        let veneer = self.common.veneer.as_ref().map_or(0, CodeSlice::bytes);
        let entrance = self
            .common
            .entrance
            .as_ref()
            .map_or(0, |slice| slice.bytes());
        granules(self.entry, self.bytes as usize) + veneer + entrance
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // SAFETY: I4: kept by `Publisher::publish`, and no call is in flight when a stub is
        // dropped, since a running stub is borrowed.
        unsafe {
            self.common.arena.release(self.entry, self.bytes as usize);
        }
    }
}

/// Bytes of a veneer, and how unwinders see it.
type VeneerCode = (Box<[u8]>, Option<CallState>);

/// Puts stubs into an arena.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) arena: Arc<Arena>,
    shared: Mutex<Shared>,
}

/// What has been published and may be shared, held weakly.
#[derive(Debug, Default)]
struct Shared {
    common: HashMap<VeneerCode, Weak<Common>>,
    entrance: Weak<CodeSlice>,
}

impl Publisher {
    pub(crate) fn new(arena: Arc<Arena>) -> Publisher {
        Publisher {
            arena,
            shared: Mutex::default(),
        }
    }

    /// Puts a stub into the arena, and its veneer if it is the first to need it.
    pub(crate) fn publish(
        &self,
        compiler: &Compiler,
        key: &StubKey,
        compiled: &Compiled,
    ) -> Result<Published, StubError> {
        let common = self.common(compiler, key, compiled)?;
        let stub = Piece {
            bytes: &compiled.code,
            alignment: compiled.alignment,
            hot: compiled.hot.clone(),
            part: CodePart::Stub,
            frames: self.frames(compiler, key, compiled.unwind.as_ref())?,
            state: compiled.call_state.clone(),
            calls: Some((compiled, common.veneer.as_ref())),
        };
        let (entry, bytes) = stub.place(&self.arena, compiler, key)?.keep();
        Ok(Published {
            entry,
            bytes: bytes as u32,
            is_entered: common.entrance.is_some(),
            common,
        })
    }

    /// What `compiled` shares with other stubs.
    ///
    /// Nothing is placed with the lock held, since cranelift-jit writes log records. What two
    /// threads place at the same time is kept once.
    fn common(
        &self,
        compiler: &Compiler,
        key: &StubKey,
        compiled: &Compiled,
    ) -> Result<Arc<Common>, StubError> {
        let code = (compiled.veneer().into(), compiled.veneer_state.clone());
        // A tool that shows a veneer's address is to show whose it is.
        let is_shared = !self.arena.tools.any();
        if is_shared && let Some(common) = lock(&self.shared).common(&code) {
            return Ok(common);
        }
        let veneer = (!code.0.is_empty())
            .then(|| {
                let state = code.1.as_ref().filter(|_| !is_shared);
                let frames = state.map(Frames::at_calls);
                self.place(compiler, key, CodePart::Veneer, &code, frames)
            })
            .transpose()?;
        let entrance = compiled.entrance.as_ref();
        let entrance = entrance
            .map(|entrance| self.entrance(compiler, key, entrance))
            .transpose()?;
        let common = Arc::new(Common {
            entrance_address: entrance.as_ref().map_or(0, |slice| slice.executable()),
            arena: self.arena.clone(),
            veneer,
            entrance,
        });
        Ok(match is_shared {
            true => lock(&self.shared).insert_or_get(code, common),
            false => common,
        })
    }

    /// How debuggers see a piece of code at each instruction, if any is to be told.
    fn frames(
        &self,
        compiler: &Compiler,
        key: &StubKey,
        info: Option<&UnwindInfo>,
    ) -> Result<Option<Frames>, StubError> {
        let info = info.filter(|_| self.arena.tools.any());
        let frames = info.map(|info| Frames::of(compiler.isa().as_ref(), info));
        frames.transpose().map_err(|detail| StubError::Internal {
            key: key.to_string(),
            step: "describing the frame to debuggers",
            detail,
        })
    }

    /// Places code that calls nothing by name: a veneer, an entrance, entries.
    pub(crate) fn place(
        &self,
        compiler: &Compiler,
        key: &StubKey,
        part: CodePart,
        (bytes, state): &VeneerCode,
        frames: Option<Frames>,
    ) -> Result<CodeSlice, StubError> {
        let piece = Piece {
            bytes,
            alignment: 1,
            hot: 0..0,
            part,
            frames,
            state: state.clone(),
            calls: None,
        };
        piece.place(&self.arena, compiler, key)
    }

    /// The entrance of all stubs of the arena.
    fn entrance(
        &self,
        compiler: &Compiler,
        key: &StubKey,
        entrance: &Entrance,
    ) -> Result<Arc<CodeSlice>, StubError> {
        let known = lock(&self.shared).entrance.upgrade();
        if let Some(slice) = known {
            return Ok(slice);
        }
        let code = (entrance.code[..].into(), entrance.state.clone());
        let frames = self.frames(compiler, key, entrance.unwind.as_ref())?;
        let slice = self.place(compiler, key, CodePart::Entrance, &code, frames)?;
        let slice = Arc::new(slice);
        let mut shared = lock(&self.shared);
        if let Some(first) = shared.entrance.upgrade() {
            return Ok(first);
        }
        shared.entrance = Arc::downgrade(&slice);
        Ok(slice)
    }
}

impl Shared {
    fn common(&self, code: &VeneerCode) -> Option<Arc<Common>> {
        self.common.get(code).and_then(Weak::upgrade)
    }

    /// What is known for this code already, or `common` from now on.
    fn insert_or_get(&mut self, code: VeneerCode, common: Arc<Common>) -> Arc<Common> {
        if let Some(first) = self.common(&code) {
            return first;
        }
        // Entries whose stubs are all gone are removed whenever the table would grow.
        if self.common.len() == self.common.capacity() {
            self.common.retain(|_, common| common.strong_count() > 0);
        }
        self.common.insert(code, Arc::downgrade(&common));
        common
    }
}

/// Code that is placed as one.
struct Piece<'a> {
    bytes: &'a [u8],
    alignment: u32,
    /// Bytes that run over and over.
    hot: Range<usize>,
    part: CodePart,
    frames: Option<Frames>,
    state: Option<CallState>,
    /// The stub it is and the veneer it calls.
    calls: Option<(&'a Compiled, Option<&'a CodeSlice>)>,
}

/// Hands out the arena's bytes to one module.
struct Provider {
    arena: Arc<Arena>,
    state: Option<CallState>,
    hot: Range<usize>,
    slice: Arc<Mutex<Option<Result<CodeSlice, StubError>>>>,
}

impl JITMemoryProvider for Provider {
    fn allocate(&mut self, size: usize, align: u64, kind: JITMemoryKind) -> io::Result<*mut u8> {
        if !matches!(kind, JITMemoryKind::Executable) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a stub has no data",
            ));
        }
        let slice = self
            .arena
            .allocate(size, align as usize, self.state.as_ref(), &self.hot);
        let address = match &slice {
            Ok(slice) => Ok(slice.writable()),
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        *lock(&self.slice) = Some(slice);
        address
    }

    /// Nothing to do: a slice is freed when it is dropped.
    unsafe fn free_memory(&mut self) {}

    fn finalize(&mut self, _branch_protection: BranchProtection) -> ModuleResult<()> {
        if let Some(Ok(slice)) = &*lock(&self.slice) {
            self.arena.publish(slice);
        }
        Ok(())
    }
}

impl Piece<'_> {
    fn place(
        &self,
        arena: &Arc<Arena>,
        compiler: &Compiler,
        key: &StubKey,
    ) -> Result<CodeSlice, StubError> {
        let writing = arena.begin_writing()?;
        let slice = Arc::new(Mutex::default());
        let provider = Provider {
            arena: arena.clone(),
            state: self.state.clone(),
            hot: self.hot.clone(),
            slice: slice.clone(),
        };
        let defined = self.define(provider, compiler.isa().clone());
        let slice = lock(&slice).take();
        let internal = |detail| StubError::Internal {
            key: key.to_string(),
            step: "publishing",
            detail,
        };
        match (slice, defined) {
            (Some(Err(refusal)), _) => Err(refusal),
            (_, Err(detail)) => Err(internal(detail)),
            (Some(Ok(slice)), Ok(())) => {
                writing.finish()?;
                if arena.tools.any() {
                    arena.tools.announce(&Code {
                        address: slice.executable(),
                        bytes: self.bytes.len(),
                        name: &self.part.symbol(key),
                        frames: self.frames.as_ref(),
                    });
                }
                Ok(slice)
            }
            (None, Ok(())) => Err(internal("no memory was asked for".to_owned())),
        }
    }

    /// Defines the code under the names that [`lower`](crate::lower) gave it and what it calls.
    fn define(&self, provider: Provider, isa: OwnedTargetIsa) -> Result<(), String> {
        const VENEER: &str = "veneer";
        none_held();
        let text = |e: cranelift_module::ModuleError| e.to_string();
        let mut builder = JITBuilder::with_isa(isa, default_libcall_names());
        if let Some((_, Some(veneer))) = self.calls {
            builder.symbol(VENEER, veneer.writable());
        }
        builder.memory_provider(Box::new(provider));
        let mut module = JITModule::new(builder);
        let signature = module.make_signature();
        let veneer = module
            .declare_function(VENEER, Linkage::Import, &signature)
            .map_err(text)?;
        let own = module
            .declare_anonymous_function(&signature)
            .map_err(text)?;
        let names = [VENEER_NAME, STUB_NAME].map(|name| FuncId::from_u32(name.index));
        if [veneer, own] != names {
            return Err(format!(
                "cranelift-module numbers functions {veneer}, {own}; wanted 0, 1"
            ));
        }
        let relocations = self.calls.map_or(&[][..], |(stub, _)| &stub.relocations);
        let relocations = relocations
            .iter()
            .map(to_veneer)
            .collect::<Result<Vec<_>, _>>()?;
        let alignment = self.alignment.into();
        module
            .define_function_bytes(own, alignment, self.bytes, &relocations)
            .map_err(text)?;
        module.finalize_definitions().map_err(text)
    }
}

/// The only function that a stub names is its veneer.
fn to_veneer(relocation: &FinalizedMachReloc) -> Result<ModuleReloc, String> {
    let FinalizedRelocTarget::ExternalName(ExternalName::User(_)) = relocation.target else {
        return Err(format!("{relocation:?}: wanted the veneer as its target"));
    };
    Ok(ModuleReloc {
        kind: relocation.kind,
        offset: relocation.offset,
        name: ModuleRelocTarget::user(VENEER_NAME.namespace, VENEER_NAME.index),
        addend: relocation.addend,
    })
}
